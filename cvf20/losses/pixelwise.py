"""Cross-entropy pixel by pixel, for the losses that weight pixels."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cvf20.labels import split_void
from cvf20.losses.common import check_classes, full_precision, match_shape


def pixel_cross_entropy(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """−log of the probability of each pixel's true class, and the mask of the pixels that are not void; (N, H, W) both.

    logits: (N, K, H, W); K = 1: foreground against background, p = sigmoid(logit)
    target: (N, H, W) labels in 0 … K − 1 (0, 1 for K = 1) or void; for K = 1 also (N, 1, H, W)
    Raises ValueError when shapes do not fit or a label is out of range. Void pixels hold the cost of class 0.
    """
    if logits.ndim != 4:
        raise ValueError(f"logits must be (N, K, H, W), found {tuple(logits.shape)}")
    if logits.shape[1] == 1:
        labels, keep = (part.squeeze(1) for part in split_void(match_shape(target, logits), num_classes=2))
        logits = full_precision(logits.squeeze(1))
        return -F.logsigmoid(torch.where(labels == 1, logits, -logits)), keep
    check_classes(target, logits)
    labels, keep = split_void(target, logits.shape[1])
    return -F.log_softmax(full_precision(logits), dim=1).gather(1, labels.unsqueeze(1)).squeeze(1), keep
