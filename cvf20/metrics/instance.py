"""Metrics of instance segmentation: matched label images, and average precision of scored masks (COCO protocol).

In a target 0 is background, 255 void, any other number an instance; in a prediction every number but 0 is one. Void
pixels are taken out of the predictions first, and a prediction that lies more than half in void and matches nothing is
not judged at all (Kirillov et al. 2019, "Panoptic segmentation", section 4.2).
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from cvf20.labels import VOID, check_integer, check_labels, label_images
from cvf20.metrics.overlaps import Overlaps, label_overlaps, mask_overlaps, relate
from cvf20.metrics.semantic import binary_iou, check_same_shape

Labels = Tensor | Sequence[Tensor]  # (N, H, W), one image (H, W), or images (H, W) of any sizes
COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10))
RECALLS = np.linspace(0, 1, 101)  # at which COCO reads the precision
MAX_DETECTIONS = 100  # of one image that COCO looks at


def match_instances(
    prediction: Labels,
    target: Labels,
    scores: Sequence[Tensor] | None = None,
    iou_threshold: float = 0.5,
) -> dict[str, float]:
    """F1, panoptic quality and count error of label images; mask_AP and mask_AP50 too where scores are given.

    scores:        per image (n,), of its predicted instances by ascending number
    iou_threshold: at least this overlap makes a match; 0.5 or more, so that a match is unique
    Returns, over all images together: F1, precision, recall; PQ = Σ IoU of matches / (TP + FP/2 + FN/2) and its factor
    SQ, the mean IoU of matches (the other factor is F1); count_error, the mean of |predicted − true| per image.
    F1, PQ and SQ are 1 where there is nothing to find and nothing was found; else SQ is nan without a match, precision
    1 without a prediction and recall 1 without a true instance. AP is nan without a true instance.
    """
    if not 0.5 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold={iou_threshold}: 0.5 to 1 is wanted, below a match is not unique")
    images = list(image_overlaps(prediction, target))
    matched, predicted, true, quality, miscounted = 0, 0, 0, 0.0, []
    for overlaps in images:
        pairs = match(overlaps, iou_threshold)
        judged = ~overlaps.in_void
        judged[overlaps.prediction[pairs]] = True
        found, there = int(judged.sum()), len(overlaps.true_area)
        matched, predicted, true = matched + len(pairs), predicted + found, true + there
        quality += float(overlaps.iou[pairs].sum())
        miscounted.append(abs(found - there))
    result = {
        "F1": _share(2 * matched, predicted + true),
        "precision": _share(matched, predicted),
        "recall": _share(matched, true),
        "PQ": _share(2 * quality, predicted + true),
        "SQ": quality / matched if matched else 1.0 if predicted + true == 0 else float("nan"),
        "count_error": float(np.mean(miscounted)) if miscounted else float("nan"),
    }
    return result if scores is None else result | _average_precision(zip(images, scores, strict=True))


def match(overlaps: Overlaps, threshold: float) -> np.ndarray:
    """Positions of the pairs with IoU ≥ threshold ≥ 0.5, each object in one pair only.

    Instances of a label image do not overlap, so only two halves of one instance, both at exactly 0.5, compete.
    """
    pairs = np.flatnonzero(overlaps.iou >= threshold)
    firsts = (np.unique(side[pairs], return_index=True)[1] for side in (overlaps.prediction, overlaps.truth))
    return pairs[np.intersect1d(*firsts)]


def failure_kinds(prediction: Labels, target: Labels) -> dict[str, int]:
    """How often instances of label images were merged, split, missed or false; summed over the images.

    merged, split: `merges` and `splits` of `Relation`, as in `topology_errors`
    missed: a true instance that no prediction matches with IoU ≥ 0.5, and that took no part in a merge or split
    false:  likewise a prediction that matches none
    An instance found with a poor outline is thus both missed and false.
    """
    kinds = dict.fromkeys(("merged", "split", "missed", "false"), 0)
    for overlaps in image_overlaps(prediction, target):
        relation, pairs = relate(overlaps), match(overlaps, 0.5)
        explained, explained_truth = relation.involved | overlaps.in_void, relation.merged | relation.split
        explained[overlaps.prediction[pairs]] = explained_truth[overlaps.truth[pairs]] = True
        counts = relation.merges, relation.splits, (~explained_truth).sum(), (~explained).sum()
        kinds = {kind: total + int(count) for (kind, total), count in zip(kinds.items(), counts, strict=True)}
    return kinds


def mask_average_precision(predictions: Iterable[tuple[Tensor, Tensor]], targets: Iterable[Tensor]) -> dict[str, float]:
    """mask_AP (mean over IoU 0.50, 0.55 … 0.95), mask_AP50 and mask_AP75 by COCO's protocol, one class, all areas.

    predictions: per image masks (n, H, W) bool, which may overlap, and scores (n,); e.g. a generator
    targets:     per image instance labels (H, W)
    In every image the best 100 are matched in the order of their scores, each to the free true instance with the
    highest IoU of at least the threshold. Over all images together precision, made non-increasing, is read at
    101 recalls and averaged (Lin et al. 2014; cocodataset.org, "detection evaluation"). nan without a true instance.
    """
    return _average_precision(_mask_images(predictions, targets))


def _mask_images(predictions, targets) -> Iterator[tuple[Overlaps, Tensor]]:
    for (masks, scores), target in zip(predictions, targets, strict=True):
        if masks.ndim != 3 or masks.dtype != torch.bool or masks.shape[1:] != target.shape:
            raise ValueError(
                f"masks must be bool (n, H, W) with the target's size {tuple(target.shape)}, found {masks.dtype} "
                f"{tuple(masks.shape)}"
            )
        best = _best(scores, len(masks))
        truth = check_integer(target, "target").cpu().numpy()
        yield mask_overlaps((masks[i].cpu().numpy() for i in best), truth), scores[best]


def _average_precision(images: Iterable[tuple[Overlaps, Tensor]]) -> dict[str, float]:
    scores, hits, ignored, truths = [], [], [], 0
    for overlaps, image_scores in images:
        best = _best(image_scores, len(overlaps.predicted_area))
        scores.append(image_scores[best].detach().cpu().double().numpy())
        hits.append(np.stack([_hits(overlaps, best, threshold) for threshold in COCO_THRESHOLDS]))
        ignored.append(overlaps.in_void[best])
        truths += len(overlaps.true_area)
    if truths == 0:
        return dict.fromkeys(("mask_AP", "mask_AP50", "mask_AP75"), float("nan"))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    in_void = np.concatenate(ignored)[order]
    rows = np.concatenate(hits, axis=1)[:, order]
    precision = [_interpolated_precision(row[row | ~in_void], truths) for row in rows]
    return {"mask_AP": float(np.mean(precision)), "mask_AP50": precision[0], "mask_AP75": precision[5]}


def _best(scores: Tensor, count: int) -> np.ndarray:
    """Positions of the best MAX_DETECTIONS of `count` predictions, best first."""
    if scores.shape != (count,):
        raise ValueError(f"scores has shape {tuple(scores.shape)}, wanted ({count},), one per mask")
    if scores.isnan().any():
        raise ValueError("scores holds nan, wanted numbers")
    return scores.argsort(descending=True, stable=True)[:MAX_DETECTIONS].cpu().numpy()


def _hits(overlaps: Overlaps, order: np.ndarray, threshold: float) -> np.ndarray:
    """(len(order),) bool: which of the predictions, best score first, find a free true instance."""
    iou, free = overlaps.iou, np.ones(len(overlaps.true_area), dtype=bool)
    first, last = (np.searchsorted(overlaps.prediction, order, side) for side in ("left", "right"))
    hits = np.zeros(len(order), dtype=bool)
    for i, pairs in enumerate(map(np.arange, first, last)):
        pairs = pairs[(iou[pairs] >= threshold) & free[overlaps.truth[pairs]]][::-1]
        if pairs.size:
            best = pairs[iou[pairs].argmax()]  # of equals the last, as in pycocotools
            hits[i], free[overlaps.truth[best]] = True, False
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
    instances = check_integer(instances, "instances")
    foreground = (instances != 0).long().masked_fill(instances == VOID, VOID)
    return {"IoU": binary_iou(logits[:, 0] > 0, foreground)}


def image_overlaps(prediction: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor]) -> Iterator[Overlaps]:
    """Overlaps of every image."""
    prediction, target = (
        label_images(images, name) if isinstance(images, Tensor) else [check_integer(image, name) for image in images]
        for images, name in ((prediction, "prediction"), (target, "target"))
    )
    if len(prediction) != len(target):
        raise ValueError(f"prediction holds {len(prediction)} images, target {len(target)}; the same number is wanted")
    for labels, truth in zip(prediction, target, strict=True):
        check_same_shape(labels, truth)
        check_labels(labels, None, "prediction")
        check_labels(truth, None, "target")
        yield label_overlaps(labels.cpu().numpy(), truth.cpu().numpy())


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 1.0
