"""The one way in which pictures come from files: checked, upright, and every refusal names its file."""

from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 274  # EXIF tag


def read_image(path: str | Path, kind: str | None = None) -> np.ndarray:
    """Pixels of the file's only picture, turned upright as its EXIF tag says.

    kind: "RGB":    (H, W, 3) uint8, converted; a picture of more than 8 bits is refused, since that would clip it
          "labels": (H, W) whole numbers of any depth: a palette's indices, or grey values
          None:     (H, W) as deep as it is stored where it is grey, else as "RGB"
    Raises OSError or ValueError, naming the file, for what is not one whole picture of this kind (MPO: the first).
    """
    try:
        with Image.open(path) as image:
            return _pixels(image, kind)
    except Exception as error:  # Pillow raises whatever the broken bytes lead to: SyntaxError, struct.error, …
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path} is no readable image: {error}") from error


def _pixels(image: Image.Image, kind: str | None) -> np.ndarray:
    if image.format != "MPO" and (count := getattr(image, "n_frames", 1)) > 1:
        raise ValueError(f"it holds {count} pictures, wanted one")
    turn, deep = image.getexif().get(ORIENTATION), image.mode[0] in "IF"
    if kind == "RGB" and deep:
        raise ValueError(f"its mode is {image.mode}, wanted 8 bits per channel")
    if kind == "RGB" or kind is None and not deep and image.mode != "L":
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if kind == "labels" and (pixels.ndim != 2 or pixels.dtype.kind == "f"):
        raise ValueError(f"its mode is {image.mode}, wanted one channel of whole numbers")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("some of its pixels are nan or infinite")
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    pixels = pixels[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1]
    return pixels.astype(np.uint8 if pixels.dtype == bool else pixels.dtype.newbyteorder("="), order="C", copy=False)


def match_colours(path: str | Path, colours: np.ndarray) -> np.ndarray:
    """(H, W) uint8: each pixel's place among colours (n ≤ 256, 3), the last of equal ones; ValueError for another."""
    pixels = read_image(path, "RGB")
    codes, known = (colour.astype(np.int32) @ (1 << 16, 1 << 8, 1) for colour in (pixels, colours))
    number_of = np.zeros(1 << 24, dtype=np.uint8)  # costs nothing: memory is given only to the colours that occur
    number_of[known] = np.arange(len(known))
    number = number_of[codes]
    unknown = known[number] != codes
    if unknown.any():
        row, column = np.argwhere(unknown)[0]
        colour = tuple(pixels[row, column].tolist())
        raise ValueError(f"{path}: unknown colour {colour} in row {row}, column {column} ({unknown.sum()} such pixels)")
    return number


def stretch(field: np.ndarray, percentiles: tuple[float, float] = (0.5, 99.5)) -> np.ndarray:
    """Grey values (H, W) of any type to uint8, so that the percentiles of the field become 0 and 255; clipped beyond."""
    low, high = np.percentile(field, percentiles)
    return (255 * np.clip((field - low) / max(high - low, 1e-9), 0, 1)).round().astype(np.uint8)
