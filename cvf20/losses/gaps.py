"""The merge term: what keeps two touching cells joined is the valley between them, where the network puts it."""

import numpy as np
import torch
from scipy import ndimage
from skimage.segmentation import watershed
from torch import Tensor
from torch.nn import functional as F

from cvf20.losses.common import as_masks, binary_arguments

REACH = 2  # pixels by which a valley may lie beside the gap in the target


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
