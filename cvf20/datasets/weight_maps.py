"""Weight maps beside the masks of a data set, moved by the same transforms."""

from collections.abc import Callable
from hashlib import sha256

from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from cvf20.datasets.base import SegmentationDataset


class WeightMap(tv_tensors.Mask):
    """Weights (H, W) float32 that follow a mask's geometry; not its conversions, which go by the exact type."""


class WithWeightMaps(Dataset):
    """Items are (image, mask, weights (H, W) float32), transformed together by the data's transforms.

    weight_map: mask (1, H, W) → weights (1, H, W), e.g. `border_weight_map`; called once per mask, before augmentation
    What follows the mask reaches the loss as its third argument; it leaves out what a transform fills with void.
    """

    def __init__(self, data: SegmentationDataset, weight_map: Callable[[Tensor], Tensor]):
        self.data, self.transforms = data, data.transforms
        self.name, self.synthetic, self.sample = data.name, data.synthetic, data.sample
        self.weights = [weight_map(mask[None])[0].float().contiguous() for mask in data.masks]

    @property
    def sha256(self) -> str:
        return sha256(self.data.sha256.encode() + b"".join(w.numpy().tobytes() for w in self.weights)).hexdigest()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, mask = self.data.images[index], self.data.masks[index]
        item = tv_tensors.Image(image.clone()), tv_tensors.Mask(mask.clone()), WeightMap(self.weights[index].clone())
        image, mask, weights = item if self.transforms is None else self.transforms(*item)
        return image, mask, weights.as_subclass(Tensor)
