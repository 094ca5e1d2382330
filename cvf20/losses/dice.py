"""Sørensen-Dice loss for foreground / background."""

import torch
from torch import Tensor, nn

from cvf20.labels import split_void
from cvf20.losses.common import full_precision, match_shape


class SorensenDiceLoss(nn.Module):
    """Batch mean of 1 − 2·Σ p·t / (Σ p² + Σ t²), the sums running over the pixels of one image.

    The squared denominator is that of V-Net (Milletari et al. 2016, section 3).

    prediction: (N, 1, H, W) logits, or with from_logits=False the probabilities p themselves
    target:     (N, H, W) or (N, 1, H, W), values 0, 1 or void
    Returns a scalar, computed in float32 at least. An image that is empty in both (Σ p² = Σ t² = 0, which includes
    one that is void throughout) is a perfect match: loss 0, gradient 0.
    Raises ValueError when shapes do not fit, a label is out of range or a probability is outside 0 … 1.
    """

    def __init__(self, from_logits: bool = True):
        super().__init__()
        self.from_logits = from_logits

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        labels, keep = split_void(match_shape(target, prediction), num_classes=2)
        prediction = full_precision(prediction)
        p = prediction.sigmoid() if self.from_logits else check_probabilities(prediction)
        p = p.masked_fill(~keep, 0).flatten(1)  # (N, pixels)
        t = labels.to(p.dtype).flatten(1)

        overlap = (p * t).sum(1)
        t_norm = t.square().sum(1)
        denominator = p.square().sum(1) + t_norm
        # Without foreground in the target the quotient is 0 whatever the denominator; dividing by 1 there keeps the
        # gradient from becoming 0·∞ when Σ p² underflows.
        dice = 2 * overlap / torch.where(t_norm > 0, denominator, torch.ones_like(denominator))
        dice = torch.where(denominator == 0, torch.ones_like(dice), dice)
        return (1 - dice).mean()

    def extra_repr(self) -> str:
        return f"from_logits={self.from_logits}"


def check_probabilities(p: Tensor) -> Tensor:
    """p itself, or a ValueError where it leaves 0 … 1 (nan passes, so that training can name the batch)."""
    if p.numel():
        lowest, highest = (float(value) for value in p.detach().aminmax())
        if lowest < 0 or highest > 1:
            found = lowest if lowest < 0 else highest
            raise ValueError(f"prediction holds {found:g}, wanted probabilities in 0 to 1 (or from_logits=True)")
    return p
