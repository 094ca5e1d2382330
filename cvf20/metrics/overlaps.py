"""Which predicted objects share pixels with which true ones, a sparse table: what instances and topology share."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from torch import Tensor

from cvf20.labels import VOID, check_integer
from cvf20.labels.instances import consecutive


class Overlaps(NamedTuple):
    """P predicted and T true objects of one image, and the M pairs of them that have pixels in common."""

    prediction: np.ndarray  # (M,) positions 0 … P − 1 of the pairs' predicted objects
    truth: np.ndarray  # (M,) positions 0 … T − 1 of their true ones
    common: np.ndarray  # (M,) pixels
    predicted_area: np.ndarray  # (P,) pixels that are not void
    true_area: np.ndarray  # (T,)
    in_void: np.ndarray  # (P,) bool: more than half of the prediction lies in void

    @property
    def iou(self) -> np.ndarray:
        """(M,) intersection over union."""
        return self.common / (self.predicted_area[self.prediction] + self.true_area[self.truth] - self.common)


def label_overlaps(prediction: np.ndarray, target: np.ndarray, void: int = VOID) -> Overlaps:
    """Of the objects of two label images (H, W), by ascending number; 0 is background in both."""
    (numbers, rows), (true_numbers, columns) = consecutive(prediction), consecutive(target)
    places = rows.ravel(), columns.ravel()
    table = sparse.coo_array((np.ones(rows.size, int), places), (len(numbers), len(true_numbers))).tocsr()
    return _judged(table[numbers != 0], true_numbers, table.sum(0), void)


def mask_overlaps(masks: Tensor, target: Tensor) -> Overlaps:
    """Of masks (n, H, W) bool, which may overlap each other, with the objects of a label image (H, W)."""
    numbers, position = consecutive(check_integer(target, "target").cpu().numpy())
    rows = [np.bincount(position[mask], minlength=len(numbers)) for mask in masks.cpu().numpy()]
    table = sparse.csr_array(np.array(rows, dtype=np.int64).reshape(len(rows), len(numbers)))
    return _judged(table, numbers, np.bincount(position.ravel(), minlength=len(numbers)), VOID)


def _judged(table: sparse.csr_array, numbers: np.ndarray, area: np.ndarray, void: int) -> Overlaps:
    """From the pixels that each prediction (row) shares with each number of the target (column)."""
    is_object = (numbers != 0) & (numbers != void)
    pairs, left = table[:, is_object].tocoo(), table[:, numbers != void].sum(1)
    return Overlaps(pairs.row, pairs.col, pairs.data, left, area[is_object], 2 * left < table.sum(1))
