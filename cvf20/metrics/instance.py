"""Metrics of instance segmentation: matched label images, and average precision of scored masks (COCO protocol).

In a target 0 is background, 255 void, any other number an instance; in a prediction every number but 0 is one. Void
pixels are taken out of the predictions first, and a prediction that lies more than half in void and matches nothing is
not judged at all (Kirillov et al. 2019, "Panoptic segmentation", section 4.2).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cvf20.labels import VOID
from cvf20.labels.instances import instance_masks
from cvf20.metrics.semantic import binary_iou, check_same_shape

COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10))
RECALLS = np.linspace(0, 1, 101)  # at which COCO reads the precision


class Overlap(NamedTuple):
    """Of P predictions and T true instances of one image, numpy arrays (P, T)."""

    iou: np.ndarray
    inside: np.ndarray  # share of the prediction that lies in the true instance
    covered: np.ndarray  # share of the true instance that the prediction covers


def overlap(masks: Tensor, target: Tensor) -> tuple[Overlap, np.ndarray]:
    """Overlaps of masks (n, H, W) bool with the instances of target (H, W), and (n,) bool: more than half in void."""
    if masks.ndim != 3 or masks.dtype != torch.bool or masks.shape[1:] != target.shape:
        raise ValueError(
            f"masks must be bool (n, H, W) with the target's size {tuple(target.shape)}, found {masks.dtype} "
            f"{tuple(masks.shape)}"
        )
    whole = masks.flatten(1).sum(1)
    masks = (masks & (target != VOID)).flatten(1)
    in_void = 2 * masks.sum(1) < whole
    predicted, true = masks.float(), instance_masks(target).flatten(1).float()
    common = (predicted @ true.T).double()  # exact: counts of pixels below 2²⁴
    predicted_area, true_area = predicted.sum(1).double()[:, None], true.sum(1).double()
    inside = common / predicted_area.clamp(min=1)  # an empty mask lies in nothing
    shares = common / (predicted_area + true_area - common), inside, common / true_area
    return Overlap(*(share.cpu().numpy() for share in shares)), in_void.cpu().numpy()


def match_instances(
    prediction: Tensor | Sequence[Tensor],
    target: Tensor | Sequence[Tensor],
    scores: Sequence[Tensor] | None = None,
    iou_threshold: float = 0.5,
) -> dict[str, float]:
    """F1, panoptic quality and count error of label images; mask_AP and mask_AP50 too where scores are given.

    prediction, target: (N, H, W) integer labels, or N images (H, W) of any sizes
    scores:        per image (n,), of its predicted instances by ascending number
    iou_threshold: at least this overlap makes a match; 0.5 or more, so that a match is unique
    Returns, over all images together: F1, precision, recall; PQ = Σ IoU of matches / (TP + FP/2 + FN/2) and its factor
    SQ, the mean IoU of matches (the other factor is F1); count_error, the mean of |predicted − true| per image.
    F1, PQ and SQ are 1 where there is nothing to find and nothing was found; else SQ is nan without a match, precision
    1 without a prediction and recall 1 without a true instance. AP is nan without a true instance.
    """
    if not 0.5 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold={iou_threshold}: 0.5 to 1 is wanted, below a match is not unique")
    matched, predicted, true, quality, miscounted = 0, 0, 0, 0.0, []
    for labels, truth in _images(prediction, target):
        (iou, *_), in_void = overlap(instance_masks(labels, void=None), truth)
        pairs = match(iou, iou_threshold)
        matched += len(pairs)
        quality += sum(iou[pair] for pair in pairs)
        judged = ~in_void
        judged[[p for p, _ in pairs]] = True
        predicted, true = predicted + int(judged.sum()), true + iou.shape[1]
        miscounted.append(abs(int(judged.sum()) - iou.shape[1]))
    result = {
        "F1": _share(2 * matched, predicted + true),
        "precision": _share(matched, predicted),
        "recall": _share(matched, true),
        "PQ": _share(2 * quality, predicted + true),
        "SQ": float(quality / matched) if matched else 1.0 if predicted + true == 0 else float("nan"),
        "count_error": float(np.mean(miscounted)) if miscounted else float("nan"),
    }
    if scores is not None:
        masks = (instance_masks(labels, void=None) for labels, _ in _images(prediction, target))
        result |= mask_average_precision(zip(masks, scores, strict=True), target)
    return result


def match(iou: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """One-to-one pairs (prediction, truth) with IoU ≥ threshold ≥ 0.5, best first.

    Instances of a label image do not overlap, so only two halves of one instance, both at exactly 0.5, compete.
    """
    pairs, free = [], np.ones_like(iou, dtype=bool)
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        p, t = np.unravel_index(flat, iou.shape)
        if iou[p, t] < threshold:
            break
        if free[p, t]:
            pairs.append((int(p), int(t)))
            free[p], free[:, t] = False, False
    return pairs


def failure_kinds(prediction: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor]) -> dict[str, int]:
    """How often instances of label images were merged, split, missed or false; summed over the images.

    merged: a prediction covers at least half of several true instances: as many as it has too many of them
    split:  several predictions lie at least half inside one true instance: as many as it has too many of them
    missed: a true instance that no prediction matches with IoU ≥ 0.5, and that took no part in a merge or split
    false:  likewise a prediction that matches none
    An instance found with a poor outline is thus both missed and false.
    """
    kinds = dict.fromkeys(("merged", "split", "missed", "false"), 0)
    for labels, truth in _images(prediction, target):
        shares, in_void = overlap(instance_masks(labels, void=None), truth)
        held, parts = shares.covered >= 0.5, shares.inside >= 0.5
        merging, splitting = held.sum(1) > 1, parts.sum(0) > 1
        kinds["merged"] += int((held.sum(1)[merging] - 1).sum())
        kinds["split"] += int((parts.sum(0)[splitting] - 1).sum())
        explained_predictions = merging | parts[:, splitting].any(1) | in_void
        explained_truth = splitting | held[merging].any(0)
        for p, t in match(shares.iou, 0.5):
            explained_predictions[p] = explained_truth[t] = True
        kinds["missed"] += int((~explained_truth).sum())
        kinds["false"] += int((~explained_predictions).sum())
    return kinds


def mask_average_precision(
    predictions: Iterable[tuple[Tensor, Tensor]], targets: Iterable[Tensor], max_detections: int = 100
) -> dict[str, float]:
    """mask_AP (mean over IoU 0.50, 0.55 … 0.95), mask_AP50 and mask_AP75 by COCO's protocol, one class, all areas.

    predictions: per image masks (n, H, W) bool, which may overlap, and scores (n,); e.g. a generator
    targets:     per image instance labels (H, W)
    In every image the best `max_detections` are matched in the order of their scores, each to the free true instance
    with the highest IoU of at least the threshold. Over all images together precision, made non-increasing, is read at
    101 recalls and averaged (Lin et al. 2014; cocodataset.org, "detection evaluation"). nan without a true instance.
    """
    scores, hits, ignored, truths = [], [], [], 0
    for (masks, image_scores), target in zip(predictions, targets, strict=True):
        if image_scores.shape != masks.shape[:1]:
            raise ValueError(f"scores has shape {tuple(image_scores.shape)}, wanted ({len(masks)},), one per mask")
        if image_scores.isnan().any():
            raise ValueError("scores holds nan, wanted numbers")
        order = image_scores.argsort(descending=True, stable=True)[:max_detections]
        shares, in_void = overlap(masks[order], target)
        scores.append(image_scores[order].double().cpu().numpy())
        hits.append(np.stack([_hits(shares.iou, threshold) for threshold in COCO_THRESHOLDS]))
        ignored.append(in_void)
        truths += shares.iou.shape[1]
    if truths == 0:
        return dict.fromkeys(("mask_AP", "mask_AP50", "mask_AP75"), float("nan"))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    in_void = np.concatenate(ignored)[order]
    rows = np.concatenate(hits, axis=1)[:, order]
    precision = [_interpolated_precision(row[row | ~in_void], truths) for row in rows]
    return {"mask_AP": float(np.mean(precision)), "mask_AP50": precision[0], "mask_AP75": precision[5]}


def _hits(iou: np.ndarray, threshold: float) -> np.ndarray:
    """(P,) bool: which of the predictions, best score first, find a free true instance."""
    free = np.ones(iou.shape[1], dtype=bool)
    hits = np.zeros(iou.shape[0], dtype=bool)
    for p, row in enumerate(iou):
        candidates = np.flatnonzero(free & (row >= threshold))
        if candidates.size:
            best = candidates[::-1][np.argmax(row[candidates][::-1])]  # of equals the last, as in pycocotools
            hits[p], free[best] = True, False
    return hits


def _interpolated_precision(hits: np.ndarray, truths: int) -> float:
    """Mean over the 101 recalls of the best precision at that recall or a higher one."""
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(found / truths, RECALLS, side="left")
    return float(np.append(envelope, 0.0)[place].mean())


def foreground_iou(logits: Tensor, instances: Tensor) -> dict[str, float]:
    """IoU of the foreground as `metrics` of a Learner whose labels (N, H, W) are instances.

    logits: (N, K, H, W), of which the first channel is read as "belongs to some instance"
    """
    foreground = (instances != 0).long().masked_fill(instances == VOID, VOID)
    return {"IoU": binary_iou(logits[:, 0] > 0, foreground)}


def _images(prediction: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor]) -> Iterable[tuple]:
    if len(prediction) != len(target):
        raise ValueError(f"prediction holds {len(prediction)} images, target {len(target)}; the same number is wanted")
    for labels, truth in zip(prediction, target, strict=True):
        check_same_shape(labels, truth)
        yield labels, truth


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 1.0
