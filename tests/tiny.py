"""A task that a network of some hundred weights learns in a second: for the tests of training."""

import torch

from cvf20.datasets.base import SegmentationDataset
from cvf20.labels import VOID
from cvf20.models import UNet
from cvf20.transforms import eval_transforms


class Patches(SegmentationDataset):
    """`n` noisy pictures (3, 16, 16) cut into one region per class by vertical borders; each class has its colour.

    num_classes: 1 for a binary task, whose masks hold 0 and 1
    void:        label the first two rows of every mask void, and the whole of the last mask
    """

    name = label = "stanford_background"
    synthetic = True
    split = "train"

    def __init__(self, n=8, num_classes=3, transforms=None, seed=0, void=False):
        generator = torch.Generator().manual_seed(seed)
        labels = max(2, num_classes)
        self.num_classes, self.transforms = num_classes, transforms or eval_transforms()
        self.classes = tuple("abcdef"[:labels])
        self.palette = torch.randint(256, (labels, 3), generator=generator).to(torch.uint8).numpy()
        self.names = [f"patch_{i}" for i in range(n)]
        self.images, self.masks = [], []
        for _ in range(n):
            borders = torch.randint(1, 15, (labels - 1,), generator=generator).sort().values
            mask = torch.bucketize(torch.arange(16), borders, right=True).expand(16, 16).to(torch.uint8).clone()
            colours = torch.tensor([[200, 60, 60], [60, 200, 60], [60, 60, 200]]).roll(seed, 0)
            image = colours[mask.long() % 3].permute(2, 0, 1) + torch.randint(-50, 50, (3, 16, 16), generator=generator)
            self.images.append(image.clamp(0, 255).to(torch.uint8).contiguous())
            self.masks.append(mask)
        if void:
            for mask in self.masks:
                mask[:2] = VOID
            self.masks[-1][:] = VOID


def tiny_unet(num_classes=3, **choices):
    """A U-Net of depth 1 with batch normalisation, and whatever else is asked for."""
    return UNet(1, 3, num_classes, (4, 8), **({"norm_type": "batch"} | choices))
