"""What every loss does with its arguments before the formula starts."""

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """float32 for half precision, float64 stays: sums over 10⁵ pixels do not survive bfloat16's 8 bits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def match_shape(target: Tensor, prediction: Tensor) -> Tensor:
    """Bring a binary target, (N, H, W) or (N, 1, H, W), to the shape (N, 1, H, W) of its prediction."""
    if prediction.ndim < 2 or prediction.shape[1] != 1:
        raise ValueError(f"prediction of a binary task must be (N, 1, H, W), found {tuple(prediction.shape)}")
    expanded = target.unsqueeze(1) if target.ndim == prediction.ndim - 1 else target
    if expanded.shape != prediction.shape:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, wanted {tuple(prediction.shape)} or the same without channel axis"
        )
    return expanded


def check_classes(target: Tensor, logits: Tensor) -> None:
    """ValueError unless target (N, …) has the shape of the logits (N, K, …) without the class axis."""
    if target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"target must be logits' shape without the class axis, found target {tuple(target.shape)} "
            f"for logits {tuple(logits.shape)}"
        )
