"""Against rare classes being overlooked: class weights, and crops that look for rare classes or for foreground."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID, check_labels
from cvf20.transforms.geometry import Geometric
from cvf20.transforms.sizes import RandomResizedCrop


def class_counts(dataset) -> Tensor:
    """(K,) int64: pixels of every class in a data set's masks; K = 2 for foreground against background."""
    return sum(_histogram(mask, dataset.num_classes) for mask in dataset.masks)


def class_weights(counts: Tensor, power: float = 0.5) -> Tensor:
    """(K,) float32 share of the class to the power of −`power`, scaled so that a pixel's mean weight is 1.

    counts: (K,) pixels per class; a class without any gets weight 0
    power:  0 weighs all pixels alike, 1 all classes
    """
    present = counts > 0
    weight = torch.where(present, counts.clamp(min=1).double() ** -power, 0.0)
    return (weight * counts.sum() / (weight * counts).sum()).float()


def _histogram(mask: Tensor, num_classes: int) -> Tensor:
    labels = torch.as_tensor(mask).flatten().long()
    labels = labels[labels != VOID]
    check_labels(labels, max(2, num_classes), "mask")
    return torch.bincount(labels, minlength=max(2, num_classes))


def first_mask(flat_inputs: list[Any]) -> Tensor:
    for inpt in flat_inputs:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
    raise ValueError("the crop found no mask among its inputs, wanted image and mask")


class RandomForegroundCrop(Geometric):
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
        mask = first_mask(flat_inputs)
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

    def move(self, planes: Tensor, params: dict[str, Any], is_mask: bool) -> Tensor:
        return v2.functional.crop(planes, **params)


class RareClassCrop(RandomResizedCrop):
    """Of several random resized crops one, drawn in proportion to the mean weight of the pixels in it.

    size:         height, width of the result
    weight:       (K,) weights ≥ 0 of the classes, see `class_weights`; void has weight 0
    tries:        crops to choose among; 1 is torchvision's RandomResizedCrop
    scale, ratio: ranges of the crop's area as a share of the image and of its aspect (width / height)

    With weights inverse to the classes' frequency, a crop with twice as much of a rare class is up to twice as likely.
    """

    def __init__(
        self,
        size: tuple[int, int],
        weight: Tensor,
        tries: int = 8,
        scale: tuple[float, float] = (0.25, 1.0),
        ratio: tuple[float, float] = (0.8, 1.6),
    ):
        super().__init__(size, scale, ratio, antialias=True)
        if tries < 1 or weight.dim() != 1 or not 0 < len(weight) <= VOID or weight.min() < 0:
            raise ValueError(f"tries={tries} ≥ 1 and weight (K,) ≥ 0 are wanted, found weight={weight.tolist()}")
        self.tries, self.weight = tries, weight.double()

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        boxes = [super(RareClassCrop, self).make_params(flat_inputs) for _ in range(self.tries)]
        total = self._summed_area(first_mask(flat_inputs))
        scores = torch.stack([_inside(total, **box) / (box["height"] * box["width"]) for box in boxes]).clamp(min=0)
        chosen = torch.multinomial(scores, 1) if scores.sum() > 0 else 0
        return boxes[int(chosen)]

    def _summed_area(self, mask: Tensor) -> Tensor:
        """(H + 1, W + 1): entry [i, j] is the weight of all pixels above i and left of j."""
        per_label = F.pad(self.weight, (0, VOID + 1 - len(self.weight)))
        weight = per_label[mask.as_subclass(Tensor).reshape(mask.shape[-2:]).long()]
        return F.pad(weight.cumsum(0).cumsum(1), (1, 0, 1, 0))


def _inside(total: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    bottom, right = top + height, left + width
    return total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
