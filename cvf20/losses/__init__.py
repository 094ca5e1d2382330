"""Losses: each takes logits and a label target, leaves void out and returns a scalar."""

from cvf20.losses.border import BorderWeightedLoss, border_weight_map, gap_weight_map
from cvf20.losses.cldice import SoftClDiceLoss
from cvf20.losses.cross_entropy import binary_cross_entropy, cross_entropy_criterion
from cvf20.losses.dice import SorensenDiceLoss
from cvf20.losses.gaps import merge_loss
from cvf20.losses.multiclass import CrossEntropyDice, multiclass_dice, smoothed_cross_entropy
from cvf20.losses.topology import TopologyLoss, WrongPixelLoss, critical_components
from cvf20.losses.watershed import WatershedLoss

__all__ = [
    "BorderWeightedLoss",
    "CrossEntropyDice",
    "SoftClDiceLoss",
    "SorensenDiceLoss",
    "TopologyLoss",
    "WatershedLoss",
    "WrongPixelLoss",
    "binary_cross_entropy",
    "border_weight_map",
    "critical_components",
    "cross_entropy_criterion",
    "gap_weight_map",
    "merge_loss",
    "multiclass_dice",
    "smoothed_cross_entropy",
]
