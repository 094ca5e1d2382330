"""What all data sets share: finding the files, decoding them once, handing out (image, mask) pairs."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from cvf20.datasets.download import locate
from cvf20.paths import data_dir


class Sample(NamedTuple):
    """One decoded image with its labels."""

    name: str
    image: Tensor  # (C, H, W) uint8
    mask: Tensor  # (H, W) uint8 classes, or int32 instances


_decoded: dict[tuple, Sample] = {}  # shared by all instances, so that train with and without augmentation cost one copy


class SegmentationDataset(Dataset):
    """Images and label masks, decoded once and kept in memory as uint8.

    root: folder that holds the data set's own folder; None: $CVF20_DATA, else data/ of the project
    split: one of `splits`
    transforms: called as transforms(image, mask) on the tv_tensors of one sample

    Item i is (tv_tensors.Image (C, H, W) uint8, tv_tensors.Mask (H, W)), the caller's own copy; `images`, `masks` and
    `names` give the shared originals. Where the files are neither there nor to be fetched, an embedded stand-in takes
    their place: `synthetic` is then True and `title` says so.

    A subclass names its constants, lists the samples of a split (`sample_names`), reads one (`read_sample`) and makes
    the stand-in (`stand_in`).
    """

    name: str
    label: str  # as in a figure's title
    classes: tuple[str, ...]
    palette: np.ndarray  # (K, 3) uint8, colour of each class
    num_classes: int  # logits per pixel: K, or 1 where the task is foreground against background
    splits: tuple[str, ...] = ("train", "val", "test")

    def __init__(self, root: str | Path | None = None, split: str = "train", transforms: Callable | None = None):
        if split not in self.splits:
            raise ValueError(f"split={split!r} of {self.name}: expected one of {', '.join(self.splits)}")
        self.split = split
        self.transforms = transforms
        folder = locate(self.name, data_dir() if root is None else Path(root))
        self.synthetic = folder is None
        samples = [as_sample(*made) for made in self.stand_in()] if folder is None else self._read(folder)
        self.names = [sample.name for sample in samples]
        self.images = [sample.image for sample in samples]
        self.masks = [sample.mask for sample in samples]

    def sample_names(self) -> list[str]:
        """Names of the samples in this selection, in order."""
        raise NotImplementedError

    def read_sample(self, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) or (H, W) uint8 and mask (H, W) of one sample."""
        raise NotImplementedError

    def stand_in(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Name, image and mask of the embedded samples for this selection, arrays as in `read_sample`."""
        raise NotImplementedError

    def cache_key(self) -> tuple:
        """What besides folder and name decides how a sample is decoded."""
        return (self.split,)

    def _read(self, folder: Path) -> list[Sample]:
        resolved = folder.resolve()
        keys = {name: (type(self), resolved, self.cache_key(), name) for name in self.sample_names()}

        def decode(name: str) -> None:
            _decoded[keys[name]] = as_sample(name, *self.read_sample(folder, name))

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # PIL decodes outside the interpreter's lock
            list(pool.map(decode, [name for name, key in keys.items() if key not in _decoded]))
        return [_decoded[key] for key in keys.values()]

    @property
    def title(self) -> str:
        """For headings: the data set and its split, with SYNTHETIC in front where it is the stand-in."""
        return f"{'SYNTHETIC stand-in for ' if self.synthetic else ''}{self.label} ({self.split})"

    @cached_property
    def sha256(self) -> str:
        """Digest of what was decoded: every name, shape, image and mask, in order."""
        digest = hashlib.sha256()
        for name, image, mask in zip(self.names, self.images, self.masks, strict=True):
            digest.update(f"{name} {tuple(image.shape)} {tuple(mask.shape)} {mask.dtype}\n".encode())
            digest.update(image.numpy())
            digest.update(mask.numpy())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = tv_tensors.Image(self.images[index].clone())
        mask = tv_tensors.Mask(self.masks[index].clone())
        return (image, mask) if self.transforms is None else self.transforms(image, mask)

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {len(self)} images, {self.title}"


def as_sample(name: str, image: np.ndarray, mask: np.ndarray) -> Sample:
    """Channels first, as contiguous tensors."""
    channels_first = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return Sample(name, torch.tensor(np.ascontiguousarray(channels_first)), torch.tensor(np.ascontiguousarray(mask)))


def read_image(path: Path, mode: str | None = None) -> np.ndarray:
    """Pixels of an image file, converted to PIL's `mode` where given; ValueError names a file that does not decode."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError) as error:  # PIL's errors for a truncated or foreign file
        raise ValueError(f"{path} is no readable image: {error}") from error
