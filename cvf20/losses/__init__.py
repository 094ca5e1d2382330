"""Losses: each takes logits and a label target, leaves void out and returns a scalar."""

from cvf20.losses.cross_entropy import binary_cross_entropy, cross_entropy_criterion
from cvf20.losses.dice import SorensenDiceLoss

__all__ = ["SorensenDiceLoss", "binary_cross_entropy", "cross_entropy_criterion"]
