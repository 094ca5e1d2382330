"""Metrics of semantic segmentation, each over all pixels of all images given."""

import numpy as np
import torch
from torch import Tensor

from cvf20.labels import VOID, check_integer, check_labels, label_images, split_void, zero_where_void
from cvf20.labels.borders import border_distance, check_weights

BLOCK = 2**17  # pixels whose labels a processor's cache holds


def compute_confusion_matrix(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int = VOID) -> Tensor:
    """(K, K) int64: entry [t, p] counts the pixels of class t predicted as p; labels of one shape, any axes."""
    check_same_shape(prediction, target)
    blocks = zip(*(labels.flatten().split(BLOCK) for labels in (prediction, target)), strict=True)
    return sum(_confusion(*pair, num_classes, ignore_index) for pair in blocks)


def _confusion(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    prediction, labels, keep = known_labels(prediction, target, num_classes, ignore_index)
    narrow = torch.int16 if num_classes**2 < 2**15 else torch.int64  # a quarter of the bytes to move
    pair = torch.add(prediction.to(narrow), labels.to(narrow), alpha=num_classes)
    counts = torch.bincount(pair, minlength=num_classes**2)
    counts[0] -= keep.numel() - keep.count_nonzero()  # void is 0 in both
    return counts.reshape(num_classes, num_classes)


def weighted_confusion_matrix(prediction: Tensor, target: Tensor, weight_map: Tensor, num_classes: int) -> Tensor:
    """(K, K) float64: entry [t, p] is the weight of the pixels of class t that were predicted as p.

    prediction, target: (N, H, W) labels; weight_map: (N, H, W) ≥ 0, e.g. of `border_weight_map`
    """
    prediction, labels, keep = (part.cpu() for part in known_labels(prediction, target, num_classes))
    weights = check_weights(weight_map.cpu(), keep.double()).masked_fill(~keep, 0)
    pair = (labels * num_classes + prediction).flatten()
    return torch.bincount(pair, weights.flatten(), minlength=num_classes**2).reshape(num_classes, num_classes)


def iou(confusion: Tensor) -> Tensor:
    """(K,) float64: intersection over union of every class; nan for a class absent from truth and prediction."""
    confusion = confusion.cpu().double()
    return confusion.diagonal() / (confusion.sum(0) + confusion.sum(1) - confusion.diagonal())  # 0 / 0 = nan


def boundary_iou(prediction: Tensor, target: Tensor, num_classes: int, width: float = 2.0) -> Tensor:
    """(K,) float64: IoU of every class's inner boundary bands (Cheng et al. 2021), over all pixels of all images.

    prediction, target: (N, H, W) or (H, W) labels, void only in the target
    width: of a band, in pixels from another class; other than in the paper not from the image's edge. nan: no band.
    """
    *pair, keep = (part.cpu() for part in known_labels(*image_pair(prediction, target), num_classes))
    pair = [labels.masked_fill(~keep, VOID) for labels in pair]  # void parts neither band from the rest
    bands = [(border_distance(labels) <= width) & keep for labels in pair]
    scores = []
    for k in range(num_classes):
        predicted, true = (band & (labels == k) for band, labels in zip(bands, pair, strict=True))
        scores.append((predicted & true).sum().double() / (predicted | true).sum())  # 0 / 0 = nan
    return torch.stack(scores)


def overall_accuracy(confusion: Tensor) -> float:
    """Share of correct pixels among all that are not void; nan where there is none."""
    confusion = confusion.cpu().double()
    return float(confusion.trace() / confusion.sum())


def pixel_accuracy(prediction: Tensor, target: Tensor) -> float:
    """Share of correct pixels among those of one image that are not void, averaged over the images that have any."""
    prediction, target = image_pair(prediction, target)
    keep = (target != VOID).flatten(1)
    correct = (prediction == target).flatten(1) & keep
    return float((correct.sum(1).cpu().double() / keep.sum(1).cpu()).nanmean())


def average_precision(scores: Tensor, target: Tensor, ignore_index: int = VOID, interpolated: bool = True) -> Tensor:
    """(K,) float64: area under each class's precision-recall curve, exact over all pixels of all images.

    scores: (N, K, H, W), higher for "more likely class k"; target: (N, H, W) labels
    Pixels of equal score are accepted together. interpolated=True replaces the precision at a recall by the best
    precision at that recall or a higher one (all points, as Pascal VOC since 2010); False is scikit-learn's
    average_precision_score. A class without a pixel in the target is nan.
    """
    if scores.ndim < 2 or target.shape != scores.shape[:1] + scores.shape[2:]:
        found = f"found target {tuple(target.shape)} for scores {tuple(scores.shape)}"
        raise ValueError(f"target must be scores' shape without the class axis, {found}")
    labels, keep = split_void(target, scores.shape[1], ignore_index)
    per_class = []
    for k, class_scores in enumerate(scores.detach().unbind(1)):  # one class at a time: memory for one sort
        class_scores = class_scores.to(torch.promote_types(scores.dtype, torch.float32))  # exact: ties stay ties
        sides = (sort_where(side & keep, class_scores) for side in (labels == k, labels != k))
        per_class.append(area_under_curve(*sides, interpolated))
    return torch.stack(per_class)


def area_under_curve(positives: Tensor, negatives: Tensor, interpolated: bool) -> Tensor:
    """Average precision of one class from the ascending scores of its pixels and of all others.

    Recall moves only where a positive is accepted, and between two of them precision only falls: so the curve is needed
    at the positives' distinct scores alone, and sorting the two apart can replace the argsort of everything.
    """
    if any(ordered[-1:].isnan().any() for ordered in (positives, negatives)):  # sorting puts nan last
        raise ValueError("scores holds nan, wanted numbers")
    if positives.numel() == 0:
        return torch.tensor(torch.nan, dtype=torch.float64)
    thresholds, gained = positives.flip(0).unique_consecutive(return_counts=True)
    accepted_negatives = (negatives.numel() - torch.searchsorted(negatives, thresholds)).cpu()  # those ≥ threshold
    accepted_positives = (gained := gained.cpu()).cumsum(0)
    precision = accepted_positives.double() / (accepted_positives + accepted_negatives)
    if interpolated:
        precision = precision.flip(0).cummax(0).values.flip(0)
    return (gained * precision).sum() / positives.numel()


def sort_where(mask: Tensor, values: Tensor) -> Tensor:
    """The values under the mask, ascending. numpy on the CPU: it selects 10 and sorts 3 times as fast as torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy()[mask.numpy()]))
    return values[mask].sort().values


def binary_iou(prediction: Tensor, target: Tensor) -> float:
    """Intersection over union of the foreground, over all pixels; 1 where both are empty, nan where everything is void.

    prediction, target: (N, H, W), (N, 1, H, W) or (H, W), values 0 and 1; void only in the target
    """
    confusion = compute_confusion_matrix(*image_pair(prediction, target), 2)
    nothing = bool(confusion.sum() > 0 and confusion.sum() == confusion[0, 0])
    return 1.0 if nothing else float(iou(confusion)[1])


def binary_iou_per_image(prediction: Tensor, target: Tensor) -> float:
    """As binary_iou for every image by itself, then averaged over the images that are not void throughout."""
    images = zip(*image_pair(prediction, target), strict=True)
    return float(torch.tensor([binary_iou(*pair) for pair in images], dtype=torch.float64).nanmean())


def known_labels(prediction: Tensor, target: Tensor, num_classes: int, ignore_index=VOID) -> tuple[Tensor, ...]:
    """Labels of prediction and target (int64, 0 where void) and the mask of the pixels that count, of one shape."""
    check_same_shape(prediction, target)
    labels, keep = split_void(target, num_classes, ignore_index)
    prediction = zero_where_void(check_integer(prediction, "prediction"), keep)
    return check_labels(prediction, num_classes, "prediction"), labels, keep


def image_pair(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (N, H, W) int64 of both; see `label_images`."""
    prediction, target = label_images(prediction, "prediction"), label_images(target, "target")
    check_same_shape(prediction, target)
    return prediction, target


def check_same_shape(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
        raise ValueError(f"prediction and target must have one shape, found {shapes}")
