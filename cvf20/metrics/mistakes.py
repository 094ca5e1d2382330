"""Where a binary segmentation goes wrong: which cells are missed, and what kind of pixels are."""

import numpy as np
from scipy import ndimage


def found_cells(prediction: np.ndarray, target: np.ndarray) -> list[dict]:
    """One row per connected component of the truth of one image, in the order of ndimage.label.

    prediction, target: (H, W) bool
    area:  in pixels
    found: share of its pixels that are predicted
    rim:   distance in pixels from its centre to the outline of the colony (the components closed into one body)
    box:   its slices
    """
    labels, _ = ndimage.label(target)
    colony = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(target, 12), iterations=8))[12:-12, 12:-12]
    depth = ndimage.distance_transform_edt(np.pad(colony, 1))[1:-1, 1:-1]
    rows = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        cell = labels[box] == number
        centre = tuple(int(round(c)) + s.start for c, s in zip(ndimage.center_of_mass(cell), box, strict=True))
        area = int(cell.sum())
        found = float((prediction[box] & cell).sum() / area)
        rows.append({"area": area, "found": found, "rim": float(depth[centre]), "box": box})
    return rows


def wrong_pixels(prediction: np.ndarray, target: np.ndarray, border: int = 2) -> dict[str, int]:
    """Number of wrong pixels of one image by kind; the kinds exclude each other and add up to all that are wrong.

    prediction, target: (H, W) bool
    "missed cell":   in a component of the truth of which less than half was found
    "invented cell": in a component of the prediction that touches no pixel of the truth
    "border":        within `border` pixels of an outline of the truth
    "inside":        the rest
    """
    wrong = prediction ^ target
    numbers = [k for k, cell in enumerate(found_cells(prediction, target), start=1) if cell["found"] < 0.5]
    missed = np.isin(ndimage.label(target)[0], numbers)
    labels, number = ndimage.label(prediction)
    touches = ndimage.maximum(target, labels, range(number + 1))
    invented = prediction & ~np.asarray(touches, bool)[labels]
    outline = target & ~ndimage.binary_erosion(target, border_value=1)
    near = ndimage.distance_transform_edt(~outline) <= border if outline.any() else np.zeros_like(wrong)
    kinds, rest = {}, wrong.copy()
    for name, where in {"missed cell": missed, "invented cell": invented, "border": near}.items():
        kinds[name] = int((rest & where).sum())
        rest &= ~where
    return kinds | {"inside": int(rest.sum())}
