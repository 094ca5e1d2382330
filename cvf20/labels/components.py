"""Connected components of batches of masks (scipy.ndimage.label, on the CPU wherever the tensors are)."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

STRUCTURE = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}  # connectivity


def label_components(mask: Tensor, connectivity: int = 4) -> Tensor:
    """(N, H, W) int64: 0 outside the mask, and one number per connected component, 1, 2, … through the whole batch.

    mask: (N, H, W) bool; connectivity: 4 (edges) or 8 (edges and corners)
    """
    labels, _ = ndimage.label(to_strip(as_masks(mask, "mask")), STRUCTURE[connectivity])
    return torch.from_numpy(from_strip(labels, mask.shape)).to(mask.device, torch.int64)


def to_strip(masks: np.ndarray) -> np.ndarray:
    """The images (N, H, W) below each other as (N·(H + 1), W + 1), each with an empty row and column at its end.

    No component then reaches from one image into the next, and a step to any neighbour is the same offset in flat
    memory everywhere: over an edge it ends on an empty pixel.
    """
    return np.pad(masks, ((0, 0), (0, 1), (0, 1))).reshape(-1, masks.shape[2] + 1)


def from_strip(strip: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The images (N, H, W) = shape of a strip."""
    return np.ascontiguousarray(strip.reshape(shape[0], shape[1] + 1, shape[2] + 1)[:, :-1, :-1])


def as_masks(values: Tensor, name: str) -> np.ndarray:
    """(N, H, W) bool, of any device and memory layout, as numpy; ValueError for anything else."""
    if values.ndim != 3 or values.dtype != torch.bool:
        raise ValueError(f"{name} must be (N, H, W) bool, found {tuple(values.shape)} {values.dtype}")
    return values.detach().cpu().numpy()
