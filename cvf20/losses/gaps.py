"""The merge term: what joins two touching cells is the one pixel of their gap that leaks most."""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cvf20.components import as_masks, check_connectivity, label_strip, neighbour_offsets, to_strip
from cvf20.labels import split_void
from cvf20.losses.common import full_precision, match_shape


def merge_loss(logits: Tensor, target: Tensor, connectivity: int = 4) -> Tensor:
    """Mean over all pairs of touching cells of −log(1 − p), p the highest probability in the gap between the two.

    logits: (N, 1, H, W); target: (N, H, W) or (N, 1, H, W), values 0, 1 or void; its components are the cells
    The gap of two cells are the background pixels that touch both, any one of which joins them. So they are merged by
    a single pixel exactly if p > 0.5, and the gradient goes to the pixel that decides (as in MALIS, Turaga et al. 2009,
    for gaps of one pixel). Wider gaps have no such pixel and are left to the other terms.
    Returns a scalar, 0 with zero gradient where no cells touch.
    """
    check_connectivity(connectivity)
    labels, keep = split_void(match_shape(target, logits), num_classes=2)
    pixel, pair = gap_pixels((labels == 1).squeeze(1), connectivity)
    pixel, pair = pixel.to(logits.device), pair.to(logits.device)
    inside = keep.flatten()[pixel]  # void is no gap
    pair = torch.unique(pair[inside], return_inverse=True)[1]
    leaks = full_precision(logits).flatten()[pixel[inside]]
    if leaks.numel() == 0:
        return leaks.sum()
    strongest = torch.full((int(pair.max()) + 1,), -torch.inf, dtype=leaks.dtype, device=leaks.device)
    strongest = strongest.scatter_reduce(0, pair, leaks, "amax", include_self=False)
    return -F.logsigmoid(-strongest).mean()


def gap_pixels(foreground: Tensor, connectivity: int = 4) -> tuple[Tensor, Tensor]:
    """Background pixels between components: (M,) index into the flattened (N, H, W), and (M,) number of the pair.

    foreground: (N, H, W) bool. A pixel that touches three components stands for each of their three pairs.
    """
    masks = as_masks(foreground, "foreground")
    height, width = masks.shape[1:]
    strip = to_strip(masks)
    label, count = label_strip(strip, connectivity)
    margin = width + 2  # room for a step beyond either end of the flat strip
    mask, label = (np.pad(values.ravel(), margin) for values in (strip, label))
    steps = [sign * offset for offset in neighbour_offsets(width + 1, connectivity) for sign in (-1, 1)]
    inner = slice(margin, -margin)
    touched = sum(np.roll(mask, -step)[inner].view(np.uint8) for step in steps)  # number of neighbours in cells
    here = np.flatnonzero((touched > 1) & ~mask[inner])
    row, x = np.divmod(here, width + 1)
    image, y = np.divmod(row, height + 1)
    in_image = (y < height) & (x < width)  # and not between two images of the strip
    here, pixel = here[in_image], ((image * height + y) * width + x)[in_image]

    pixels, keys = [], []
    for one, other in combinations([label[margin + here + step].astype(np.int64) for step in steps], 2):
        between = (one != other) & (one > 0) & (other > 0)
        low, high = np.minimum(one, other)[between], np.maximum(one, other)[between]
        pixels.append(pixel[between])
        keys.append(low * (count + 1) + high)
    pair = np.unique(np.concatenate(keys), return_inverse=True)[1]
    return torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(pair)
