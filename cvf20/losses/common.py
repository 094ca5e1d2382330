"""What every loss does before and after its formula: shapes, labels, void, precision, the mean."""

import torch
from torch import Tensor

from cvf20.labels import VOID, split_void


def binary_arguments(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (N, 1, H, W), labels (0, 1) and the mask of the pixels that are not void, all of the logits' shape.

    Under void the logits are 0, so that no inf or nan there reaches a loss or, as 0·∞, a gradient.
    """
    labels, keep = split_void(match_shape(target, logits), num_classes=2)
    return full_precision(logits).masked_fill(~keep, 0), labels, keep


def class_arguments(logits: Tensor, target: Tensor, ignore_index: int = VOID) -> tuple[Tensor, Tensor, Tensor]:
    """As `binary_arguments` for K classes: logits (N, K, …), labels and mask (N, …)."""
    if logits.ndim < 2 or target.shape != logits.shape[:1] + logits.shape[2:]:
        found = f"found target {tuple(target.shape)} for logits {tuple(logits.shape)}"
        raise ValueError(f"target must be logits' shape without the class axis, {found}")
    labels, keep = split_void(target, logits.shape[1], ignore_index)
    return full_precision(logits).masked_fill(~keep.unsqueeze(1), 0), labels, keep


def match_shape(target: Tensor, prediction: Tensor) -> Tensor:
    """Bring a binary target, (N, H, W) or (N, 1, H, W), to the shape (N, 1, H, W) of its prediction."""
    if prediction.ndim < 2 or prediction.shape[1] != 1:
        raise ValueError(f"prediction of a binary task must be (N, 1, H, W), found {tuple(prediction.shape)}")
    expanded = target.unsqueeze(1) if target.ndim == prediction.ndim - 1 else target
    if expanded.shape != prediction.shape:
        wanted = f"wanted {tuple(prediction.shape)} or the same without channel axis"
        raise ValueError(f"target has shape {tuple(target.shape)}, {wanted}")
    return expanded


def full_precision(values: Tensor) -> Tensor:
    """float32 for half precision, float64 stays: sums over 10⁵ pixels do not survive bfloat16's 8 bits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ w·v / Σ w without a look at values of weight 0 (0·∞ would be nan); 0, still part of the graph, where all are."""
    total = weight.sum()
    return (values.masked_fill(weight == 0, 0) * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))
