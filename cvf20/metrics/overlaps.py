"""Which predicted objects share pixels with which true ones: what instances and topology are judged by.

Found in a histogram of the pairs that occur, so that neither time nor memory grows with objects × pixels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cvf20.labels import VOID
from cvf20.labels.instances import consecutive, runs


@dataclass
class Overlaps:
    """P predicted and T true objects of one image, and the M pairs of them that have pixels in common."""

    prediction: np.ndarray  # (M,) positions 0 … P − 1 of the pairs' predicted objects, ascending
    truth: np.ndarray  # (M,) positions 0 … T − 1 of their true ones, ascending for each prediction
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
    values, lengths = runs(prediction, target)
    (numbers, rows), (true_numbers, columns) = (np.unique(labels, return_inverse=True) for labels in values)
    area = np.bincount(columns, lengths, len(true_numbers))
    pairs, place = np.unique(rows * len(true_numbers) + columns, return_inverse=True)
    common = np.bincount(place, lengths)
    rows, columns = np.divmod(pairs, max(len(true_numbers), 1))
    objects = numbers[rows] != 0
    rows = (np.cumsum(numbers != 0) - 1)[rows[objects]]
    return _judged(rows, columns[objects], common[objects], np.count_nonzero(numbers), true_numbers, area, void)


def mask_overlaps(masks: Iterable[np.ndarray], target: np.ndarray) -> Overlaps:
    """Of masks (H, W) bool, which may overlap each other, with the objects of a label image (H, W)."""
    numbers, position = consecutive(target)
    table = [np.bincount(position[mask], minlength=len(numbers)) for mask in masks]
    table = np.array(table, dtype=np.int64).reshape(len(table), len(numbers))
    area = np.bincount(position.ravel(), minlength=len(numbers))
    return _judged(*table.nonzero(), table[table.nonzero()], len(table), numbers, area, VOID)


def _judged(rows, columns, common, predictions: int, numbers, area, void: int) -> Overlaps:
    """Overlaps from the pixels `common` that prediction rows[i] shares with what the target numbers[columns[i]]."""
    whole, hidden = (
        np.bincount(rows[which], common[which], predictions) for which in (slice(None), numbers[columns] == void)
    )
    is_object = (numbers != 0) & (numbers != void)
    pair = is_object[columns]
    truth = (np.cumsum(is_object) - 1)[columns[pair]]
    left = whole - hidden
    return Overlaps(rows[pair], truth, common[pair], left, area[is_object], 2 * left < whole)


class Relation(NamedTuple):
    """What became of the true objects that count (T,) bool, and of the predicted ones (P,) bool."""

    merges: int  # Σ (true objects that belong to it − 1) over the predictions to which any belong
    splits: int  # Σ (predictions inside it − 1) over the true objects that have any
    merged: np.ndarray  # (T,) belongs to a prediction with another one
    split: np.ndarray  # (T,) has several predictions inside
    missed: np.ndarray  # (T,) less than half is covered by predictions, all together
    spurious: np.ndarray  # (P,) less than half is covered by true objects
    involved: np.ndarray  # (P,) merges several, or is one of several inside a split one


def relate(overlaps: Overlaps, counted: np.ndarray | None = None) -> Relation:
    """Merged, split, missed and spurious objects: the one definition of all metrics.

    A true object belongs to a prediction that covers at least half of it; a prediction is inside the true object that
    holds at least half of it.
    counted: (T,) bool, the true objects that are judged; all by default
    """
    predictions, truths = len(overlaps.predicted_area), len(overlaps.true_area)
    counted = np.ones(truths, dtype=bool) if counted is None else counted
    judged = counted[overlaps.truth]
    prediction, truth = overlaps.prediction[judged], overlaps.truth[judged]
    belongs = 2 * overlaps.common[judged] >= overlaps.true_area[truth]
    inside = 2 * overlaps.common[judged] >= overlaps.predicted_area[prediction]
    held = np.bincount(prediction[belongs], minlength=predictions)
    pieces = np.bincount(truth[inside], minlength=truths)
    merged, involved = np.zeros(truths, dtype=bool), held > 1
    merged[truth[belongs & involved[prediction]]] = True
    involved[prediction[inside & (pieces[truth] > 1)]] = True
    covered = np.bincount(overlaps.truth, overlaps.common, truths)
    explained = np.bincount(overlaps.prediction, overlaps.common, predictions)
    return Relation(
        merges=int((held - 1).clip(0).sum()),
        splits=int((pieces - 1).clip(0).sum()),
        merged=merged,
        split=pieces > 1,
        missed=counted & (2 * covered < overlaps.true_area),
        spurious=2 * explained < overlaps.predicted_area,
        involved=involved,
    )
