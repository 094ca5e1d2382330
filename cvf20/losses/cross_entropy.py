"""Cross-entropy for several classes and for foreground / background."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cvf20.labels import VOID
from cvf20.losses.common import binary_arguments, class_arguments, weighted_mean


def cross_entropy_criterion(logits: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index=VOID) -> Tensor:
    """Weighted mean over all pixels i that are not void: Σ w[tᵢ]·(−log softmax(logitsᵢ)[tᵢ]) / Σ w[tᵢ].

    logits: (N, K, H, W), or any number of spatial axes; target: (N, H, W) labels in 0 … K − 1, or ignore_index
    weight: (K,) non-negative weights of the classes, all 1 by default
    """
    logits, labels, keep = class_arguments(logits, target, ignore_index)
    return weighted_mean(class_costs(logits, labels), class_weights(weight, logits)[labels] * keep)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over all pixels that are not void of −log p where the target is 1 and −log(1 − p) where it is 0.

    logits: (N, 1, H, W), p their sigmoid; target: (N, H, W) or (N, 1, H, W), values 0, 1 or void
    """
    logits, labels, keep = binary_arguments(logits, target)
    return weighted_mean(binary_costs(logits, labels), keep.to(logits))


def class_costs(logits: Tensor, labels: Tensor) -> Tensor:
    """−log softmax(logits)[label], of each pixel: logits (N, K, …), labels and result (N, …)."""
    return -F.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)


def binary_costs(logits: Tensor, labels: Tensor) -> Tensor:
    """−log sigmoid(x) where the label is 1, and −log(1 − sigmoid(x)) = −log sigmoid(−x) where it is 0; of one shape."""
    return -F.logsigmoid(torch.where(labels == 1, logits, -logits))


def class_weights(weight: Tensor | None, logits: Tensor) -> Tensor:
    """(K,) weights in the logits' type, 1 where none are given."""
    if weight is None:
        return logits.new_ones(logits.shape[1])
    if weight.shape != (logits.shape[1],):
        raise ValueError(f"weight must have shape ({logits.shape[1]},), found {tuple(weight.shape)}")
    return weight.to(logits)
