"""The merge term: what keeps two touching cells joined is the valley between them, where the network puts it."""

import numpy as np
import torch
from scipy import ndimage
from skimage.segmentation import watershed
from torch import Tensor
from torch.nn import functional as F

from cvf20.labels import split_void
from cvf20.labels.components import STRUCTURE, as_masks, check_connectivity
from cvf20.losses.common import full_precision, match_shape

REACH = 2  # pixels by which a valley may lie beside the gap in the target


def merge_loss(logits: Tensor, target: Tensor, connectivity: int = 4) -> Tensor:
    """Cross-entropy, as background, of the pixels in the valleys between touching cells.

    Summed, and divided by the number of all pixels that are not void, as TopologyLoss does with critical components.

    logits: (N, 1, H, W); target: (N, H, W) or (N, 1, H, W), values 0, 1 or void; its components are the cells

    A network is unsure in which of several columns the line of one pixel between two cells was drawn. Weights on the
    pixels of that line lower all of these columns, and open a gap that is too wide. A valley (see `valleys`) is where
    the network itself comes closest to parting the two: deepening it chooses one of the columns.
    0 with zero gradient where no cells touch.
    """
    check_connectivity(connectivity)
    labels, keep = split_void(match_shape(target, logits), num_classes=2)
    depth = full_precision(logits)
    foreground = (labels == 1).squeeze(1)
    lowest_in_void = depth.detach().masked_fill(~keep, -torch.inf).squeeze(1)
    valley = valleys(lowest_in_void, foreground, connectivity).unsqueeze(1) & keep
    return F.softplus(depth[valley]).sum() / keep.sum().clamp(min=1)


def valleys(logits: Tensor, foreground: Tensor, connectivity: int = 4) -> Tensor:
    """(N, H, W) bool: lines, one pixel wide, that part the touching cells where the logits are lowest.

    logits: (N, H, W); foreground: (N, H, W) bool, its components are the cells
    Two cells touch in the pixels of the background that have both among their eight neighbours: the gap. The watershed
    of the logits is flooded from the pixels of the cells REACH steps away from it (of a smaller cell, from its farthest
    ones), the highest logits first; the line runs where two floods meet. A wider gap needs no line.
    """
    masks, heights = as_masks(foreground, "foreground"), logits.detach().cpu().numpy()
    lines = [_valley(height, cells, STRUCTURE[connectivity]) for height, cells in zip(heights, masks, strict=True)]
    return torch.from_numpy(np.stack(lines)).to(foreground.device)


def _valley(height: np.ndarray, cells: np.ndarray, structure: np.ndarray) -> np.ndarray:
    label, count = ndimage.label(cells, structure)
    lowest = ndimage.minimum_filter(np.where(cells, label, count + 1), 3)
    gap = ~cells & (lowest < ndimage.maximum_filter(label, 3))
    if not gap.any():
        return gap
    steps = np.minimum(ndimage.distance_transform_cdt(~gap, "taxicab"), REACH + 1)
    farthest = np.zeros(count + 1, dtype=steps.dtype)
    np.maximum.at(farthest, label.ravel(), steps.ravel())
    sources = np.where(cells & (steps == farthest[label]), label, 0)
    near = cells | gap
    parted = watershed(np.where(sources, -np.inf, -height), sources, structure, mask=near, watershed_line=True)
    return near & (parted == 0)
