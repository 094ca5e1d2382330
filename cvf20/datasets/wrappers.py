"""Data sets around data sets: a region of every image, several crops of it per epoch, weight maps beside the masks."""

from collections.abc import Callable
from hashlib import sha256

from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from cvf20.datasets.base import SegmentationDataset

SHARED = ("name", "label", "classes", "palette", "num_classes", "split", "synthetic", "sample", "transforms", "title")
SHARED += ("names", "images", "masks")


class Wrapper(SegmentationDataset):
    """Another data set's images, masks and attributes, as far as it has them, shared, not copied."""

    title = ""  # an attribute here, that of the data

    def __init__(self, data: Dataset):
        self.data = data
        vars(self).update({name: getattr(data, name) for name in SHARED if hasattr(data, name)})


def check_plain(data: SegmentationDataset) -> None:
    """ValueError where items are more than an image and its mask: wrapping these would lose the rest silently."""
    if type(data).__getitem__ is not SegmentationDataset.__getitem__:
        raise ValueError(f"data is {type(data).__name__}: choose images first, then add weight maps, then repeat")


class Region(Wrapper):
    """The same rows and columns of every image, e.g. Region(data, np.s_[260:, :])."""

    def __init__(self, data: SegmentationDataset, window: tuple[slice, slice]):
        check_plain(data)
        super().__init__(data)
        self.images, self.masks = ([x[..., *window].contiguous() for x in kind] for kind in (data.images, data.masks))


class Repeated(Wrapper):
    """Every image `times` per epoch, each time transformed anew: for few large images, of which one step sees a crop."""

    def __init__(self, data: Dataset, times: int):
        super().__init__(data)
        self.times = times

    def __len__(self) -> int:
        return self.times * len(self.data)

    @property
    def sha256(self) -> str:
        return self.data.sha256

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)}")
        return self.data[index % len(self.data)]


class WeightMap(tv_tensors.Mask):
    """Weights (H, W) float32 that follow a mask's geometry, nearest neighbour, and keep their type.

    A class of its own because conversions meant for labels, such as the mask's to int64, go by the exact type.
    """


class WithWeightMaps(Wrapper):
    """Items are (image, mask, weights (H, W) float32), transformed together by the data's transforms.

    weight_map: mask (1, H, W) → weights (1, H, W), e.g. `border_weight_map`; called once per mask, before augmentation

    For training: what follows the mask reaches the loss as its third argument. The digest covers the weights. Pixels
    that a transform fills with void may get any weight, since losses leave void out.
    """

    def __init__(self, data: SegmentationDataset, weight_map: Callable[[Tensor], Tensor]):
        check_plain(data)
        super().__init__(data)
        self.weights = [weight_map(mask[None])[0].float().contiguous() for mask in data.masks]

    @property
    def sha256(self) -> str:
        return sha256(self.data.sha256.encode() + b"".join(w.numpy().tobytes() for w in self.weights)).hexdigest()

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, mask = tv_tensors.Image(self.images[index].clone()), tv_tensors.Mask(self.masks[index].clone())
        item = image, mask, WeightMap(self.weights[index].clone())
        image, mask, weights = item if self.transforms is None else self.transforms(*item)
        return image, mask, weights.as_subclass(Tensor)
