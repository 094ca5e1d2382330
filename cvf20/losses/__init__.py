"""Losses: each takes logits and labels (any integer type, bool, whole floats) and returns a scalar, float32 at least.

Void (255) is left out; where nothing counts the loss is 0 with zero gradient. Labels out of range are ValueErrors.
"""
# ruff: noqa: F401

from cvf20.losses.border import BorderWeightedLoss, border_weight_map, gap_weight_map
from cvf20.losses.cross_entropy import binary_cross_entropy, cross_entropy_criterion
from cvf20.losses.dice import SoftClDiceLoss, SorensenDiceLoss, cross_entropy_dice, multiclass_dice
from cvf20.losses.topology import TopologyLoss, WrongPixelLoss, critical_components, merge_loss, valleys
from cvf20.losses.watershed import WatershedLoss, watershed_targets
