"""Against rare classes being overlooked: weights, repeated images, and crops that look for them."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from .constants import VOID
from .datasets.wrappers import check_plain


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


def repeat_rare(dataset, threshold: float = 0.5, most: int = 8):
    """The data set with images of rare classes repeated, as LVIS samples them (Gupta et al. 2019, section 5).

    A class in a share f of the images is worth r = √(threshold / f) looks, 1 at least; an image is shown as often as
    its rarest class is worth, rounded, and at most `most` times. The result is a data set of the same kind, whose
    images are shared with the first one. Raises ValueError for weight maps or repetitions: they wrap the result.
    """
    check_plain(dataset)
    contained = torch.stack([_histogram(mask, dataset.num_classes) > 0 for mask in dataset.masks])  # (N, K)
    shares = contained.double().mean(0)
    worth = torch.where(shares > 0, (threshold / shares).sqrt(), 1.0)
    times = (contained * worth).amax(1).round().clamp(1, most).long()
    order = torch.arange(len(times)).repeat_interleave(times).tolist()
    repeated = copy.copy(dataset)
    repeated.__dict__.pop("sha256", None)  # cached from the first one's content
    repeated.names, repeated.images, repeated.masks = (
        [items[i] for i in order] for items in (dataset.names, dataset.images, dataset.masks)
    )
    return repeated


def _histogram(mask: Tensor, num_classes: int) -> Tensor:
    return torch.bincount(mask[mask != VOID].flatten().long(), minlength=max(2, num_classes))


class RareClassCrop(v2.RandomResizedCrop):
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
        masks = [inpt for inpt in flat_inputs if isinstance(inpt, tv_tensors.Mask)]
        if not masks:
            raise ValueError("RareClassCrop found no mask among its inputs, wanted image and mask")
        total = self._summed_area(masks[0])
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
