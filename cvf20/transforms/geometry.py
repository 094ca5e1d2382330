"""What moves pixels: one rule for image and mask, so that neither lies beside the other.

Images are resampled with half-pixel centres. torchvision's nearest neighbour for masks is the older rule that takes a
pixel's corner: masks then lie half an output pixel beside their images. `resize_mask` takes the centre.
"""

from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """(…, H, W) of any dtype → (…, height, width): each pixel takes the value at its centre.

    A centre that falls between two pixels, as it always does when a side is halved, takes the one before and the one
    after in turn: always the same one would shift the mask by half a pixel.
    """
    rows, columns = (_centres(found, wanted, mask.device) for found, wanted in zip(mask.shape[-2:], size, strict=True))
    return mask[..., rows, :][..., columns]


def _centres(found: int, wanted: int, device) -> Tensor:
    """(wanted,) indices of the pixels, of `found` along a side, in which the centres of `wanted` pixels lie."""
    number = torch.arange(wanted, device=device)
    twice = (2 * number + 1) * found  # of a pixel's centre, in units of 1 / (2 · wanted) pixels
    between = twice % (2 * wanted) == 0
    return twice // (2 * wanted) - (between & (number % 2 == 0)).long()


def size_of(flat_inputs: list[Any]) -> tuple[int, int]:
    """Height and width of the first image or mask."""
    first = next(inpt for inpt in flat_inputs if isinstance(inpt, Tensor | PIL.Image.Image))
    return tuple(v2.functional.get_size(first))


class Geometric(v2.Transform):
    """Base of our transforms: a subclass moves plain tensors (…, H, W); PIL images come back as such, as in v2."""

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        raise NotImplementedError

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, PIL.Image.Image):
            moved = self.move(v2.functional.pil_to_tensor(inpt), params, False)
            return v2.functional.to_pil_image(moved, inpt.mode)
        is_mask = isinstance(inpt, tv_tensors.Mask)
        return tv_tensors.wrap(self.move(inpt.as_subclass(Tensor), params, is_mask), like=inpt)
