"""Augmentation, sampling and input, each a torchvision.transforms.v2 transform of image and mask together."""

from cvf20.transforms.geometry import Geometric, resize_mask
from cvf20.transforms.input import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Normalize,
    NormalizeImage,
    ResizeImage,
    channel_statistics,
    eval_transforms,
    to_input,
)
from cvf20.transforms.joint import RandomQuarterTurn, RandomWarp, train_transforms
from cvf20.transforms.sampling import RandomForegroundCrop, RareClassCrop, class_counts, class_weights
from cvf20.transforms.sizes import (
    PadTo,
    RandomResizedCrop,
    Resize,
    ScaleInto,
    padded_eval_transforms,
    scaled_eval_transforms,
)
from cvf20.transforms.touching import SeparateTouching

__all__ = [
    "Geometric",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Normalize",
    "NormalizeImage",
    "PadTo",
    "RandomForegroundCrop",
    "RandomQuarterTurn",
    "RandomResizedCrop",
    "RandomWarp",
    "RareClassCrop",
    "Resize",
    "ResizeImage",
    "ScaleInto",
    "SeparateTouching",
    "channel_statistics",
    "class_counts",
    "class_weights",
    "eval_transforms",
    "padded_eval_transforms",
    "resize_mask",
    "scaled_eval_transforms",
    "to_input",
    "train_transforms",
]
