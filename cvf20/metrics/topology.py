"""Metrics of topology: which cells are merged, split, missed or invented, and how many pieces and holes there are.

4-connectivity throughout. An object is a component of a bool mask, or a label of an instance image; void (255 in an
instance target) is background in both.
"""

from dataclasses import dataclass

import numpy as np
import torch
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information
from torch import Tensor

from cvf20.labels import VOID, check_integer, split_void
from cvf20.labels.components import label_components
from cvf20.metrics.semantic import binary_iou, check_same_shape

COUNTS = ("splits", "merges", "missed", "spurious", "betti0", "betti1")
STATES = ("background", "right", "merged", "split", "missed", "spurious")


def topology_errors(prediction: Tensor, target: Tensor, exclude_border: bool = False) -> dict[str, int]:
    """How many objects are wrongly joined, parted, left out or made up, summed over the images.

    prediction, target: (N, H, W) bool, or integer instance labels (0 background, unique within an image)
    exclude_border:     leave out cells, and spurious components, that touch the image's edge: they may be cut

    A cell (object of the target) belongs to a component (object of the prediction) that covers at least half of it.
      merges    Σ (cells that belong to it − 1) over the components to which any cell belongs
      splits    the mirror image: Σ (components at least half inside − 1) over the cells that have any
      missed    cells of which less than half is foreground in the prediction
      spurious  components of which less than half is foreground in the target
      betti0    Σ over the images of |components − components|, so errors that cancel within an image do not show
      betti1    the same of holes; both compare whole images, cut cells included
      cells     that were counted
    Exchanging the arguments exchanges merges with splits and missed with spurious (without exclude_border).
    Raises ValueError when shapes differ or are not (N, H, W).
    """
    prediction, target = without_void(prediction, target)
    total = dict.fromkeys((*COUNTS, "cells"), 0)
    for predicted, true in zip(as_objects(prediction), as_objects(target), strict=True):
        match = relate(predicted, true, exclude_border)
        total["merges"] += len(match.belongs) - len(np.unique(match.belongs[:, 0]))
        total["splits"] += len(match.inside) - len(np.unique(match.inside[:, 1]))
        total["missed"] += len(match.missed)
        total["spurious"] += len(match.spurious)
        total["cells"] += len(match.cells)
        for name, one, other in zip(("betti0", "betti1"), betti_numbers(predicted), betti_numbers(true), strict=True):
            total[name] += abs(one - other)
    return total


def topology_scores(logits: Tensor, target: Tensor, exclude_border: bool = True) -> dict[str, float]:
    """All scores of the study from logits: for Learner's `metrics`, and for tables.

    logits: (N, 1, H, W); target: (N, H, W) or (N, 1, H, W), values 0, 1 or void (background in both)
    IoU; the counts of `topology_errors` per 100 cells counted (nan where there is none); VI and ARE, see
    `partition_errors`; right, the percentage of counted cells that are neither merged nor split nor missed, the only
    one besides IoU that is better when higher.
    """
    if logits.ndim != 4 or logits.shape[1] != 1:
        raise ValueError(f"logits must be (N, 1, H, W), found {tuple(logits.shape)}")
    target = target.squeeze(1) if target.ndim == 4 else target
    check_same_shape(logits.squeeze(1), target)
    labels, keep = split_void(target, num_classes=2)
    prediction, true = (logits.squeeze(1) > 0) & keep, (labels == 1) & keep
    counts = topology_errors(prediction, true, exclude_border)
    states = cell_states(prediction, true, exclude_border)
    cells = counts.pop("cells")
    scores = {"IoU": binary_iou(prediction, target)}
    scores |= {name: 100 * count / cells if cells else float("nan") for name, count in counts.items()}
    scores["right"] = 100 * states.count("right") / cells if cells else float("nan")
    return scores | partition_errors(prediction, true, exclude_border)


def partition_errors(prediction: Tensor, target: Tensor, exclude_border: bool = False) -> dict[str, float]:
    """Variation of information VI (bits) and adapted Rand error ARE, by scikit-image, averaged over the images.

    Arguments as in `topology_errors`. Both compare the two partitions on the target's cells only (its background, and
    with exclude_border its cut cells, are left out). Images without a cell do not count, nor for ARE, which looks at
    pairs of pixels, those whose cells are single pixels; nan where none is left.
    """
    prediction, target = without_void(prediction, target)
    vi, are = [], []
    for predicted, true in zip(as_objects(prediction), as_objects(target), strict=True):
        ignored = [0, *border_objects(true)] if exclude_border else [0]
        if not np.isin(true, ignored).all():
            vi.append(variation_of_information(true, predicted, ignore_labels=ignored).sum())
            if np.bincount(true[~np.isin(true, ignored)]).max() > 1:
                are.append(adapted_rand_error(true, predicted, ignore_labels=ignored)[0])
    return {name: float(np.mean(values)) if values else float("nan") for name, values in (("VI", vi), ("ARE", are))}


