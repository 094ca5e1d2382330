"""Images of different sizes in one batch: cropped, scaled or padded to one, scored at their own size."""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID
from cvf20.transforms.geometry import Geometric, resize_mask, size_of
from cvf20.transforms.input import IMAGENET_MEAN, IMAGENET_STD, to_input


class RandomResizedCrop(v2.RandomResizedCrop):
    """torchvision's, but for the mask, which follows the image exactly."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        cut = v2.functional.crop(inpt, **params).as_subclass(Tensor)
        return tv_tensors.wrap(resize_mask(cut, self.size), like=inpt)


class Resize(Geometric):
    """Resize image and mask to `size` (height, width)."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size={size!r}: (height, width), each at least 1, is wanted")
        self.size = tuple(size)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": self.size}

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        size = params["size"]
        return resize_mask(planes, size) if is_mask else v2.functional.resize(planes, list(size), antialias=True)


class ScaleInto(Resize):
    """Scale image and mask to the largest size with their own proportions that fits into `size` (height, width)."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        found = size_of(flat_inputs)
        scale = min(limit / length for limit, length in zip(self.size, found, strict=True))
        return {"size": tuple(max(1, round(scale * length)) for length in found)}


class PadTo(Geometric):
    """Pad right and bottom to `size` (height, width): the image by reflection, the mask with void.

    No pixel is resampled, and what was added counts in no loss and no metric. Raises ValueError for a larger image.
    """

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = tuple(size)

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        found = tuple(planes.shape[-2:])
        if any(length > limit for length, limit in zip(found, self.size, strict=True)):
            raise ValueError(f"image or mask of size {found} does not fit into size={self.size}")
        if is_mask:
            padded = planes.new_full((*planes.shape[:-2], *self.size), VOID)
            padded[..., : found[0], : found[1]] = planes
            return padded
        rows, columns = (reflected(length, limit) for length, limit in zip(found, self.size, strict=True))
        return planes[..., rows, :][..., columns]


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
