"""Metrics of instance segmentation: matched label images, and average precision of scored masks (COCO protocol).

In a target 255 is void, in a prediction an instance. Void pixels are taken out of the predictions first, and one that
lies more than half in void and matches nothing is not judged (Kirillov et al. 2019, "Panoptic segmentation", 4.2).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from cvf20.labels import VOID, check_integer, label_images
from cvf20.labels.instances import consecutive
from cvf20.metrics.semantic import binary_iou, check_same_shape

Labels = Tensor | Sequence[Tensor]  # (N, H, W), one image (H, W), or images (H, W) of any sizes
COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10))
RECALLS = np.linspace(0, 1, 101)  # at which COCO reads the precision
MAX_DETECTIONS = 100  # of one image that COCO looks at


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


def match_instances(prediction: Labels, target: Labels, scores=None, iou_threshold: float = 0.5) -> dict[str, float]:
    """F1, panoptic quality and count error of label images; mask_AP and mask_AP50 too where scores are given.

    scores:        per image a Tensor (n,), of its predicted instances by ascending number
    iou_threshold: at least this overlap makes a match; 0.5 or more, so that a match is unique
    Returns, over all images together: F1; PQ = F1 · SQ = Σ IoU of matches / (TP + FP/2 + FN/2); SQ, their mean IoU;
    count_error, the mean of |predicted − true| per image. The first three are 1 where there is nothing to find and
    nothing was found. Without a match SQ is nan, without a true instance AP.
    """
    if not 0.5 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold={iou_threshold}: 0.5 to 1 is wanted, below a match is not unique")
    images = list(image_overlaps(prediction, target))
    matched, quality, predicted, true = 0, 0.0, [], []
    for overlaps in images:
        pairs = match(overlaps, iou_threshold)
        matched, quality = matched + len(pairs), quality + float(overlaps.iou[pairs].sum())
        judged = ~overlaps.in_void
        judged[overlaps.prediction[pairs]] = True
        predicted.append(int(judged.sum()))
        true.append(len(overlaps.true_area))
    found, there = sum(predicted), sum(true)
    result = {
        "F1": _share(2 * matched, found + there),
        "PQ": _share(2 * quality, found + there),
        "SQ": _share(quality, matched) if matched or found + there == 0 else float("nan"),
        "count_error": float(np.abs(np.subtract(predicted, true)).mean()) if images else float("nan"),
    }
    return result if scores is None else result | _average_precision(images, scores)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 1.0


def match(overlaps: Overlaps, threshold: float) -> np.ndarray:
    """Positions of the pairs with IoU ≥ threshold; of two halves of one instance, both at exactly 0.5, the first."""
    pairs = np.flatnonzero(overlaps.iou >= threshold)
    firsts = (np.unique(side[pairs], return_index=True)[1] for side in (overlaps.prediction, overlaps.truth))
    return pairs[np.intersect1d(*firsts)]


def image_overlaps(prediction: Labels, target: Labels) -> Iterator[Overlaps]:
    prediction, target = (
        [image for part in ([labels] if isinstance(labels, Tensor) else labels) for image in label_images(part, name)]
        for labels, name in ((prediction, "prediction"), (target, "target"))
    )
    for labels, truth in zip(prediction, target, strict=True):
        check_same_shape(labels, truth)
        yield label_overlaps(labels.cpu().numpy(), truth.cpu().numpy())


def mask_average_precision(predictions: Iterable[tuple[Tensor, Tensor]], targets: Iterable[Tensor]) -> dict[str, float]:
    """mask_AP (mean over IoU 0.50, 0.55 … 0.95), mask_AP50 and mask_AP75 by COCO's protocol, one class, all areas.

    predictions: per image masks (n, H, W) bool, which may overlap, and scores (n,); e.g. a generator
    targets:     per image instance labels (H, W)
    In every image the best 100 are matched in the order of their scores, each to the free true instance with the
    highest IoU. Over all images together precision, made non-increasing, is read at 101 recalls and averaged (Lin et
    al. 2014; cocodataset.org, "detection evaluation"). nan without a true instance.
    """
    overlaps, scores = [], []
    for (masks, image_scores), target in zip(predictions, targets, strict=True):
        if masks.ndim != 3 or masks.dtype != torch.bool or masks.shape[1:] != target.shape:
            found = f"found {masks.dtype} {tuple(masks.shape)}"
            raise ValueError(f"masks must be bool (n, H, W) with the target's size {tuple(target.shape)}, {found}")
        overlaps.append(mask_overlaps(masks, target))
        scores.append(image_scores)
    return _average_precision(overlaps, scores)


def _average_precision(images: Sequence[Overlaps], all_scores: Sequence[Tensor]) -> dict[str, float]:
    scores, hits, ignored, truths = [], [], [], 0
    for overlaps, of_image in zip(images, all_scores, strict=True):
        size = len(overlaps.predicted_area), len(overlaps.true_area)
        of_image = of_image.detach().cpu().double().numpy()
        if of_image.shape != size[:1] or np.isnan(of_image).any():
            raise ValueError(f"scores must be {size[0]} numbers, one per mask, found {of_image}")
        best = np.argsort(-of_image, kind="stable")[:MAX_DETECTIONS]
        iou = sparse.csr_array((overlaps.iou, (overlaps.prediction, overlaps.truth)), size)[best].toarray()
        scores.append(of_image[best])
        hits.append(np.stack([_hits(iou, threshold) for threshold in COCO_THRESHOLDS]))
        ignored.append(overlaps.in_void[best])
        truths += size[1]
    precision = [float("nan")] * len(COCO_THRESHOLDS)
    if truths:
        order = np.argsort(-np.concatenate(scores), kind="stable")
        in_void = np.concatenate(ignored)[order]
        rows = np.concatenate(hits, axis=1)[:, order]
        precision = [_interpolated_precision(row[row | ~in_void], truths) for row in rows]
    return {"mask_AP": float(np.mean(precision)), "mask_AP50": precision[0], "mask_AP75": precision[5]}


def _hits(iou: np.ndarray, threshold: float) -> np.ndarray:
    """(P,) bool: which of the predictions, best score first, find a free true instance; iou (P, T)."""
    hits, free = np.zeros(len(iou), dtype=bool), np.ones(iou.shape[1], dtype=bool)
    for i, row in enumerate(iou):
        found = np.flatnonzero(free & (row >= threshold))
        if found.size:  # at 0.5 or more one, but for two halves, both at exactly 0.5: the last, as in pycocotools
            hits[i], free[found[-1]] = True, False
    return hits


def _interpolated_precision(hits: np.ndarray, truths: int) -> float:
    found = np.cumsum(hits)
    envelope = np.maximum.accumulate((found / np.arange(1, len(hits) + 1))[::-1])[::-1]
    place = np.searchsorted(found / truths, RECALLS)
    return float(np.append(envelope, 0.0)[place].mean())


def foreground_iou(logits: Tensor, instances: Tensor) -> dict[str, float]:
    """IoU of the foreground (first channel of logits (N, K, H, W)): `metrics` of a Learner whose labels are instances."""
    instances = label_images(instances, "instances")
    return {"IoU": binary_iou(logits[:, 0] > 0, instances.clamp(max=1).masked_fill(instances == VOID, VOID))}
