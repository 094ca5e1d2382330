"""Connected components of a batch of masks: what losses and metrics of topology share.

scipy.ndimage.label does the labelling. Everything here runs on the CPU, wherever the tensors are.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

# (dy, dx) to one of every two opposite neighbours: right and below, then the diagonals below
HALF_NEIGHBOURHOOD = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}
STRUCTURE = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}


def label_components(mask: Tensor, connectivity: int = 4) -> Tensor:
    """(N, H, W) int64: 0 outside the mask, and one number per connected component, 1, 2, … through the whole batch.

    mask: (N, H, W) bool; connectivity: 4 (edges) or 8 (edges and corners)
    """
    strip, _ = label_strip(to_strip(as_masks(mask, "mask")), connectivity)
    return torch.from_numpy(from_strip(strip, mask.shape)).to(mask.device, torch.int64)


def to_strip(masks: np.ndarray) -> np.ndarray:
    """The images (N, H, W) below each other as (N·(H + 1), W + 1), each with an empty row and column at its end.

    No component then reaches from one image into the next, one call labels the batch, and a step to any neighbour is
    the same offset in flat memory everywhere, since a step over an edge ends on an empty pixel.
    """
    count, height, width = masks.shape
    strip = np.zeros((count, height + 1, width + 1), dtype=masks.dtype)
    strip[:, :height, :width] = masks
    return strip.reshape(-1, width + 1)


def from_strip(strip: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The images (N, H, W) = shape of a strip."""
    count, height, width = shape
    return np.ascontiguousarray(strip.reshape(count, height + 1, width + 1)[:, :height, :width])


def label_strip(strip: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    """int32 labels 1 … n of a strip's components (0 outside), and n."""
    return ndimage.label(strip, STRUCTURE[connectivity])


def as_masks(values: Tensor, name: str) -> np.ndarray:
    """(N, H, W) bool, of any device and memory layout, as numpy; ValueError for anything else."""
    if values.ndim != 3 or values.dtype != torch.bool:
        raise ValueError(f"{name} must be (N, H, W) bool, found {tuple(values.shape)} {values.dtype}")
    return values.detach().cpu().numpy()


def check_connectivity(connectivity: int) -> None:
    if connectivity not in HALF_NEIGHBOURHOOD:
        raise ValueError(f"connectivity={connectivity!r}: expected 4 or 8")
