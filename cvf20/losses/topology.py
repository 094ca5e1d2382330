"""Which mistakes change the topology, and a loss that penalises those: A3c's cost on connected components."""

import math

import numpy as np
import torch
from scipy import ndimage
from skimage.segmentation import watershed
from torch import Tensor, nn
from torch.nn import functional as F

from cvf20.losses.common import as_masks, binary_arguments
from cvf20.losses.cross_entropy import binary_costs, binary_cross_entropy

STRUCTURE = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}  # connectivity
REACH = 2  # pixels by which a valley may lie beside the gap in the target


def critical_components(prediction: Tensor, target: Tensor, connectivity: int = 4, holes: bool = False) -> Tensor:
    """(N, H, W) bool: the pixels of those connected mistakes that change the topology.

    prediction, target: (N, H, W) bool; connectivity: of the foreground, 4 or 8
    holes: also look at the complement, with the dual connectivity: mistakes that open, close, join or part holes

    A component of the false positives, or of the false negatives, is critical unless it touches exactly one component
    of prediction ∧ target. Touching several, it merges what is separate, or splits what is one; touching none, it
    invents an object, or misses one. After Grim et al. (2025, arXiv 2501.01022), who remove one component from the
    whole target, or prediction: two cuts that only together part a ring are critical here and not there. Topograph
    (Lux et al. 2025, arXiv 2411.03228) always looks at holes, too.
    """
    predicted, true = as_masks(prediction, "prediction"), as_masks(target, "target")
    if predicted.shape != true.shape:
        raise ValueError(f"prediction and target must have one shape, found {predicted.shape} and {true.shape}")
    if connectivity not in STRUCTURE:
        raise ValueError(f"connectivity={connectivity!r}: expected 4 or 8")
    critical = _critical(predicted, true, connectivity)
    if holes:
        critical |= _critical(~predicted, ~true, 12 - connectivity)
    return torch.from_numpy(critical).to(prediction.device)


def _critical(predicted: np.ndarray, true: np.ndarray, connectivity: int) -> np.ndarray:
    structure = np.pad(STRUCTURE[connectivity][None], ((1, 1), (0, 0), (0, 0)))  # neighbours lie in the same image
    correct, count = ndimage.label(predicted & true, structure)
    windows = [(1, 3, 3)] if connectivity == 8 else [(1, 3, 1), (1, 1, 3)]
    lowest = np.min([ndimage.minimum_filter(np.where(correct, correct, count + 1), window) for window in windows], 0)
    highest = np.max([ndimage.maximum_filter(correct, window) for window in windows], 0)
    critical = np.zeros(true.shape, dtype=bool)
    for mistakes in (predicted & ~true, true & ~predicted):
        label, number = ndimage.label(mistakes, structure)
        first, last = np.full(number + 1, count + 1), np.zeros(number + 1, dtype=int)  # neighbours of each mistake
        np.minimum.at(first, label[mistakes], lowest[mistakes])
        np.maximum.at(last, label[mistakes], highest[mistakes])
        critical |= mistakes & (first != last)[label]
    return critical


