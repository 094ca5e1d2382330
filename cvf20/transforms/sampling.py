"""Against rare classes being overlooked: class weights, and crops that look for rare classes or for foreground."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID, split_void
from cvf20.transforms.sizes import Geometric, RandomResizedCrop


def class_counts(dataset) -> Tensor:
    """(K,) int64: pixels of every class in a data set's masks; K = 2 for foreground against background."""
    num_classes = max(2, dataset.num_classes)
    masks = (split_void(torch.as_tensor(mask), num_classes) for mask in dataset.masks)
    return sum(torch.bincount(labels[keep], minlength=num_classes) for labels, keep in masks)


def class_weights(counts: Tensor, power: float = 0.5) -> Tensor:
    """(K,) float32 share of the class to the power of −`power`, scaled so that a pixel's mean weight is 1.

    counts: (K,) pixels per class, without any its weight is 0; power: 0 weighs all pixels alike, 1 all classes
    """
    weight = (counts.double() ** -power).masked_fill(counts == 0, 0.0)
    return (weight * counts.sum() / (weight * counts).sum()).float()


def first_mask(flat_inputs: list[Any]) -> Tensor:
    for inpt in flat_inputs:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt.as_subclass(Tensor)
    raise ValueError("the crop found no mask among its inputs, wanted image and mask")


class RandomForegroundCrop(Geometric):
    """Cut out `size` (height, width) at the image's own scale, around a random foreground pixel of the mask.

    anywhere: probability of a crop at any place instead, so that what lies far from all foreground is seen too; an
              image without foreground is always cropped so. Images smaller than `size` are a ValueError.
    """

    def __init__(self, size: tuple[int, int], anywhere: float = 0.0):
        super().__init__()
        self.size, self.anywhere = tuple(size), anywhere

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        mask = first_mask(flat_inputs)
        free = torch.tensor(mask.shape[-2:]) - torch.tensor(self.size)
        if free.min() < 0:
            raise ValueError(f"image of size {tuple(mask.shape[-2:])}: RandomForegroundCrop wants at least {self.size}")
        foreground = ((mask > 0) & (mask != VOID)).nonzero()
        corner = (torch.rand(2) * (free + 1)).long()
        if len(foreground) and float(torch.rand(())) >= self.anywhere:
            picked = foreground[torch.randint(len(foreground), ())][-2:]
            corner = picked - (torch.rand(2) * torch.tensor(self.size)).long()
        top, left = corner.clamp(min=0).minimum(free).tolist()
        return {"top": top, "left": left, "height": self.size[0], "width": self.size[1]}

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        return v2.functional.crop(planes, **params)


class RareClassCrop(RandomResizedCrop):
    """Of several random resized crops one, drawn in proportion to the mean weight of the pixels in it.

    size:         height, width of the result
    weight:       (K,) weights ≥ 0 of the classes, see `class_weights`; void has weight 0
    tries:        crops to choose among; 1 is torchvision's RandomResizedCrop
    scale, ratio: ranges of the crop's area as a share of the image and of its aspect (width / height)
    """

    def __init__(self, size: tuple[int, int], weight: Tensor, tries: int = 8, scale=(0.25, 1.0), ratio=(0.8, 1.6)):
        super().__init__(size, scale, ratio)
        self.tries, self.weight = tries, weight.double()

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        boxes = [super(RareClassCrop, self).make_params(flat_inputs) for _ in range(self.tries)]
        mask = first_mask(flat_inputs)
        weight = F.pad(self.weight, (0, VOID + 1 - len(self.weight)))[mask.long()]
        scores = torch.stack([v2.functional.crop(weight[None], **box).mean() for box in boxes])
        return boxes[int(torch.multinomial(scores, 1)) if scores.sum() > 0 else 0]
