"""Soft-clDice, the comparison loss for topology: agreement of skeletons, all in differentiable pooling."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvf20.losses.common import binary_arguments
from cvf20.losses.dice import SorensenDiceLoss


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
