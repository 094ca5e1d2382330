"""Images of different sizes in one batch: scaled or padded to one, scored at their own size."""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID
from cvf20.transforms.input import IMAGENET_MEAN, IMAGENET_STD, to_input


class PadTo(v2.Transform):
    """Pad right and bottom to `size` (height, width): the image by reflection, the mask with void.

    No pixel is resampled, and what was added counts in no loss and no metric. Raises ValueError for a larger image.
    """

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = tuple(size)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        found = tuple(inpt.shape[-2:])
        if any(length > limit for length, limit in zip(found, self.size, strict=True)):
            raise ValueError(f"image or mask of size {found} does not fit into size={self.size}")
        if isinstance(inpt, tv_tensors.Mask):
            padded = inpt.new_full((*inpt.shape[:-2], *self.size), VOID)
            padded[..., : found[0], : found[1]] = inpt
        else:
            rows, columns = (reflected(length, limit) for length, limit in zip(found, self.size, strict=True))
            padded = inpt.as_subclass(Tensor)[..., rows, :][..., columns]
        return tv_tensors.wrap(padded.as_subclass(Tensor), like=inpt)


class ScaleInto(v2.Transform):
    """Scale image and mask to the largest size with their own proportions that fits into `size` (height, width)."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size={size!r}: (height, width), each at least 1, is wanted")
        self.size = tuple(size)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        found = v2.functional.get_size(flat_inputs[0])
        scale = min(limit / length for limit, length in zip(self.size, found, strict=True))
        return {"size": [max(1, round(scale * length)) for length in found]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return v2.functional.resize(inpt, params["size"], antialias=True)  # masks: nearest neighbour


def reflected(length: int, target: int) -> Tensor:
    """Indices (target,) that run to and fro over 0 … length − 1 without repeating the ends, as often as it takes."""
    period = max(1, 2 * length - 2)
    positions = torch.arange(target) % period
    return torch.where(positions < length, positions, period - positions)


def padded_eval_transforms(size: tuple[int, int], mean=IMAGENET_MEAN, std=IMAGENET_STD) -> v2.Transform:
    """What validation and test see of a data set of differing sizes: padded to `size` (height, width), normalised."""
    return v2.Compose([PadTo(size), to_input(mean, std)])


def scaled_eval_transforms(size: tuple[int, int], mean=IMAGENET_MEAN, std=IMAGENET_STD) -> v2.Transform:
    """What validation sees during training: people in their proportions, padded to `size` with void, normalised."""
    return v2.Compose([ScaleInto(size), PadTo(size), to_input(mean, std)])
