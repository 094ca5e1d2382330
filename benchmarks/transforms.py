"""Elastic deformation of an image and its mask beside torchvision's."""

from collections.abc import Iterator

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.common import Row, compare
from cvf20.transforms.joint import RandomWarp


def rows() -> Iterator[Row]:
    image = tv_tensors.Image(torch.randint(256, (3, 256, 256), dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.randint(9, (256, 256), dtype=torch.uint8))
    ours, theirs = RandomWarp(displacement=8.0), v2.ElasticTransform(alpha=50.0)
    title, against = "elastic deformation of image and mask, 256²", "torchvision `v2.ElasticTransform`"
    yield compare(title, against, lambda: ours(image, mask), lambda: theirs(image, mask), ">= 12")
