"""Metrics that look at borders: a confusion matrix with a weight per pixel, and boundary IoU."""

import torch
from torch import Tensor

from cvf20.labels import VOID
from cvf20.labels.borders import border_distance, check_weights
from cvf20.metrics.semantic import image_pair, known_labels


def weighted_confusion_matrix(prediction: Tensor, target: Tensor, weight_map: Tensor, num_classes: int) -> Tensor:
    """(K, K) float64: entry [t, p] is the weight of the pixels of class t that were predicted as p.

    prediction, target: (N, H, W) labels; weight_map: (N, H, W) ≥ 0, e.g. of `border_weight_map`
    """
    prediction, labels, keep = (part.cpu() for part in known_labels(prediction, target, num_classes))
    weights = check_weights(weight_map.cpu(), keep.double()).masked_fill(~keep, 0)
    pair = (labels * num_classes + prediction).flatten()
    return torch.bincount(pair, weights.flatten(), minlength=num_classes**2).reshape(num_classes, num_classes)


def boundary_iou(prediction: Tensor, target: Tensor, num_classes: int, width: float = 2.0) -> Tensor:
    """(K,) float64: IoU of every class's inner boundary bands (Cheng et al. 2021), over all pixels of all images.

    prediction, target: (N, H, W) or (H, W) labels, void only in the target
    width: a class's band are its pixels at most so many pixels from one of another class; the image's edge is no
           boundary, other than in the paper. nan for a class that has a band in neither.
    """
    *pair, keep = (part.cpu() for part in known_labels(*image_pair(prediction, target), num_classes))
    pair = [labels.masked_fill(~keep, VOID) for labels in pair]  # void parts neither band from the rest
    bands = [(border_distance(labels) <= width) & keep for labels in pair]
    scores = []
    for k in range(num_classes):
        predicted, true = (band & (labels == k) for band, labels in zip(bands, pair, strict=True))
        scores.append((predicted & true).sum().double() / (predicted | true).sum())  # 0 / 0 = nan
    return torch.stack(scores)
