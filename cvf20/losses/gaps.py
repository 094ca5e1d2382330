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
    strip = to_strip(masks)
    label, count = label_strip(strip, connectivity)
    rows, columns = strip.shape
    offsets = neighbour_offsets(columns, connectivity)
    # Flat, with room for a step beyond either end
    padded = np.pad(label.ravel(), columns + 1)
    inner = (
        np.arange(rows * columns).reshape(-1, masks.shape[1] + 1, columns)[:, :-1, :-1].ravel()
    )  # the images' pixels
    here = inner[label.ravel()[inner] == 0]
    around = [padded[here + columns + 1 + sign * offset] for offset in offsets for sign in (-1, 1)]
    highest = np.max(around, axis=0)
    lowest = np.min([np.where(labels > 0, labels, count + 1) for labels in around], axis=0)
    several = lowest < highest
    here, around = here[several], [labels[several] for labels in around]
    index, key = [], []
    for one, other in combinations(around, 2):
        low, high = np.minimum(one, other).astype(np.int64), np.maximum(one, other)
        between = (low > 0) & (low != high)
        index.append(here[between])
        key.append((low * (count + 1) + high)[between])
    height, width = masks.shape[1:]
    image, rest = np.divmod(np.concatenate(index), (height + 1) * columns)
    pixel = image * height * width + rest // columns * width + rest % columns
    pair = np.unique(np.concatenate(key), return_inverse=True)[1]
    return torch.from_numpy(pixel), torch.from_numpy(pair)
