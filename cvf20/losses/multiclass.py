"""For many classes: cross-entropy with smoothed labels, Dice over the classes, and both together."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvf20.labels import VOID, split_void
from cvf20.losses.common import check_classes, full_precision
from cvf20.losses.cross_entropy import cross_entropy_criterion, weighted_mean


def smoothed_cross_entropy(
    logits: Tensor, target: Tensor, smoothing: float = 0.1, weight: Tensor | None = None, ignore_index: int = VOID
) -> Tensor:
    """Cross-entropy against 1 − ε + ε/K for the true class and ε/K for the others (Szegedy et al. 2016, section 7).

    logits, target, weight: as for `cross_entropy_criterion`, and so are the errors raised
    smoothing: ε in [0, 1); 0 is `cross_entropy_criterion`
    With weights, each class's term carries its own weight and the sum is divided by Σ w[tᵢ], as in torch, but pixels of
    a class of weight 0 are left out altogether.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing={smoothing}: a number in [0, 1) is wanted")
    labels, keep = split_void(target, logits.shape[1], ignore_index)
    log_probability = F.log_softmax(full_precision(logits), dim=1)  # (N, K, H, W)
    weight = log_probability.new_ones(logits.shape[1]) if weight is None else weight.to(log_probability)
    hard = cross_entropy_criterion(logits, target, weight, ignore_index)
    uniform = -torch.einsum("nk...,k->n...", log_probability, weight) / logits.shape[1]  # (N, H, W)
    of_truth = weight[labels]
    uniform = uniform / torch.where(of_truth > 0, of_truth, 1.0)  # the weighted mean multiplies by it again
    return (1 - smoothing) * hard + smoothing * weighted_mean(uniform, of_truth * keep)


def multiclass_dice(logits: Tensor, target: Tensor, ignore_index: int = VOID) -> Tensor:
    """Mean over the classes of 1 − 2·Σ p·t / (Σ p² + Σ t²), the sums running over all pixels of the batch.

    logits: (N, K, H, W), p their softmax; target: (N, H, W) integer labels, t one-hot
    Only classes that the batch contains count: of an absent one the formula would only say that p should be 0, which
    the other classes' terms say already. Every class weighs the same, however few pixels it has.
    Returns a scalar, computed in float32 at least; 0 with zero gradient where everything is void. Raises ValueError
    when shapes do not fit or a label is out of range.
    """
    check_classes(target, logits)
    labels, keep = split_void(target, logits.shape[1], ignore_index)
    p = full_precision(logits).masked_fill(~keep.unsqueeze(1), 0).softmax(1) * keep.unsqueeze(1)
    t = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(p.dtype) * keep.unsqueeze(1)
    axes = (0, *range(2, logits.ndim))
    size = t.sum(axes)  # (K,) pixels of the class, t² = t
    dice = 2 * (p * t).sum(axes) / (p.square().sum(axes) + size).clamp(min=1e-12)
    return weighted_mean(1 - dice, (size > 0).to(p.dtype))


class CrossEntropyDice(nn.Module):
    """Cross-entropy for every pixel, plus Dice for every class: smoothed_cross_entropy + dice · multiclass_dice.

    weight:    (K,) class weights of the cross-entropy
    smoothing: of its labels
    dice:      factor on the Dice term
    """

    def __init__(self, weight: Tensor | None = None, smoothing: float = 0.0, dice: float = 1.0):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.smoothing, self.dice = smoothing, dice

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        cross_entropy = smoothed_cross_entropy(logits, target, self.smoothing, self.weight)
        return cross_entropy + self.dice * multiclass_dice(logits, target)

    def extra_repr(self) -> str:
        return f"smoothing={self.smoothing}, dice={self.dice}"
