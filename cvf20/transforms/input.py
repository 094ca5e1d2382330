"""What the network is fed: float images, normalised, of one size; labels as int64."""

from typing import Any

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NormalizeImage(v2.Transform):
    """Normalise a float image by its own values; place it last, after `to_input`.

    "standard":   subtract the mean, divide by the standard deviation
    "median":     subtract the median: phase-contrast background to 0, the contrast as it is
    "background": subtract a running median over 1/4 of the image, which also evens out a slope of the light
    "percentile": 1st and 99.5th percentile to 0 and 1, clipped
    """

    def __init__(self, kind: str):
        super().__init__()
        if kind not in OWN_VALUES:
            raise ValueError(f"kind={kind!r}: allowed are {', '.join(OWN_VALUES)}")
        self.kind = kind

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        if not inpt.is_floating_point():
            raise ValueError(f"image holds {inpt.dtype}, wanted floats: NormalizeImage follows to_input")
        return tv_tensors.wrap(OWN_VALUES[self.kind](inpt.as_subclass(Tensor)), like=inpt)


def _percentile(image: Tensor) -> Tensor:
    low, high = torch.quantile(image.flatten(1), torch.tensor([0.01, 0.995]), dim=1)[..., None, None]
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


def _background(image: Tensor, shrink: int = 8) -> Tensor:
    """The median is found on an image `shrink` times smaller."""
    height, width = image.shape[-2:]
    small = F.interpolate(image[None], size=(-(-height // shrink), -(-width // shrink)), mode="area")[0]
    window = [max(3, size // 4) for size in small.shape[-2:]]
    medians = torch.from_numpy(ndimage.median_filter(small.numpy(), size=(1, *window), mode="reflect"))
    return image - F.interpolate(medians[None], size=(height, width), mode="bilinear", align_corners=False)[0]


OWN_VALUES = {
    "standard": lambda x: (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True).clamp(min=1e-6),
    "median": lambda x: x - x.flatten(1).median(1).values[:, None, None],
    "background": _background,
    "percentile": _percentile,
}


def channel_statistics(dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of a data set's `images` (C, H, W), integers on the scale 0–1."""
    count = total = squares = 0
    for image in dataset.images:
        image = v2.functional.to_dtype(torch.as_tensor(image), torch.float64, scale=True)
        count += image[0].numel()
        total, squares = total + image.sum((1, 2)), squares + image.square().sum((1, 2))
    mean = total / count
    return tuple(mean.tolist()), tuple((squares / count - mean**2).clamp(min=0).sqrt().tolist())


class Normalize(v2.Normalize):
    """torchvision's, but ValueError for other channels than the mean has values, where torch would make more of them."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Mask) and len(self.mean) not in (1, inpt.shape[-3]):
            raise ValueError(f"mean has {len(self.mean)} values, wanted 1 or as many as the {inpt.shape[-3]} channels")
        return super().transform(inpt, params)


def to_input(mean=IMAGENET_MEAN, std=IMAGENET_STD) -> v2.Transform:
    """uint8 image or picture of PIL → float32, normalised per channel; mask → int64."""
    kinds = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
    return v2.Compose([v2.ToImage(), v2.ToDtype(kinds, scale=True), Normalize(list(mean), list(std))])


class ResizeImage(v2.Resize):
    """Resize the image and leave the mask as it is: scores are taken at the labels' own size."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return inpt if isinstance(inpt, tv_tensors.Mask) else super().transform(inpt, params)


def eval_transforms(size: tuple[int, int] | None = None, mean=IMAGENET_MEAN, std=IMAGENET_STD) -> v2.Transform:
    """What validation and test see: normalised, the image resized to `size` (height, width) where one is given."""
    resize = [ResizeImage(size)] if size else []
    return v2.Compose([*resize, to_input(mean, std)])
