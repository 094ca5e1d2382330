"""What every loss does before and after its formula: shapes, labels, void, precision, the mean."""

import numpy as np
import torch
from torch import Tensor

from cvf20.labels import VOID, split_void


def binary_arguments(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels (0, 1) and mask of what is not void, all (N, 1, H, W); target: (N, H, W) or (N, 1, H, W)."""
    if logits.ndim < 2 or logits.shape[1] != 1:
        raise ValueError(f"logits of a binary task must be (N, 1, H, W), found {tuple(logits.shape)}")
    expanded = target.unsqueeze(1) if target.ndim == logits.ndim - 1 else target
    if expanded.shape != logits.shape:
        wanted = f"wanted {tuple(logits.shape)} or the same without channel axis"
        raise ValueError(f"target has shape {tuple(target.shape)}, {wanted}")
    labels, keep = split_void(expanded, num_classes=2)
    return without_void(logits, keep), labels, keep


def class_arguments(logits: Tensor, target: Tensor, ignore_index: int = VOID) -> tuple[Tensor, Tensor, Tensor]:
    """As `binary_arguments` for K classes: logits (N, K, …), labels and mask (N, …)."""
    if logits.ndim < 2 or target.shape != logits.shape[:1] + logits.shape[2:]:
        found = f"found target {tuple(target.shape)} for logits {tuple(logits.shape)}"
        raise ValueError(f"target must be logits' shape without the class axis, {found}")
    labels, keep = split_void(target, logits.shape[1], ignore_index)
    return without_void(logits, keep.unsqueeze(1)), labels, keep


def without_void(logits: Tensor, keep: Tensor) -> Tensor:
    """Logits, 0 where void (inf or nan would reach the gradient), in float32 at least: bfloat16 sums no 10⁵ pixels."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).masked_fill(~keep, 0)


def as_masks(values: Tensor, name: str) -> np.ndarray:
    """(N, H, W) bool, of any device, as numpy; ValueError for anything else."""
    if values.ndim != 3 or values.dtype != torch.bool:
        raise ValueError(f"{name} must be (N, H, W) bool, found {tuple(values.shape)} {values.dtype}")
    return values.cpu().numpy()


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ w·v / Σ w without a look at values of weight 0 (0·∞ would be nan); 0, still part of the graph, where all are."""
    total = weight.sum()
    return (values.masked_fill(weight == 0, 0) * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))
