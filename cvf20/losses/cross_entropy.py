"""Cross-entropy for several classes (weighted, void left out) and for foreground / background."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cvf20.labels import VOID, split_void
from cvf20.losses.common import full_precision, match_shape


def cross_entropy_criterion(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = VOID
) -> Tensor:
    """Weighted mean over all pixels i that are not void: Σ w[tᵢ]·(−log softmax(logitsᵢ)[tᵢ]) / Σ w[tᵢ].

    logits: (N, K, H, W), or any number of spatial axes
    target: (N, H, W) integer labels in 0 … K − 1, or ignore_index
    weight: (K,) non-negative weights of the classes, all 1 by default
    Returns a scalar, computed in float32 at least; 0 with zero gradient where no pixel has weight.
    Raises ValueError when shapes do not fit or a label is out of range.
    """
    if logits.ndim < 2 or target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"target must be logits' shape without the class axis, found target {tuple(target.shape)} "
            f"for logits {tuple(logits.shape)}"
        )
    num_classes = logits.shape[1]
    labels, keep = split_void(target, num_classes, ignore_index)

    log_probability = F.log_softmax(full_precision(logits), dim=1)  # (N, K, H, W)
    picked = log_probability.gather(1, labels.unsqueeze(1)).squeeze(1)  # (N, H, W): of the true class
    if weight is None:
        pixel_weight = keep.to(picked.dtype)
    else:
        if weight.shape != (num_classes,):
            raise ValueError(f"weight must have shape ({num_classes},), found {tuple(weight.shape)}")
        pixel_weight = weight.to(picked)[labels] * keep
    return weighted_mean(-picked, pixel_weight)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over all pixels that are not void of −log p where the target is 1 and −log(1 − p) where it is 0.

    logits: (N, 1, H, W), p = sigmoid(logits)
    target: (N, H, W) or (N, 1, H, W), values 0, 1 or void
    Since 1 − sigmoid(x) = sigmoid(−x), both cases are −log sigmoid(±x), which never takes the log of a rounded 0.
    Returns a scalar, computed in float32 at least; 0 with zero gradient where everything is void.
    Raises ValueError when shapes do not fit or a label is out of range.
    """
    labels, keep = split_void(match_shape(target, logits), num_classes=2)
    logits = full_precision(logits)
    towards_truth = torch.where(labels == 1, logits, -logits)
    return weighted_mean(-F.logsigmoid(towards_truth), keep.to(logits.dtype))


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ w·v / Σ w without a look at values of weight 0 (0·∞ would be nan); 0, still part of the graph, where all are."""
    total = weight.sum()
    return (values.masked_fill(weight == 0, 0) * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))
