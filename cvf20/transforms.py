"""Joint augmentation of image and mask on torchvision.transforms.v2: images bilinear, masks nearest neighbour.

Everything works on uint8 images in memory; `to_input` converts to the network's float images and int64 labels last.
"""

import math
from typing import Any

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from .constants import VOID

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class RandomQuarterTurn(v2.Transform):
    """Turn by a random multiple of 90°; images that are not square are turned by 0° or 180°, so sizes never change."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        step = 1 if height == width else 2
        return {"turns": step * int(torch.randint(4 // step, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], dims=(-2, -1)), like=inpt)


class RandomWarp(v2.Transform):
    """Rotate by any angle and deform elastically, both in one resampling.

    degrees:      the angle is drawn from [−degrees, degrees]
    displacement: standard deviation of the elastic displacement in pixels, drawn on a coarse grid and
                  interpolated smoothly in between (bicubic), as in the U-Net paper
    spacing:      distance of the grid's points in pixels
    fill:         what fills corners that open: "reflect" mirrors image and mask, "void" leaves the image black
                  and gives the mask the label VOID, which no loss and no metric looks at

    Works on any (…, H, W). One coarse grid instead of torchvision's per-pixel noise and Gaussian blur makes it
    more than ten times faster than `v2.ElasticTransform`.
    """

    def __init__(self, degrees: float = 0.0, displacement: float = 0.0, spacing: int = 32, fill: str = "reflect"):
        super().__init__()
        if fill not in ("reflect", "void"):
            raise ValueError(f"fill={fill!r}: allowed are 'reflect', 'void'")
        if degrees < 0 or displacement < 0 or spacing < 1:
            raise ValueError(f"degrees={degrees}, displacement={displacement} ≥ 0 and spacing={spacing} ≥ 1 are wanted")
        self.degrees, self.displacement, self.spacing, self.fill = degrees, displacement, spacing, fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.functional.get_size(flat_inputs[0])
        angle = math.radians(self.degrees) * (2 * float(torch.rand(())) - 1)
        cos, sin = math.cos(angle), math.sin(angle)
        # grid_sample's coordinates run from −1 to 1 on both axes, so a rotation in pixels depends on the aspect ratio
        theta = torch.tensor([[[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]])
        grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)
        if self.displacement > 0:
            coarse_size = [math.ceil(size / self.spacing) + 1 for size in (height, width)]
            coarse = self.displacement * torch.randn(1, 2, *coarse_size)
            smooth = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
            grid = grid + smooth.permute(0, 2, 3, 1) * (2 / torch.tensor([width, height]))
        return {"grid": grid}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        is_mask = isinstance(inpt, tv_tensors.Mask)
        planes = inpt.as_subclass(Tensor).reshape(1, -1, *inpt.shape[-2:]).to(torch.float32)
        padding = "reflection" if self.fill == "reflect" else "zeros"
        if is_mask and self.fill == "void":
            planes = planes - VOID  # outside becomes 0, that is VOID after adding it back
        mode = "nearest" if is_mask else "bilinear"
        warped = F.grid_sample(planes, params["grid"], mode=mode, padding_mode=padding, align_corners=False)
        if is_mask and self.fill == "void":
            warped = warped + VOID
        if not inpt.dtype.is_floating_point:
            warped = warped.round_()
        return tv_tensors.wrap(warped.reshape(inpt.shape).to(inpt.dtype), like=inpt)


class RandomForegroundCrop(v2.Transform):
    """Cut out `size` (height, width) at the image's own scale, around a random foreground pixel of the mask.

    Where foreground is rare, most random crops show nothing; this one shows some, anywhere in the crop.
    anywhere: probability of a crop at any place instead, so that what lies far from all foreground is seen too

    An image without foreground is cropped anywhere. Images smaller than `size` are a ValueError.
    """

    def __init__(self, size: tuple[int, int], anywhere: float = 0.0):
        super().__init__()
        if not 0 <= anywhere <= 1:
            raise ValueError(f"anywhere={anywhere}: a probability in [0, 1] is wanted")
        self.size, self.anywhere = tuple(size), anywhere

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        mask = next(inpt for inpt in flat_inputs if isinstance(inpt, tv_tensors.Mask))
        whole = torch.tensor(mask.shape[-2:])
        free = whole - torch.tensor(self.size)
        if free.min() < 0:
            raise ValueError(f"image of size {tuple(whole.tolist())}: RandomForegroundCrop wants at least {self.size}")
        foreground = ((mask > 0) & (mask != VOID)).nonzero()
        corner = (torch.rand(2) * (free + 1)).long()
        if len(foreground) and float(torch.rand(())) >= self.anywhere:
            picked = foreground[torch.randint(len(foreground), ())][-2:]
            corner = picked - (torch.rand(2) * torch.tensor(self.size)).long()
        top, left = corner.clamp(min=0).minimum(free).tolist()
        return {"top": top, "left": left, "height": self.size[0], "width": self.size[1]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return v2.functional.crop(inpt, **params)


class NormalizeImage(v2.Transform):
    """Normalise a float image by its own values; place it last, after `to_input`.

    "standard":   subtract the mean, divide by the standard deviation
    "median":     subtract the median: phase-contrast background to 0, the contrast as it is
    "background": subtract a running median over 1/4 of the image, which also evens out a slope of the light
    "percentile": 1st and 99.5th percentile to 0 and 1, clipped
    """

    def __init__(self, kind: str):
        super().__init__()
        if kind not in ("standard", "median", "background", "percentile"):
            raise ValueError(f"kind={kind!r}: allowed are 'standard', 'median', 'background', 'percentile'")
        self.kind = kind

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        image = inpt.as_subclass(Tensor)
        planes = image.flatten(1)
        if self.kind == "standard":
            low, scale = planes.mean(1), planes.std(1).clamp(min=1e-6)
        elif self.kind == "percentile":
            low, high = torch.quantile(planes, torch.tensor([0.01, 0.995]), dim=1)
            low, scale = low, (high - low).clamp(min=1e-6)
        else:
            low, scale = planes.median(1).values, torch.ones(len(image))
        if self.kind == "background":
            result = image - _running_median(image)
        else:
            result = (image - low[:, None, None]) / scale[:, None, None]
        if self.kind == "percentile":
            result = result.clamp(0, 1)
        return tv_tensors.wrap(result, like=inpt)


def _running_median(image: Tensor, shrink: int = 8) -> Tensor:
    """Median over a window of a quarter of the image, found on an image `shrink` times smaller."""
    height, width = image.shape[-2:]
    small = F.interpolate(image[None], size=(math.ceil(height / shrink), math.ceil(width / shrink)), mode="area")[0]
    window = [max(3, size // 4) for size in small.shape[-2:]]
    medians = torch.from_numpy(ndimage.median_filter(small.numpy(), size=(1, *window), mode="reflect"))
    return F.interpolate(medians[None], size=(height, width), mode="bilinear", align_corners=False)[0]


def channel_statistics(dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of a data set's images, on the scale 0–1."""
    counts = sum(image[0].numel() for image in dataset.images)
    mean = sum(image.double().sum((1, 2)) for image in dataset.images) / counts
    square = sum(image.double().square().sum((1, 2)) for image in dataset.images) / counts
    std = (square - mean**2).sqrt()
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def to_input(mean=IMAGENET_MEAN, std=IMAGENET_STD) -> v2.Transform:
    """uint8 image → float32, normalised per channel; mask → int64."""
    kinds = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
    return v2.Compose([v2.ToDtype(kinds, scale=True), v2.Normalize(list(mean), list(std))])