def error_map(prediction: Tensor, target: Tensor) -> Tensor:
    """(N, H, W) uint8, what became of every object, as index into STATES: for pictures of what went wrong.

    Arguments as in `topology_errors`. Every pixel of a cell holds the cell's state; spurious components hold theirs
    where the target is background. A cell that is both merged and split is shown as merged.
    """
    prediction, target = without_void(prediction, target)
    pictures = []
    for predicted, true in zip(as_objects(prediction), as_objects(target), strict=True):
        match = relate(predicted, true, exclude_border=False)
        state_of_cell = np.zeros(true.max() + 1, dtype=np.uint8)
        state_of_cell[match.cells] = [STATES.index(state) for state in match.states()]
        spurious = np.isin(predicted, match.spurious) & (true == 0)
        pictures.append(np.where(spurious, np.uint8(STATES.index("spurious")), state_of_cell[true]))
    return torch.from_numpy(np.stack(pictures))


def cell_states(prediction: Tensor, target: Tensor, exclude_border: bool = False) -> list[str]:
    """ "right", "merged", "split" or "missed" for every counted cell of all images."""
    pairs = zip(*map(as_objects, without_void(prediction, target)), strict=True)
    return [state for predicted, true in pairs for state in relate(predicted, true, exclude_border).states()]


def betti_numbers(objects: np.ndarray) -> tuple[int, int]:
    """Number of components, and of holes in them, of an object image (H, W).

    Holes follow from the Euler characteristic: pixels − edges + squares = components − holes, where an edge is a pair
    and a square a 2 × 2 block of equal labels. The background is 8-connected, as it must be beside 4-connectivity.
    """
    padded = np.pad(objects, 1)
    right, below = padded[:-1, :-1] == padded[:-1, 1:], padded[:-1, :-1] == padded[1:, :-1]
    across = padded[:-1, :-1] == padded[1:, 1:]
    inside = padded[:-1, :-1] != 0
    edges = (right & inside).sum() + (below & inside).sum()
    euler = inside.sum() - edges + (right & below & across & inside).sum()
    components = label(objects, connectivity=1, return_num=True)[1]  # of equal values, without 0
    return components, int(components - euler)


@dataclass
class Match:
    """Who belongs to whom in one image; arrays of object numbers."""

    cells: np.ndarray  # (C,) those of the target that count
    belongs: np.ndarray  # (M, 2) component, cell: the component covers at least half of the cell
    inside: np.ndarray  # (M, 2) component, cell: at least half of the component is in the cell
    missed: np.ndarray  # (M,) cells
    spurious: np.ndarray  # (M,) components

    def states(self) -> list[str]:
        """ "right", "merged", "split" or "missed" for each of `cells`."""
        components, cells_covered = np.unique(self.belongs[:, 0], return_counts=True)
        merged = self.belongs[np.isin(self.belongs[:, 0], components[cells_covered > 1]), 1]
        cells, components_inside = np.unique(self.inside[:, 1], return_counts=True)
        states = np.full(len(self.cells), "right", dtype=object)
        for state, which in ("missed", self.missed), ("split", cells[components_inside > 1]), ("merged", merged):
            states[np.isin(self.cells, which)] = state
        return states.tolist()


def relate(predicted: np.ndarray, true: np.ndarray, exclude_border: bool) -> Match:
    """Compare two object images (H, W); the definitions stand at `topology_errors`."""
    size_predicted, size_true = np.bincount(predicted.ravel()), np.bincount(true.ravel())
    components, cells = (np.flatnonzero(size[1:]) + 1 for size in (size_predicted, size_true))
    if exclude_border:
        components, cells = (
            np.setdiff1d(objects, border_objects(image)) for objects, image in ((components, predicted), (cells, true))
        )
    both = (predicted != 0) & (true != 0)
    key, overlap = np.unique(predicted[both] * len(size_true) + true[both], return_counts=True)
    pairs = np.stack(np.divmod(key, len(size_true)), axis=1)
    counted = np.isin(pairs[:, 1], cells)
    covered = np.bincount(true[both], minlength=len(size_true))
    found = np.bincount(predicted[both], minlength=len(size_predicted))
    return Match(
        cells=cells,
        belongs=pairs[counted & (2 * overlap >= size_true[pairs[:, 1]])],
        inside=pairs[counted & (2 * overlap >= size_predicted[pairs[:, 0]])],
        missed=cells[2 * covered[cells] < size_true[cells]],
        spurious=components[2 * found[components] < size_predicted[components]],
    )


def border_objects(objects: np.ndarray) -> np.ndarray:
    """Numbers of the objects that touch the edge of the image (H, W)."""
    edge = np.concatenate([objects[0], objects[-1], objects[:, 0], objects[:, -1]])
    return np.unique(edge[edge != 0])


def as_objects(objects: Tensor) -> np.ndarray:
    """(N, H, W) int64 object numbers, 0 background, of a mask or an instance image."""
    labels = label_components(objects) if objects.dtype == torch.bool else objects
    return labels.detach().cpu().numpy().astype(np.int64)


def without_void(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both with background where the target is void. Raises ValueError unless they are objects (N, H, W)."""
    check_same_shape(prediction, target)
    for name, objects in (("prediction", prediction), ("target", target)):
        check_integer(objects, name)
        if objects.ndim != 3 or 0 in objects.shape:
            raise ValueError(f"{name} must be (N, H, W) with at least one pixel, found {tuple(objects.shape)}")
        if objects.min() < 0:
            raise ValueError(f"{name} holds the label {objects.min().item()}, wanted bool or labels ≥ 0")
    if target.dtype == torch.bool:
        return prediction, target
    return prediction.masked_fill(target == VOID, 0), target.masked_fill(target == VOID, 0)
