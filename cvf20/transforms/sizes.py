"""What changes sizes, by one rule for image and mask: a pixel has the value at its centre."""

from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """(…, H, W) of any dtype → (…, height, width): each pixel takes the value at its centre, as images do.

    torchvision's takes a corner's, which lies half an output pixel beside the image. A centre between two pixels, as
    where a side is halved, takes the one before and the one after in turn: always the same would shift the mask, too.
    """
    for axis, wanted in zip((-2, -1), size, strict=True):
        number = torch.arange(wanted)
        centre = (2 * number + 1) * mask.shape[axis]  # in units of 1 / (2 · wanted) pixels
        before = (centre % (2 * wanted) == 0) & (number % 2 == 0)
        mask = mask.index_select(axis, centre // (2 * wanted) - before.long())
    return mask


class Geometric(v2.Transform):
    """Base of our transforms: a subclass has move(planes (…, H, W), params, is_mask) → tensor; PIL images stay such."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, PIL.Image.Image):
            return v2.functional.to_pil_image(self.move(v2.functional.pil_to_tensor(inpt), params, False), inpt.mode)
        moved = self.move(inpt.as_subclass(Tensor), params, isinstance(inpt, tv_tensors.Mask))
        return tv_tensors.wrap(moved, like=inpt)


def size_of(flat_inputs: list[Any]) -> tuple[int, int]:
    """Height and width of the first image or mask."""
    return tuple(v2.functional.get_size(next(x for x in flat_inputs if isinstance(x, Tensor | PIL.Image.Image))))


class RandomResizedCrop(v2.RandomResizedCrop):
    """torchvision's, but for the mask, which follows the image exactly."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        part = v2.functional.crop(inpt.as_subclass(Tensor), **params)
        return tv_tensors.wrap(resize_mask(part, self.size), like=inpt)


class Resize(Geometric):
    """Resize image and mask to `size` (height, width)."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = tuple(size)

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        return (resize_mask if is_mask else v2.functional.resize)(planes, params.get("size", self.size))


class ScaleInto(Resize):
    """Scale image and mask to the largest size with their own proportions that fits into `size` (height, width)."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        found = size_of(flat_inputs)
        scale = min(limit / length for limit, length in zip(self.size, found, strict=True))
        return {"size": tuple(max(1, round(scale * length)) for length in found)}


class PadTo(Resize):
    """Pad right and bottom to `size` (height, width), the image by reflection, the mask with void: none counts."""

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        more = [limit - length for limit, length in zip(self.size, planes.shape[-2:], strict=True)]
        if min(more) < 0:
            raise ValueError(f"image or mask of size {tuple(planes.shape[-2:])} does not fit into size={self.size}")
        how = {"constant_values": VOID} if is_mask else {"mode": "reflect"}
        return torch.from_numpy(np.pad(planes.numpy(), [(0, 0)] * (planes.ndim - 2) + [(0, k) for k in more], **how))