class ResizeImage(v2.Resize):
    """Resize the image and leave the mask as it is: scores are taken at the labels' own size."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return inpt if isinstance(inpt, tv_tensors.Mask) else super().transform(inpt, params)


def eval_transforms(size: tuple[int, int] | None = None, mean=IMAGENET_MEAN, std=IMAGENET_STD) -> v2.Transform:
    """What validation and test see: normalised, the image resized to `size` (height, width) where one is given."""
    resize = [ResizeImage(size, antialias=True)] if size else []
    return v2.Compose([*resize, to_input(mean, std)])


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
    color: float = 0.0,
    fill: str = "reflect",
) -> v2.Transform:
    """Random augmentation of image and mask, the same geometry for both, result of `size` (height, width).

    crop:          range of the crop's area as a share of the image; it is resized to `size`
    flip:          probability of a horizontal flip
    quarter_turns: turn by a random multiple of 90°
    degrees, displacement, fill: rotation and elastic deformation of the resized crop, see `RandomWarp`
    color:         strength of brightness, contrast and saturation jitter
    """
    aspect = size[1] / size[0]
    steps = []
    if quarter_turns:
        steps.append(RandomQuarterTurn())
    if crop == (1.0, 1.0):
        steps.append(v2.Resize(size, antialias=True))
    else:
        steps.append(v2.RandomResizedCrop(size, crop, (0.8 * aspect, 1.25 * aspect), antialias=True))
    if degrees or displacement:
        steps.append(RandomWarp(degrees, displacement, fill=fill))  # after the crop: fewer pixels to move
    if flip:
        steps.append(v2.RandomHorizontalFlip(flip))
    if color:
        steps.append(v2.ColorJitter(color, color, color))
    return v2.Compose([*steps, to_input(mean, std)])
