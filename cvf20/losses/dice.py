"""Sørensen-Dice losses: for one and many classes, with cross-entropy, and of skeletons (soft-clDice)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvf20.losses.common import binary_arguments, class_arguments, weighted_mean
from cvf20.losses.cross_entropy import cross_entropy_criterion


class SorensenDiceLoss(nn.Module):
    """Batch mean of 1 − 2·Σ p·t / (Σ p² + Σ t²), the sums running over the pixels of one image.

    prediction: (N, 1, H, W) logits, or with from_logits=False the probabilities p themselves
    target:     (N, H, W) or (N, 1, H, W), values 0, 1 or void
    An image that is empty in both (Σ p² = Σ t² = 0), or void throughout, is a perfect match: loss 0, gradient 0.
    The squared denominator is that of V-Net (Milletari et al. 2016, section 3).
    """

    def __init__(self, from_logits: bool = True):
        super().__init__()
        self.from_logits = from_logits

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, labels, keep = binary_arguments(prediction, target)
        p = prediction.sigmoid() if self.from_logits else prediction
        p = p.masked_fill(~keep, 0).flatten(1)  # (N, pixels)
        if not self.from_logits and (outside := (p < 0) | (p > 1)).any():
            raise ValueError(f"prediction holds {p[outside][0].item():g}, wanted probabilities (or from_logits=True)")
        t = labels.to(p.dtype).flatten(1)
        overlap = (p * t).sum(1)
        t_norm = t.square().sum(1)
        denominator = p.square().sum(1) + t_norm
        # Without foreground the quotient is 0; dividing by 1 keeps the gradient from being 0·∞ where Σ p² underflows
        dice = 2 * overlap / torch.where(t_norm > 0, denominator, 1)
        dice = torch.where(denominator == 0, 1, dice)
        return (1 - dice).mean()


def multiclass_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the classes of 1 − 2·Σ p·t / (Σ p² + Σ t²), the sums running over all pixels of the batch.

    logits: (N, K, H, W), p their softmax; target: (N, H, W) labels, t one-hot
    Only classes that the batch contains count, each the same, however few pixels it has.
    """
    logits, labels, keep = class_arguments(logits, target)
    p = logits.softmax(1) * keep.unsqueeze(1)
    t = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(p.dtype) * keep.unsqueeze(1)
    axes = (0, *range(2, logits.ndim))
    size = t.sum(axes)  # (K,) pixels of the class, t² = t
    dice = 2 * (p * t).sum(axes) / (p.square().sum(axes) + size).clamp(min=1e-12)
    return weighted_mean(1 - dice, (size > 0).to(p.dtype))


def cross_entropy_dice(logits: Tensor, target: Tensor, weight: Tensor | None = None, dice: float = 1.0) -> Tensor:
    """Weighted cross-entropy for every pixel, plus `dice` times the Dice loss of every class."""
    return cross_entropy_criterion(logits, target, weight) + dice * multiclass_dice(logits, target)


class SoftClDiceLoss(nn.Module):
    """(1 − α)·Dice loss + α·(1 − clDice), per image, averaged over the batch (Shit et al. 2021, equations 1–3).

    clDice is the harmonic mean of the shares of the prediction's soft skeleton that lies in the target, and of the
    target's that lies in the prediction. Made for tubes: on blobs a skeleton says little.
    alpha:      α, 0 … 1
    iterations: of the soft skeleton, at least the radius in pixels of the thickest object
    logits: (N, 1, H, W); target: (N, H, W) or (N, 1, H, W), values 0, 1 or void, which is background in both
    """

    def __init__(self, alpha: float = 0.5, iterations: int = 12):
        super().__init__()
        self.alpha, self.iterations, self.dice = alpha, iterations, SorensenDiceLoss()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        scores, labels, keep = binary_arguments(logits, target)
        p = scores.sigmoid().masked_fill(~keep, 0)  # (N, 1, H, W)
        t = labels.to(p.dtype)
        shares = []
        for one, other in ((p, t), (t, p)):
            skeleton = soft_skeleton(one, self.iterations)  # one pixel more in both sums: no share of nothing
            shares.append(((skeleton * other).flatten(1).sum(1) + 1) / (skeleton.flatten(1).sum(1) + 1))  # (N,)
        precision, sensitivity = shares
        cl_dice = 2 * precision * sensitivity / (precision + sensitivity)
        return (1 - self.alpha) * self.dice(logits, target) + self.alpha * (1 - cl_dice).mean()


def soft_skeleton(values: Tensor, iterations: int) -> Tensor:
    """What opening removes, collected over ever thinner versions of the image (N, 1, H, W), values 0 … 1."""
    skeleton = torch.zeros_like(values)
    for _ in range(iterations + 1):
        # The lowest value of each pixel and its four neighbours
        thinner = -torch.maximum(F.max_pool2d(-values, (3, 1), 1, (1, 0)), F.max_pool2d(-values, (1, 3), 1, (0, 1)))
        skeleton = skeleton + (1 - skeleton) * torch.relu(values - F.max_pool2d(thinner, 3, 1, 1))
        values = thinner
    return skeleton
