"""The one way in which pictures come from files: checked, upright, and every refusal names its file."""

import threading
from pathlib import Path

import numpy as np
from PIL import Image

T = Image.Transpose
UPRIGHT = {  # EXIF orientation -> what turns the picture upright
    **{2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM},
    **{5: T.TRANSPOSE, 6: T.ROTATE_270, 7: T.TRANSVERSE, 8: T.ROTATE_90},
}
MAX_PIXELS = 89_000_000  # Pillow warns from here on; a small file can hold a picture that fills the memory
seen = threading.local()  # seen.paths, where it is a list, gets every path read in this thread


def read_image(path: str | Path, kind: str | None = None) -> np.ndarray:
    """Pixels of the file's only picture, turned upright as its EXIF tag says.

    kind: "RGB":    (H, W, 3) uint8, converted; a picture of more than 8 bits is refused, since that would clip it
          "grey":   (H, W) as deep as it is stored
          "labels": (H, W) integers: a palette's indices, or grey values
          None:     (H, W) as deep as it is stored where it is grey, else as "RGB"

    Raises OSError or ValueError, which name the file: not there, no picture, truncated, several pictures in one file
    (of an MPO photograph the first is meant), too large, nan or infinite values, another kind than wanted.
    """
    if hasattr(seen, "paths"):
        seen.paths.append(path)
    try:
        with Image.open(path) as image:
            return _pixels(image, kind)
    except Exception as error:  # Pillow raises whatever the broken bytes lead to: SyntaxError, struct.error, …
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path} is no readable image: {error}") from error


def _pixels(image: Image.Image, kind: str | None) -> np.ndarray:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} × {image.height} pixels, wanted at most {MAX_PIXELS:,}")
    if image.format != "MPO" and (count := getattr(image, "n_frames", 1)) > 1:
        raise ValueError(f"it holds {count} pictures, wanted one")
    try:
        turn = UPRIGHT.get(image.getexif().get(274))
    except Exception:  # an odd tag beside it is no reason to refuse the picture
        turn = None
    deep = image.mode[0] in "IF"
    if kind == "RGB" and deep:
        raise ValueError(f"its mode is {image.mode}, wanted 8 bits per channel")
    if kind == "RGB" or kind is None and not deep and image.mode != "L":
        image = image.convert("RGB")
    pixels = np.asarray(image if turn is None else image.transpose(turn))
    if kind in ("grey", "labels") and pixels.ndim != 2 or kind == "labels" and pixels.dtype.kind == "f":
        raise ValueError(f"its mode is {image.mode}, wanted one channel" + " of whole numbers" * (kind == "labels"))
    if pixels.dtype.kind == "f" and not (finite := np.isfinite(pixels)).all():
        raise ValueError(f"{(~finite).sum()} of its pixels are nan or infinite")
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * (1 if kind == "labels" else 255)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def match_colours(path: str | Path, code_of_index: np.ndarray, index_of_code: np.ndarray) -> np.ndarray:
    """(H, W) uint8: the index of each pixel's colour, by the two `colour_tables`.

    ValueError names the file and a colour that is not in the tables.
    """
    pixels = read_image(path, "RGB")
    codes = pack(pixels)
    index = index_of_code[codes]
    unknown = code_of_index[index] != codes
    if unknown.any():
        row, column = (int(place[0]) for place in unknown.nonzero())
        colour = tuple(int(value) for value in pixels[row, column])
        raise ValueError(f"{path}: unknown colour {colour} in row {row}, column {column} ({unknown.sum()} such pixels)")
    return index


def colour_tables(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Packed colour of each of the (n ≤ 256, 3) colours, and index of each packed colour (2²⁴,) uint8, 0 where unused.

    Of two equal colours the later one counts.
    """
    code_of_index = pack(np.asarray(colours))
    index_of_code = np.zeros(1 << 24, dtype=np.uint8)
    index_of_code[code_of_index] = np.arange(len(code_of_index))
    return code_of_index, index_of_code


def pack(colours: np.ndarray) -> np.ndarray:
    """One int32 for each colour (…, 3 or 4), without its opacity."""
    red, green, blue = (colours[..., i].astype(np.int32) for i in range(3))
    return red << 16 | green << 8 | blue


def stretch(field: np.ndarray, percentiles: tuple[float, float] = (0.5, 99.5)) -> np.ndarray:
    """Grey values (H, W) of any type to uint8, so that the percentiles of the field become 0 and 255; clipped beyond."""
    low, high = np.percentile(field, percentiles)
    return (255 * np.clip((field - low) / max(high - low, 1e-9), 0, 1)).round().astype(np.uint8)
