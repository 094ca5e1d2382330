"""Which mistakes change the topology, and a loss that penalises those: A3c's cost on connected components."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from cvf20.losses.common import as_masks, binary_arguments
from cvf20.losses.cross_entropy import binary_costs, binary_cross_entropy
from cvf20.losses.gaps import merge_loss

STRUCTURE = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}  # connectivity


def critical_components(prediction: Tensor, target: Tensor, connectivity: int = 4, holes: bool = False) -> Tensor:
    """(N, H, W) bool: the pixels of those connected mistakes that change the topology.

    prediction, target: (N, H, W) bool
    connectivity:       of the foreground, 4 or 8
    holes:              also look at the complement, with the dual connectivity (8 or 4): mistakes that open, close,
                        join or part holes

    False positives and false negatives are labelled apart. Such a component is critical unless it touches exactly one
    component of prediction ∧ target, that is, when adding it to the correct foreground changes the number of that
    foreground's components. Touching several: a false positive merges what is separate, a false negative splits what
    is one. Touching none: a false positive invents an object, a false negative misses one.

    After Grim et al. (2025, arXiv 2501.01022), who remove one component from the whole target, or from the whole
    prediction: two cuts that only together part a ring are critical here and not there. What holes=True asks,
    Topograph (Lux et al. 2025, arXiv 2411.03228) always does. Linear in the pixels.
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
    # The images below each other, with an empty row and column at the end of each: no component reaches into the next
    # image, and a step to a neighbour is the same in flat memory everywhere, since over an edge it ends where all is empty
    ends, width = ((0, 0), (0, 1), (0, 1)), true.shape[2] + 1
    steps = (1, width) if connectivity == 4 else (1, width, width + 1, width - 1)
    steps = (*steps, *(-step for step in steps))
    correct = np.pad(predicted & true, ends)
    correct_label, _ = ndimage.label(correct.reshape(-1, width), STRUCTURE[connectivity])
    correct, correct_label = correct.ravel(), correct_label.ravel()
    critical = np.zeros(correct.size, dtype=bool)
    for mistakes in (predicted & ~true, true & ~predicted):
        wrong = np.pad(mistakes, ends)
        label, count = ndimage.label(wrong.reshape(-1, width), STRUCTURE[connectivity])
        label, wrong = label.ravel(), wrong.ravel()
        beside = [np.flatnonzero(wrong & np.roll(correct, -step)) for step in steps]
        mistake = label[np.concatenate(beside)]
        neighbour = correct_label[np.concatenate([here + step for here, step in zip(beside, steps, strict=True)])]
        # One neighbour of each mistake; it is the only one exactly if no other pair of that mistake names another
        some_neighbour = np.zeros(count + 1, dtype=correct_label.dtype)
        some_neighbour[mistake] = neighbour
        is_critical = some_neighbour == 0
        is_critical[mistake[neighbour != some_neighbour[mistake]]] = True
        pixels = np.flatnonzero(wrong)
        critical[pixels] = is_critical[label[pixels]]
    return np.ascontiguousarray(critical.reshape(-1, true.shape[1] + 1, width)[:, :-1, :-1])


class TopologyLoss(nn.Module):
    """A base loss, plus cross-entropy on the pixels of critical mistakes: base + strength·(weight·P + merge_weight·M).

    P is the cross-entropy of the pixels of `critical_components`, summed, divided by the number of all pixels that are
    not void: on a base of binary cross-entropy such a pixel counts 1 + weight times. The gradient is that of the
    cross-entropy at these pixels; which they are is piecewise constant in the logits.

    base:         loss(logits, target), or loss(logits, target, weight_map) where the data carries one
    thresholds:   on the probability; P is the mean over the predictions at all of them. Below 0.5 they also find
                  bridges, above 0.5 also cuts, that are not there yet but near
    warm_up:      (start, end) as shares of training: strength is 0 before start and rises linearly to 1 at end
    merge_weight: of M, `merge_loss`

    logits: (N, 1, H, W); target: (N, H, W) or (N, 1, H, W), values 0, 1 or void, which is background without mistakes
    """

    def __init__(
        self,
        base: Callable[..., Tensor] = binary_cross_entropy,
        weight: float = 10.0,
        *,
        thresholds: Sequence[float] = (0.5,),
        warm_up: tuple[float, float] = (0.0, 0.0),
        merge_weight: float = 0.0,
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
        """P of the class's description."""
        logits, labels, keep = binary_arguments(logits, target)
        foreground, scores = (labels == 1).squeeze(1), logits.detach().masked_fill(~keep, -torch.inf).squeeze(1)
        found = [self.mistakes(scores > math.log(tau / (1 - tau)), foreground) for tau in self.thresholds]
        times = torch.stack(found).sum(0, dtype=torch.uint8).flatten()
        pixel = times.nonzero().squeeze(1)  # few: the cross-entropy of all pixels would cost as much as the search
        costs = binary_costs(logits.flatten()[pixel], labels.flatten()[pixel])
        return (costs * times[pixel]).sum() / (len(found) * keep.sum().clamp(min=1))


class WrongPixelLoss(TopologyLoss):
    """The control for TopologyLoss: penalises all wrong pixels alike, with everything else the same."""

    def mistakes(self, prediction: Tensor, target: Tensor) -> Tensor:
        return prediction != target
