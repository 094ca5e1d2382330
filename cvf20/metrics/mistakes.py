"""Where a binary segmentation goes wrong: which cells are missed, and what kind of pixels are."""

import numpy as np
from scipy import ndimage
from skimage.measure import regionprops

from cvf20.metrics.overlaps import label_overlaps, relate


def found_cells(prediction: np.ndarray, target: np.ndarray) -> list[dict]:
    """One row per connected component of the truth of one image, in the order of ndimage.label.

    prediction, target: (H, W) bool
    area:  in pixels
    found: share of its pixels that are predicted; a cell of which less than half is found is missed
    rim:   distance in pixels from its centre to the outline of the colony (the components closed into one body)
    """
    labels, _ = ndimage.label(target)
    colony = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(target, 12), iterations=8))[12:-12, 12:-12]
    depth = ndimage.distance_transform_edt(np.pad(colony, 1))[1:-1, 1:-1]
    rows = []
    for cell in regionprops(labels, prediction.astype(float)):
        centre = tuple(np.round(cell.centroid_local).astype(int) + cell.bbox[:2])
        rows.append({"area": int(cell.area), "found": float(cell.intensity_mean), "rim": float(depth[centre])})
    return rows


def wrong_pixels(prediction: np.ndarray, target: np.ndarray) -> dict[str, int]:
    """Number of wrong pixels of one image by kind; the kinds exclude each other and add up to all that are wrong.

    prediction, target: (H, W) bool
    "missed cell":   in a component of the truth of which less than half was found
    "invented cell": in a component of the prediction that touches no pixel of the truth
    "border":        within 2 pixels of an outline of the truth
    "inside":        the rest
    """
    components, cells = ndimage.label(prediction)[0], ndimage.label(target)[0]
    missed = np.append(False, relate(label_overlaps(components, cells, void=-1)).missed)[cells]
    outline = target & ~ndimage.binary_erosion(target, border_value=1)
    near = ndimage.distance_transform_edt(~outline) <= 2 if outline.any() else outline
    invented = prediction & ~np.isin(components, components[target])
    kinds, rest = {}, prediction ^ target
    for name, where in {"missed cell": missed, "invented cell": invented, "border": near}.items():
        kinds[name] = int((rest & where).sum())
        rest = rest & ~where
    return kinds | {"inside": int(rest.sum())}
