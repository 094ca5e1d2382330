"""Targets and loss of the deep watershed, after Bai and Urtasun 2017 (arXiv 1611.08303, sections 3.2 to 3.4)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cvf20.labels import VOID, label_images
from cvf20.labels.borders import label_depths
from cvf20.losses.common import class_arguments, weighted_mean
from cvf20.losses.cross_entropy import binary_cross_entropy, class_costs


class WatershedTargets(NamedTuple):
    """What the three heads are to say about an instance label image, and how much each pixel counts."""

    foreground: Tensor  # (N, H, W) int64: 0, 1 or void
    energy: Tensor  # (N, H, W) int64: 0 background, 1 … bins − 1 from the boundary inwards, or void
    direction: Tensor  # (N, 2, H, W) float32: (y, x) of the distance's gradient with length 1, 0 where it has none
    weight: Tensor  # (N, H, W) float32: 1 / √area inside an instance, 1 in the background, 0 where void


class WatershedLoss(nn.Module):
    """The losses "foreground" (binary), "energy" (balanced) and "direction" (angular) of an output; training adds them.

    edges:    between the energy bins inside an instance, ascending; gaps that grow let the bins widen inwards
    relative: edges are shares of the instance's largest distance: people near and far look alike; else they are pixels
    output:   (N, 1 + bins + 2, H, W) with bins = len(edges) + 2
    target:   (N, H, W) instance labels: 0 background, 255 void, any other number an instance
    """

    def __init__(self, edges: Sequence[float] = (0.1, 0.25, 0.45, 0.7), relative: bool = True):
        super().__init__()
        if list(edges) != sorted(set(edges)) or min(edges, default=1) <= 0 or (relative and max(edges, default=0) >= 1):
            raise ValueError(f"edges={tuple(edges)}: ascending numbers above 0 (and below 1 if relative) are wanted")
        self.edges, self.relative, self.bins = tuple(edges), relative, len(edges) + 2

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        true = watershed_targets(target, self.edges, self.relative)
        foreground, energy, direction = output.split([1, self.bins, 2], dim=1)
        return {
            "foreground": binary_cross_entropy(foreground, true.foreground),
            "energy": balanced_cross_entropy(energy, true.energy, true.weight),
            "direction": angular_loss(direction, true.direction, true.weight),
        }


def watershed_targets(target: Tensor, edges: Sequence[float], relative: bool) -> WatershedTargets:
    """Targets of instance labels (N, H, W); see `WatershedLoss` for the arguments."""
    target = label_images(target, "target")
    maps = zip(*(boundary_distance(labels, relative) for labels in target.cpu().numpy()), strict=True)
    distance, direction, weight = (torch.from_numpy(np.stack(images)).to(target.device) for images in maps)
    void, inside = target == VOID, distance > 0
    bins = 1 + torch.bucketize(distance, distance.new_tensor(edges))
    foreground, energy = (labels.masked_fill(void, VOID) for labels in (inside.long(), bins * inside))
    return WatershedTargets(foreground, energy, direction, weight)


def boundary_distance(labels: np.ndarray, relative: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one instance image (H, W): distance to the boundary, its unit gradient (2, H, W), the weights; all float32.

    The distance is 0 outside instances; relative: divided by the instance's largest. Weights: see `WatershedTargets`.
    """
    distance, weight = np.zeros(labels.shape, dtype=np.float32), (labels != VOID).astype(np.float32)
    direction = np.zeros((2, *labels.shape), dtype=np.float32)
    for window, mine, depth in label_depths(labels, leave_out=(0, VOID)):
        weight[window][mine] = mine.sum() ** -0.5
        if np.isinf(depth).all():  # no boundary anywhere
            distance[window][mine] = 1 if relative else np.inf
            continue
        slope = np.stack([np.gradient(depth, axis=k) if n > 1 else 0 * depth for k, n in enumerate(depth.shape)])
        length = np.hypot(*slope)
        unit = slope / np.where(length > 1e-6, length, np.inf)
        distance[window][mine] = (depth / depth[mine].max() if relative else depth)[mine]
        direction[:, *window][:, mine] = unit[:, mine]
    return distance, direction, weight


def balanced_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over the classes that occur of the weighted mean, inside each, of −log softmax(logits)[target].

    logits (N, K, H, W), target (N, H, W) in 0 … K − 1 or void, weight (N, H, W) ≥ 0
    """
    logits, labels, keep = class_arguments(logits, target)
    weight, labels = (weight * keep).to(logits).flatten(), labels.flatten()
    costs = class_costs(logits, labels.view_as(keep)).flatten().masked_fill(weight == 0, 0)
    total = logits.new_zeros(logits.shape[1]).index_add(0, labels, weight)
    sums = torch.zeros_like(total).index_add(0, labels, weight * costs)
    return weighted_mean(sums / torch.where(total > 0, total, 1), (total > 0).to(sums))


def angular_loss(prediction: Tensor, direction: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the squared angle (radians²) between two vector fields (N, 2, H, W), where there is a direction.

    direction: true unit vectors, 0 where undefined. atan2 is smooth where acos is not; length 0 is a right angle off.
    """
    prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    true_y, true_x = direction.to(prediction).unbind(1)
    defined = (true_y != 0) | (true_x != 0)
    y, x = prediction.masked_fill(~defined.unsqueeze(1), 0).unbind(1)
    along, across = y * true_y + x * true_x, x * true_y - y * true_x
    lost = along.square() + across.square() < 1e-24
    along, across = along.masked_fill(lost, 0), across.masked_fill(lost, 1)
    return weighted_mean(torch.atan2(across, along).square(), weight.to(prediction) * defined)