class TopologyLoss(nn.Module):
    """A base loss, plus cross-entropy on the pixels of critical mistakes: base + strength·(weight·P + merge_weight·M).

    P is the cross-entropy of the pixels of `critical_components`, summed, divided by the number of all pixels that are
    not void: on a base of binary cross-entropy such a pixel counts 1 + weight times.
    base:         loss(logits, target), or loss(logits, target, weight_map) where the data carries one
    thresholds:   on the probability; P is the mean over all. Those below 0.5 see bridges coming, those above it cuts
    warm_up:      (start, end) as shares of training: strength is 0 before start and rises linearly to 1 at end
    merge_weight: of M, `merge_loss`
    logits: (N, 1, H, W); target: (N, H, W) or (N, 1, H, W), values 0, 1 or void, which is background without mistakes
    """

    def __init__(
        self, base=binary_cross_entropy, weight=10.0, *, thresholds=(0.5,), warm_up=(0.0, 0.0), merge_weight=0.0
    ):
        super().__init__()
        self.base, self.weight, self.merge_weight = base, weight, merge_weight
        self.thresholds, self.warm_up, self._progress = tuple(thresholds), tuple(warm_up), 1.0

    def set_progress(self, share: float) -> None:
        """Share of training done, 0 … 1."""
        self._progress = share

    @property
    def strength(self) -> float:
        return float(np.interp(self._progress, self.warm_up, (0, 1))) if self._progress < self.warm_up[1] else 1.0

    def mistakes(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(N, H, W) bool: the pixels to be penalised, of the prediction at one threshold."""
        return critical_components(prediction, target)

    def forward(self, logits: Tensor, target: Tensor, *weight_map: Tensor) -> Tensor:
        loss = self.base(logits, target, *weight_map)
        for weight, term in ((self.weight, self.penalty), (self.merge_weight, merge_loss)):
            if self.strength * weight > 0:
                loss = loss + self.strength * weight * term(logits, target)
        return loss

    def penalty(self, logits: Tensor, target: Tensor) -> Tensor:
        logits, labels, keep = binary_arguments(logits, target)
        foreground, scores = (labels == 1).squeeze(1), logits.detach().masked_fill(~keep, -torch.inf).squeeze(1)
        found = [self.mistakes(scores > math.log(tau / (1 - tau)), foreground) for tau in self.thresholds]
        times = torch.stack(found, dim=1).to(logits).mean(1, keepdim=True)  # (N, 1, H, W)
        return (binary_costs(logits, labels) * times).sum() / keep.sum().clamp(min=1)


class WrongPixelLoss(TopologyLoss):
    """The control for TopologyLoss: penalises all wrong pixels alike, with everything else the same."""

    def mistakes(self, prediction: Tensor, target: Tensor) -> Tensor:
        return prediction != target


def merge_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, as background, of the pixels in the valleys between touching cells, per pixel that is not void.

    logits: (N, 1, H, W); target: (N, H, W) or (N, 1, H, W), values 0, 1 or void; its components are the cells
    A network is unsure in which of several columns the line of one pixel between two cells was drawn. Weights on that
    line lower all of them, and open a gap that is too wide; deepening the valley chooses one.
    """
    logits, labels, keep = binary_arguments(logits, target)
    lowest_in_void = logits.detach().masked_fill(~keep, -torch.inf).squeeze(1)
    valley = valleys(lowest_in_void, (labels == 1).squeeze(1)).unsqueeze(1) & keep
    return F.softplus(logits[valley]).sum() / keep.sum().clamp(min=1)


def valleys(logits: Tensor, foreground: Tensor) -> Tensor:
    """(N, H, W) bool: lines, one pixel wide, that part the touching cells where the logits are lowest.

    logits: (N, H, W); foreground: (N, H, W) bool, its 4-connected components are the cells
    Two cells touch in the pixels of the background that have both among their eight neighbours: the gap. The watershed
    of the logits is flooded from the pixels of the cells REACH steps away from it (or the farthest there are), the
    highest logits first; the line runs where two floods meet.
    """
    masks, heights = as_masks(foreground, "foreground"), logits.detach().cpu().numpy()
    lines = [_valley(height, cells) for height, cells in zip(heights, masks, strict=True)]
    return torch.from_numpy(np.stack(lines)).to(foreground.device)


def _valley(height: np.ndarray, cells: np.ndarray) -> np.ndarray:
    label, count = ndimage.label(cells)
    lowest = ndimage.minimum_filter(np.where(cells, label, count + 1), 3)
    gap = ~cells & (lowest < ndimage.maximum_filter(label, 3))
    if not gap.any():
        return gap
    steps = np.minimum(ndimage.distance_transform_cdt(~gap, "taxicab"), REACH + 1)
    farthest = np.zeros(count + 1, dtype=steps.dtype)
    np.maximum.at(farthest, label.ravel(), steps.ravel())
    sources = np.where(cells & (steps == farthest[label]), label, 0)
    near = cells | gap
    parted = watershed(np.where(sources, -np.inf, -height), sources, mask=near, watershed_line=True)
    return near & (parted == 0)
