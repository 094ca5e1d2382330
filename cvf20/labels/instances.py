"""Instance label images: 0 is background, 255 void in a target and given to no instance, every other number one."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchvision.ops import masks_to_boxes

from cvf20.labels import VOID, check_integer


def consecutive(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ascending numbers that occur, and for every pixel the position of its number among them."""
    numbers, positions = np.unique(labels, return_inverse=True)
    return numbers, positions.reshape(labels.shape)


def instance_numbers(labels: Tensor, void: int | None = VOID) -> Tensor:
    """(n,) ascending numbers of the instances in `labels`; void: the number that is none, or None."""
    numbers = check_integer(labels, "labels").unique()
    return numbers[(numbers != 0) & (numbers != (void or 0))]


def instance_masks(labels: Tensor, void: int | None = VOID) -> Tensor:
    """(n, H, W) bool masks of the instances of one label image (H, W), by ascending number."""
    return check_integer(labels, "labels") == instance_numbers(labels, void)[:, None, None]


def instance_boxes(masks: Tensor) -> Tensor:
    """(n, 4) float boxes x0, y0, x1, y1 around masks (n, H, W), none empty, from edge to edge: a pixel is 1 wide."""
    return masks_to_boxes(masks) + masks.new_tensor([0, 0, 1, 1], dtype=torch.float32)


def instance_scores(labels: Tensor, probability: Tensor, void: int | None = VOID) -> Tensor:
    """(n,) float32 mean of `probability` (H, W) over each instance of labels (H, W), by ascending number."""
    numbers = instance_numbers(labels, void).cpu()
    means = ndimage.mean(probability.detach().cpu().double().numpy(), labels.cpu().numpy(), numbers.numpy())
    return torch.tensor(means, dtype=torch.float32, device=labels.device)


def renumber(labels: Tensor) -> Tensor:
    """The same instances as 1, 2, 3 … in the order of their numbers, without 255; int64. 0 alone is no instance."""
    numbers, position = consecutive(check_integer(labels, "labels").cpu().numpy())
    fresh = (numbers != 0).cumsum()
    fresh = np.where(numbers != 0, fresh + (fresh >= VOID), 0)
    return torch.from_numpy(fresh[position]).to(labels.device)


def separate_touching(instances: np.ndarray) -> np.ndarray:
    """Foreground (H, W) uint8 of instance labels (0 background): at most one component per cell, 4-connected.

    Of two edge neighbours with different labels, the pixel of the larger cell becomes background, so that a small bud
    keeps its own. What is left of a cell keeps its largest component; one no wider than the lines around it vanishes.
    """
    cell = consecutive(instances)[1]
    area = np.bincount(cell.ravel())
    inside = instances != 0
    foreground = inside.copy()
    for first, second in (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]):
        touching = inside[first] & inside[second] & (cell[first] != cell[second])
        first_is_larger = area[cell[first][touching]] >= area[cell[second][touching]]
        foreground[first][touching] &= ~first_is_larger
        foreground[second][touching] &= first_is_larger
    components, count = ndimage.label(foreground)
    owner, is_largest = np.zeros(count + 1, dtype=cell.dtype), np.zeros(count + 1, dtype=np.uint8)
    owner[components] = cell
    by_size = 1 + np.bincount(components.ravel(), minlength=count + 1)[1:].argsort(kind="stable")
    largest = np.zeros(len(area), dtype=np.int64)
    largest[owner[by_size]] = by_size  # numpy keeps the last one
    is_largest[largest[largest > 0]] = 1
    return is_largest[components]
