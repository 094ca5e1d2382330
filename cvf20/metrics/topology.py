"""Metrics of topology: which cells are merged, split, missed or invented, and how many pieces and holes there are.

An object is a 4-connected component of a mask, or a label of an instance image; void is background in both.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information
from torch import Tensor

from cvf20.labels import VOID, split_void
from cvf20.labels.instances import consecutive
from cvf20.metrics.instance import label_overlaps
from cvf20.metrics.semantic import binary_iou, image_pair

Images = list[tuple[np.ndarray, np.ndarray]]
STATES = ("background", "right", "merged", "split", "missed", "spurious")
COUNTS = ("splits", "merges", "missed", "spurious", "betti0", "betti1", "cells", "right")


class Relation(NamedTuple):
    """What became of T true and P predicted objects; the terms are those of `topology_errors`."""

    merges: int
    splits: int
    counted: np.ndarray  # (T,) bool
    merged: np.ndarray  # (T,) belongs to a component with another one
    split: np.ndarray  # (T,) has several components inside
    missed: np.ndarray  # (T,)
    spurious: np.ndarray  # (P,)


def topology_errors(prediction: Tensor, target: Tensor, instances=None, *, exclude_border=False) -> dict[str, int]:
    """How many objects are wrongly joined, parted, left out or made up, summed over the images.

    prediction, target: (N, H, W), or (H, W) for one image; masks, or instance labels (0 background, unique in an image)
    instances:      whether labels are the numbers of objects; None: of each of the two, values within {0, 1} are a mask
    exclude_border: leave out cells, and spurious components, that touch the image's edge: they may be cut

    A cell (object of the target) belongs to a component (object of the prediction) that covers at least half of it.
      merges    Σ (cells that belong to it − 1) over the components to which any cell belongs
      splits    the mirror image: Σ (components at least half inside − 1) over the cells that have any
      missed    cells of which less than half is foreground in the prediction
      spurious  components of which less than half is foreground in the target
      betti0    Σ over the images of |components − components|, cut cells included; betti1 the same of holes
      cells     that were counted
    """
    counts = count_errors(object_images(prediction, target, instances), exclude_border)
    return {name: count for name, count in counts.items() if name != "right"}


def topology_scores(logits: Tensor, target: Tensor, exclude_border: bool = True) -> dict[str, float]:
    """For Learner's `metrics`: IoU, the errors per 100 cells counted (nan where there is none), VI and ARE.

    logits: (N, 1, H, W); target: (N, H, W) or (N, 1, H, W), values 0, 1 or void (background in both)
    See `topology_errors` and `partition_errors`; "right" are the cells neither merged nor split nor missed.
    """
    prediction, target = image_pair(logits > 0, target)
    labels, keep = split_void(target, num_classes=2)
    images = object_images(prediction * keep, labels, instances=False)
    counts = count_errors(images, exclude_border)
    cells = counts.pop("cells")
    scores = {name: 100 * count / cells if cells else float("nan") for name, count in counts.items()}
    return {"IoU": binary_iou(prediction, target)} | scores | partition_errors(images, exclude_border)


def partition_errors(images: Images, exclude_border: bool = False) -> dict[str, float]:
    """Variation of information VI (bits) and adapted Rand error ARE of cells, by scikit-image: means over images."""
    vi, are = [], []
    for predicted, true in images:
        ignored = [0, *border_objects(true)] if exclude_border else [0]
        area = np.bincount(true[~np.isin(true, ignored)])
        if area.any():
            vi.append(variation_of_information(true, predicted, ignore_labels=ignored).sum())
        if (area > 1).any():
            with np.errstate(invalid="ignore"):  # of the precision where no two pixels are joined, which we do not use
                are.append(adapted_rand_error(true, predicted, ignore_labels=ignored)[0])
    return {name: float(np.mean(values)) if values else float("nan") for name, values in (("VI", vi), ("ARE", are))}


def error_map(prediction: Tensor, target: Tensor) -> Tensor:
    """(N, H, W) uint8, what became of the cells, and in the background of spurious components, as index into STATES."""
    pictures = []
    for predicted, true in object_images(prediction, target):
        relation = compare(predicted, true)
        state = np.append(0, np.full(len(relation.missed), STATES.index("right")))
        for name in ("missed", "split", "merged"):
            state[1:][getattr(relation, name)] = STATES.index(name)
        spurious = np.append(False, relation.spurious)[predicted] & (true == 0)
        pictures.append(np.where(spurious, STATES.index("spurious"), state[true]))
    return torch.from_numpy(np.stack(pictures)).byte()


def object_images(prediction: Tensor, target: Tensor, instances: bool | None = None) -> Images:
    """Predicted and true objects (H, W) of every image as 1, 2, … without gaps, 0 in the background and where void."""
    prediction, target = image_pair(prediction, target)
    stacks = []
    for labels in (labels.masked_fill(target == VOID, 0).cpu().numpy() for labels in (prediction, target)):
        if labels.max() <= 1 if instances is None else not instances:
            stacks.append([ndimage.label(image)[0] for image in labels])
        else:
            stacks.append([position + (0 not in numbers) for numbers, position in map(consecutive, labels)])
    return list(zip(*stacks, strict=True))


def compare(predicted: np.ndarray, true: np.ndarray, exclude_border: bool = False) -> Relation:
    """What became of the objects 1, 2, … of one image (H, W)."""
    overlaps = label_overlaps(predicted, true, void=-1)  # void was taken out before, and 255 is a component like others
    prediction, truth, common, predicted_area, true_area, _ = overlaps
    judged, counted = (np.ones(len(area), dtype=bool) for area in (predicted_area, true_area))
    if exclude_border:
        judged[border_objects(predicted) - 1] = counted[border_objects(true) - 1] = False
    covered = np.bincount(truth, common, len(true_area))
    explained = np.bincount(prediction, common, len(predicted_area))
    belongs = counted[truth] & (2 * common >= true_area[truth])
    inside = counted[truth] & (2 * common >= predicted_area[prediction])
    held = np.bincount(prediction[belongs], minlength=len(predicted_area))
    pieces = np.bincount(truth[inside], minlength=len(true_area))
    merges, splits = (int((number - 1).clip(0).sum()) for number in (held, pieces))
    merged = np.isin(np.arange(len(true_area)), truth[belongs & (held > 1)[prediction]])
    missed, spurious = counted & (2 * covered < true_area), judged & (2 * explained < predicted_area)
    return Relation(merges, splits, counted, merged, pieces > 1, missed, spurious)


def count_errors(images: Images, exclude_border: bool) -> dict[str, int]:
    """What `topology_errors` counts, and "right", the cells that are neither merged nor split nor missed."""
    total = np.zeros(len(COUNTS), dtype=np.int64)
    for predicted, true in images:
        found = compare(predicted, true, exclude_border)
        right = found.counted & ~(found.merged | found.split | found.missed)
        betti = np.abs(np.subtract(betti_numbers(predicted), betti_numbers(true)))
        errors = found.splits, found.merges, found.missed.sum(), found.spurious.sum()
        total += [*errors, *betti, found.counted.sum(), right.sum()]
    return dict(zip(COUNTS, total.tolist(), strict=True))


def betti_numbers(objects: np.ndarray) -> tuple[int, int]:
    """Number of components, and of holes in them, by Euler: pixels − edges + squares = components − holes."""
    padded = np.pad(objects, 1)
    here, right, below, across = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    pair, column = (here != 0) & (here == right), (here != 0) & (here == below)
    euler = (here != 0).sum() - pair.sum() - column.sum() + (pair & column & (here == across)).sum()
    components = label(objects, connectivity=1, return_num=True)[1]  # of equal values, without 0
    return components, int(components - euler)


def border_objects(objects: np.ndarray) -> np.ndarray:
    """Numbers of the objects that touch the edge of the image (H, W)."""
    edge = np.concatenate([objects[0], objects[-1], objects[:, 0], objects[:, -1]])
    return np.unique(edge[edge != 0])
