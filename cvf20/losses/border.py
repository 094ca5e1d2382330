"""Cross-entropy with a weight per pixel that depends on the distance to the nearest border between two labels."""

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from cvf20.labels import VOID, label_images
from cvf20.labels.borders import border_distance, check_weights, grow
from cvf20.labels.instances import consecutive, separate_touching
from cvf20.losses.common import binary_arguments, class_arguments, weighted_mean
from cvf20.losses.cross_entropy import binary_costs, class_costs


def border_weight_map(target: Tensor, sigma: float = 2.0, sign: str = "fade", w0: float = 10.0) -> Tensor:
    """(N, H, W) float32 weights from the distance d to the nearest border between two different labels.

    target: (N, H, W) labels, any number of classes; void weighs 0 and is no label, see `border_distance`
    sigma:  σ, in pixels
    sign:   "fade": 1 − exp(−d² / 2σ²), small at the border, where discretisation decides which side a pixel is on,
            rising to 1 inside; "emphasise": 1 + w0·exp(−d² / 2σ²)
    """
    if sign not in ("fade", "emphasise"):
        raise ValueError(f"sign={sign!r}, wanted 'fade' or 'emphasise'")
    target = label_images(target, "target")
    near = torch.exp(-border_distance(target).square() / (2 * sigma**2))
    weights = 1 - near if sign == "fade" else 1 + w0 * near
    return weights.masked_fill(target == VOID, 0)


def gap_weight_map(instances: Tensor, sigma: float = 5.0, w0: float = 10.0, touching: bool = False) -> Tensor:
    """(N, H, W) float32: 1 + w0·exp(−(d₁ + d₂)² / 2σ²) on the background, 1 on the cells, 0 where void.

    The U-Net paper's emphasis on thin gaps (Ronneberger et al. 2015, equation 2, without its class weights): d₁ and d₂
    are the distances in pixels to the nearest cell and to the nearest other one, as far as they are below 5σ.
    instances: (N, H, W), 0 background, one number per cell, or void, which is no cell
    touching:  cells may touch: the line that parts two (`separate_touching`) is their gap
    """
    instances = label_images(instances, "instances")
    void = instances == VOID
    cells = instances.masked_fill(void, 0).cpu().numpy()
    if touching:
        cells = [image * separate_touching(image) for image in cells]
    weights = np.stack([_gap_weights(image, sigma, w0) for image in cells])
    return torch.from_numpy(weights).to(instances.device).masked_fill(void, 0)


def _gap_weights(instances: np.ndarray, sigma: float, w0: float) -> np.ndarray:
    first, second = np.full(instances.shape, np.inf), np.full(instances.shape, np.inf)
    present, numbers = consecutive(instances)
    numbers += 0 not in present  # 0, 1, 2, … whatever the numbers are, 0 being the background
    for cell, box in enumerate(ndimage.find_objects(numbers), start=1):
        window = grow(box, math.ceil(5 * sigma))
        distance = ndimage.distance_transform_edt(numbers[window] != cell)
        second[window] = np.minimum(second[window], np.maximum(first[window], distance))
        first[window] = np.minimum(first[window], distance)
    emphasis = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return np.where(numbers == 0, 1 + emphasis, 1).astype(np.float32)


class BorderWeightedLoss(nn.Module):
    """Cross-entropy, averaged with the weights of `border_weight_map`: Σ w·(−log p) / Σ w.

    logits:     (N, K, H, W); K = 1: foreground against background
    target:     (N, H, W) labels or void; for K = 1 also (N, 1, H, W)
    weight_map: (N, H, W) weights ≥ 0, e.g. carried along with the mask; None: made here, slowly, of the target
    """

    def __init__(self, sigma: float = 2.0, sign: str = "fade", w0: float = 10.0):
        super().__init__()
        self.sigma, self.sign, self.w0 = sigma, sign, w0

    def forward(self, logits: Tensor, target: Tensor, weight_map: Tensor | None = None) -> Tensor:
        if logits.shape[1] == 1:
            logits, labels, keep = (part.squeeze(1) for part in binary_arguments(logits, target))
            costs = binary_costs(logits, labels)  # (N, H, W)
        else:
            logits, labels, keep = class_arguments(logits, target)
            costs = class_costs(logits, labels)
        if weight_map is None:
            weight_map = border_weight_map(labels.masked_fill(~keep, VOID), self.sigma, self.sign, self.w0)
        return weighted_mean(costs, check_weights(weight_map, costs) * keep)
