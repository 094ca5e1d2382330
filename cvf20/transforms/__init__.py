"""Augmentation, sampling and input, each a torchvision.transforms.v2 transform of image and mask together."""
# ruff: noqa: F401 I001

from cvf20.transforms.input import IMAGENET_MEAN, IMAGENET_STD, NormalizeImage, ResizeImage
from cvf20.transforms.input import channel_statistics, eval_transforms, to_input
from cvf20.transforms.joint import RandomQuarterTurn, RandomWarp, SeparateTouching, train_transforms
from cvf20.transforms.sampling import RandomForegroundCrop, RareClassCrop, class_counts, class_weights
from cvf20.transforms.sizes import Geometric, PadTo, RandomResizedCrop, Resize, ScaleInto, resize_mask
