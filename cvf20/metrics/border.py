"""Metrics that look at borders: a confusion matrix with a weight per pixel, and boundary IoU."""

import torch
from torch import Tensor

from cvf20.labels import VOID, check_labels, split_void
from cvf20.labels.borders import border_distance, check_maps, check_weights
from cvf20.metrics.semantic import check_same_shape


def weighted_confusion_matrix(
    prediction: Tensor, target: Tensor, weight_map: Tensor, num_classes: int, ignore_index: int = VOID
) -> Tensor:
    """(K, K) float64: entry [t, p] is the weight of the pixels of class t that were predicted as p.

    prediction, target: (N, H, W) integer labels; weight_map: (N, H, W) ≥ 0, e.g. of `border_weight_map`
    `iou` and `overall_accuracy` of it are the border-weighted metrics; with weights of 1 it is
    `compute_confusion_matrix`. Raises ValueError when shapes differ, a weight is negative or nan, or a label of a pixel
    that is not void is out of range.
    """
    check_same_shape(prediction, target)
    labels, keep = split_void(target, num_classes, ignore_index)
    prediction = prediction.long().masked_fill(~keep, 0)
    check_labels(prediction, num_classes, "prediction")
    weights = check_weights(weight_map, keep.double()).masked_fill(~keep, 0)
    pair = (labels * num_classes + prediction).flatten()
    return torch.bincount(pair, weights.flatten(), minlength=num_classes**2).reshape(num_classes, num_classes)


def boundary_iou(prediction: Tensor, target: Tensor, num_classes: int, width: float = 2.0) -> Tensor:
    """(K,) float64: IoU of every class's inner boundary bands (Cheng et al. 2021), over all pixels of all images.

    prediction, target: (N, H, W) integer labels, void only in the target
    width: a class's band are its pixels at most so many pixels from one of another class. The paper makes it a share
           of the image's diagonal and counts the image's edge as a boundary; here an edge is none, as in all of A3b.
    Class k's entry is |Pₖ ∩ Tₖ| / |Pₖ ∪ Tₖ| of the bands in prediction and target; nan where neither has one.
    Raises ValueError when shapes differ or a label of a pixel that is not void is out of range.
    """
    check_same_shape(prediction, target)
    check_maps(target, "target")
    labels, keep = split_void(target, num_classes)
    check_labels(prediction.masked_fill(~keep, 0), num_classes, "prediction")
    prediction = prediction.long().masked_fill(~keep, VOID)  # void parts neither band from the rest
    bands = [(border_distance(x.masked_fill(~keep, VOID)) <= width) & keep for x in (prediction, labels)]
    scores = []
    for k in range(num_classes):
        predicted, true = bands[0] & (prediction == k), bands[1] & (labels == k)
        scores.append((predicted & true).sum().double() / (predicted | true).sum())  # 0 / 0 = nan
    return torch.stack(scores)
