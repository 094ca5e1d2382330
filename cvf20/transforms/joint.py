"""Joint augmentation of image and mask, in uint8 until `to_input`: images bilinear, masks nearest neighbour."""

import math
from typing import Any

import torch
from skimage.measure import label
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID
from cvf20.labels.instances import separate_touching
from cvf20.transforms.input import IMAGENET_MEAN, IMAGENET_STD, to_input
from cvf20.transforms.sizes import Geometric, RandomResizedCrop, Resize, size_of

SPACING = 32


class RandomQuarterTurn(Geometric):
    """Turn by a random multiple of 90°; images that are not square are turned by 0° or 180°, so sizes never change."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = size_of(flat_inputs)
        step = 1 if height == width else 2
        return {"turns": step * int(torch.randint(4 // step, ()))}

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        return torch.rot90(planes, params["turns"], dims=(-2, -1))


class RandomWarp(Geometric):
    """Rotate by any angle and deform elastically, both in one resampling.

    degrees:      the angle is drawn from [−degrees, degrees]
    displacement: standard deviation in pixels, drawn SPACING pixels apart, bicubic in between, as in the U-Net paper
    fill:         of corners that open: "reflect" mirrors image and mask, "void" makes the image black, the mask VOID
    """

    def __init__(self, degrees: float = 0.0, displacement: float = 0.0, fill: str = "reflect"):
        super().__init__()
        if fill not in ("reflect", "void"):
            raise ValueError(f"fill={fill!r}: allowed are 'reflect', 'void'")
        self.degrees, self.displacement, self.fill = degrees, displacement, fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = size_of(flat_inputs)
        angle = math.radians(self.degrees) * (2 * float(torch.rand(())) - 1)
        cos, sin = math.cos(angle), math.sin(angle)
        # grid_sample's coordinates run from −1 to 1 on both axes, so a rotation in pixels depends on the aspect ratio
        theta = torch.tensor([[[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]])
        grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)
        if self.displacement > 0:
            down, across = (bicubic_weights(math.ceil(size / SPACING) + 1, size) for size in (height, width))
            coarse = self.displacement * torch.randn(1, 2, down.shape[1], across.shape[1])
            smooth = down @ coarse @ across.T  # the same as F.interpolate's, axis by axis: 12 times as fast
            grid = grid + smooth.permute(0, 2, 3, 1) * (2 / torch.tensor([width, height]))
        return {"grid": grid}

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        values = planes.reshape(1, -1, *planes.shape[-2:]).to(torch.float32)
        outside = VOID if is_mask and self.fill == "void" else 0  # what grid_sample leaves 0 becomes this
        how = "nearest" if is_mask else "bilinear", "reflection" if self.fill == "reflect" else "zeros"
        warped = outside + F.grid_sample(values - outside, params["grid"], *how, align_corners=False)
        warped = warped if planes.is_floating_point() else warped.round()
        return warped.reshape(planes.shape).to(planes.dtype)


def bicubic_weights(points: int, size: int) -> Tensor:
    """(size, points): what every point of a coarse line gives to every pixel of the fine one."""
    return F.interpolate(torch.eye(points)[None, None], (size, points), mode="bicubic", align_corners=True)[0, 0]


class SeparateTouching(v2.Transform):
    """Last step of an augmentation: instance mask → foreground mask {0, 1}, one 4-connected component per cell.

    Resampling a binary mask would break the lines between its cells. Each piece of an instance is a cell; void stays.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if type(inpt) is not tv_tensors.Mask:
            return inpt
        labels = inpt.as_subclass(Tensor)
        void = labels == VOID
        parted = separate_touching(label(labels.masked_fill(void, 0).numpy(), connectivity=1))
        return tv_tensors.wrap(torch.from_numpy(parted).to(labels.dtype).masked_fill(void, VOID), like=inpt)


def train_transforms(
    size: tuple[int, int],
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    *,
    crop: tuple[float, float] = (0.5, 1.0),
    flip: float = 0.5,
    quarter_turns: bool = False,
    degrees: float = 0.0,
    displacement: float = 0.0,
    colour: float = 0.0,
    fill: str = "reflect",
) -> v2.Transform:
    """Random augmentation of image and mask, the same geometry for both, result of `size` (height, width).

    crop:          range of the crop's area as a share of the image; it is resized to `size`
    flip:          probability of a horizontal flip
    quarter_turns: turn by a random multiple of 90°
    degrees, displacement, fill: rotation and elastic deformation of the resized crop, see `RandomWarp`
    colour:        strength of brightness, contrast and saturation jitter
    """
    aspect = size[1] / size[0]
    steps = [RandomQuarterTurn()] if quarter_turns else []
    whole = crop == (1.0, 1.0)
    steps.append(Resize(size) if whole else RandomResizedCrop(size, crop, (0.8 * aspect, 1.25 * aspect)))
    if degrees or displacement:
        steps.append(RandomWarp(degrees, displacement, fill=fill))  # after the crop: fewer pixels to move
    if colour:
        steps.append(v2.ColorJitter(colour, colour, colour))
    return v2.Compose([*steps, v2.RandomHorizontalFlip(flip), to_input(mean, std)])
