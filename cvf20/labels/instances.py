"""Instance label images: 0 is background, every other number an instance, but 255 in a target is void as everywhere.

So that void cannot be mistaken for the 255th instance, no instance is ever given the number 255: the loaders' files
stay below it, and `renumber`, which everything here numbers with, goes from 254 on to 256. Numbers have gaps then, and
after a crop anyway; nothing relies on their order or density.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from cvf20.labels import VOID, check_integer


def instance_numbers(labels: Tensor, void: int | None = VOID) -> Tensor:
    """(n,) ascending numbers of the instances in `labels`; void: the number that is none, or None."""
    check_integer(labels, "labels")
    numbers = labels.unique()
    is_instance = numbers != 0
    return numbers[is_instance if void is None else is_instance & (numbers != void)]


def instance_masks(labels: Tensor, void: int | None = VOID) -> Tensor:
    """(n, H, W) bool masks of the instances of one label image (H, W), by ascending number."""
    if labels.ndim != 2:
        raise ValueError(f"labels of one image must be (H, W), found {tuple(labels.shape)}")
    return labels == instance_numbers(labels, void)[:, None, None]


def instance_boxes(masks: Tensor) -> Tensor:
    """(n, 4) float boxes x0, y0, x1, y1 around the pixels of masks (n, H, W), in coordinates of the pixels' edges.

    A box ends where its last pixel ends, so that a mask of a single pixel has a box of width and height 1, not 0.
    Raises ValueError for a mask without pixels.
    """
    if len(masks) == 0:
        return masks.new_zeros((0, 4), dtype=torch.float32)
    spans = []
    for axis in (1, 2):  # what is left after looking along the rows gives x, then y
        occupied = masks.any(axis).int()
        if not occupied.any(1).all():
            empty = int((~occupied.any(1)).nonzero()[0])
            raise ValueError(f"masks[{empty}] has no pixel, wanted at least one")
        spans.append((occupied.argmax(1), occupied.shape[1] - occupied.flip(1).argmax(1)))
    (x0, x1), (y0, y1) = spans
    return torch.stack([x0, y0, x1, y1], 1).float()


def instance_scores(labels: Tensor, probability: Tensor, void: int | None = VOID) -> Tensor:
    """(n,) mean of `probability` (H, W) over each instance of labels (H, W), by ascending number."""
    if labels.shape != probability.shape:
        raise ValueError(
            f"probability has shape {tuple(probability.shape)}, wanted that of labels {tuple(labels.shape)}"
        )
    probability = probability.to(torch.promote_types(probability.dtype, torch.float32))  # sums of many pixels
    masks = instance_masks(labels, void).flatten(1).to(probability.dtype)
    return masks @ probability.flatten() / masks.sum(1)


def renumber(labels: Tensor, void: int | None = None) -> Tensor:
    """The same instances as 1, 2, 3 … in the order of their numbers, without 255; int64.

    void: the number that means void in `labels` (it becomes 255), or None where there is none, as in a prediction
    """
    numbers = instance_numbers(labels, void)
    fresh = torch.arange(1, len(numbers) + 1, device=labels.device)
    fresh += fresh >= VOID
    place = torch.searchsorted(numbers, labels.contiguous()).clamp_(max=max(len(numbers) - 1, 0))
    result = fresh[place] if len(numbers) else torch.zeros_like(labels, dtype=torch.int64)
    result = result.masked_fill(labels == 0, 0)
    return result if void is None else result.masked_fill(labels == void, VOID)


def separate_touching(instances: np.ndarray) -> np.ndarray:
    """Foreground (H, W) uint8 of instance labels (0 background): at most one component per cell, 4-connected.

    Of two edge neighbours with different labels, the pixel of the larger cell becomes background: a line of one
    pixel, and a small bud keeps all of its own. Crumbs that a cell loses to the line are dropped; a cell no wider
    than the lines around it vanishes.
    """
    numbers = np.append(0, instances)  # any numbers -> 0, 1, 2, …, 0 being the background, also where there is none
    labels = np.unique(numbers, return_inverse=True)[1][1:].reshape(instances.shape)
    area = np.bincount(labels.ravel())
    foreground = instances != 0
    for first, second in (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]):
        a, b = instances[first], instances[second]
        touching = (a != b) & (a != 0) & (b != 0)
        first_is_larger = area[labels[first]] >= area[labels[second]]
        foreground[first] &= ~(touching & first_is_larger)
        foreground[second] &= ~(touching & ~first_is_larger)
    components, count = ndimage.label(foreground)
    cell = np.zeros(count + 1, dtype=labels.dtype)
    cell[components[foreground]] = labels[foreground]
    by_cell_and_size = np.lexsort((np.bincount(components.ravel()), cell))[1:]  # without the background
    largest = by_cell_and_size[np.diff(cell[by_cell_and_size], append=-1) != 0]
    return (foreground & np.isin(components, largest)).astype(np.uint8)
