"""What all data sets share: finding the files, decoding them once, handing out (image, mask) pairs."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from cvf20.datasets import pictures
from cvf20.datasets.download import fetch, locate, registry
from cvf20.datasets.pictures import read_image as read_image
from cvf20.labels import VOID
from cvf20.labels.instances import separate_touching

SAMPLES = Path(__file__).parent / "samples"


class Sample(NamedTuple):
    name: str
    image: Tensor  # (C, H, W) uint8
    mask: Tensor  # (H, W) uint8 classes, or int32 instances


# Shared by all instances, so that train with and without augmentation cost one copy; beside each sample what its files
# and tensors were like, so that one that was edited since is read again
_decoded: dict[tuple, tuple[Sample, tuple]] = {}


class SegmentationDataset(Dataset):
    """Images and label masks, decoded once and kept in memory as uint8.

    root: folder that holds the data set's own folder, else FileNotFoundError; None: $CVF20_DATA, else data/ of the
          project, else a download, else a small real sample (`sample`) or a drawn stand-in (`synthetic`)
    split: one of `splits`
    transforms: called as transforms(image, mask) on the tv_tensors of one sample

    Item i is (tv_tensors.Image (C, H, W) uint8, tv_tensors.Mask (H, W)), the caller's own copy; `images`, `masks` and
    `names` give the shared originals. `title` says SYNTHETIC or sample where it is one.

    A subclass names its constants, lists the samples of a split (`sample_names`) and reads one (`read_sample`); it may
    say which files it wants (`wanted`) and draw a stand-in (`stand_in`).
    """

    name: str
    label: str  # as in a figure's title
    classes: tuple[str, ...]
    palette: np.ndarray  # (K, 3) uint8, colour of each class
    num_classes: int  # logits per pixel: K, or 1 where the task is foreground against background
    splits: tuple[str, ...] = ("train", "val", "test")
    synthetic = sample = False
    folder: Path | None = None  # where the files are

    def __init__(self, root: str | Path | None = None, split: str = "train", transforms: Callable | None = None):
        if split not in self.splits:
            raise ValueError(f"split={split!r} of {self.name}: expected one of {', '.join(self.splits)}")
        self.split, self.transforms = split, transforms
        self.folder = locate(self, root)
        if self.folder is None and (SAMPLES / self.name).is_dir():
            self.folder, self.sample = SAMPLES / self.name, True
        self.synthetic = self.folder is None
        samples = [as_sample(*made) for made in self.stand_in()] if self.synthetic else self._read(self.folder)
        self.names, self.images, self.masks = map(list, zip(*samples, strict=True)) if samples else ([], [], [])

    def sample_names(self) -> list[str]:
        """Names of the samples in this selection, in order; `folder` says where the files are."""
        raise NotImplementedError

    def read_sample(self, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) or (H, W) uint8 and mask (H, W) of one sample; `read_image` reads the files."""
        raise NotImplementedError

    def stand_in(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Name, image and mask of the drawn samples for this selection, arrays as in `read_sample`."""
        raise NotImplementedError

    def has_stand_in(self) -> str:
        """What stands for the real data where it is not at hand, or an empty string."""
        if (SAMPLES / self.name).is_dir():
            return "a small real sample"
        return "" if type(self).stand_in is SegmentationDataset.stand_in else "a drawn, SYNTHETIC stand-in"

    def cache_key(self) -> tuple:
        """What besides folder and name decides how a sample is decoded: whatever was chosen for this data set."""
        return tuple((key, repr(value)) for key, value in vars(self).items() if key != "transforms")

    def wanted(self) -> list[str]:
        """The files that have to be in `folder`; a data set without a list of files wants its folder."""
        return list(registry(self.name)) or [""]

    def missing(self) -> list[str]:
        return [file for file in self.wanted() if not (self.folder / file).exists()]

    def fetch(self) -> None:
        """Download into `folder` what it lacks; OSError where that fails."""
        fetch(self.name, self.folder)

    def _read(self, folder: Path) -> list[Sample]:
        how = type(self), folder.resolve(), self.cache_key()

        def decode(name: str) -> Sample:
            key = *how, name
            sample, state = _decoded.get(key, (None, None))
            if sample is None or state != _state(sample, state[0]):
                pictures.seen.paths = paths = []
                sample = as_sample(name, *self.read_sample(folder, name))
                if sample.image.shape[-2:] != sample.mask.shape:
                    sizes = f"image {tuple(sample.image.shape[-2:])} and mask {tuple(sample.mask.shape)}"
                    raise ValueError(f"{sizes} differ in size: {', '.join(map(str, paths)) or name}")
                if paths:
                    _decoded[key] = sample, _state(sample, paths)
            return sample

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # PIL decodes outside the interpreter's lock
            return list(pool.map(decode, self.sample_names()))

    @property
    def title(self) -> str:
        """For headings: the data set and its split; (SYNTHETIC) or (sample) where it is not the real, full one."""
        return f"{self.label}{' (SYNTHETIC)' * self.synthetic}{' (sample)' * self.sample} ({self.split})"

    @property
    def sha256(self) -> str:
        """Digest of every name, shape, image and mask, in order, as they are now."""
        digest = hashlib.sha256()
        for name, image, mask in zip(self.names, self.images, self.masks, strict=True):
            digest.update(f"{name} {tuple(image.shape)} {tuple(mask.shape)} {mask.dtype}\n".encode())
            digest.update(image.contiguous().numpy())
            digest.update(mask.contiguous().numpy())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = tv_tensors.Image(self.images[index].clone())
        mask = tv_tensors.Mask(self.masks[index].clone())
        return (image, mask) if self.transforms is None else self.transforms(image, mask)

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {len(self)} images, {self.title}"


class InstanceDataset(SegmentationDataset):
    """Objects before a background; what a subclass reads are the objects' numbers, which `as_target` makes the mask.

    target: "binary":    mask (H, W) uint8 in {0, 1}; where objects touch (`parted`), with a background line of one pixel
                         between them, so that they are the foreground's components under 4-connectivity
            "instances": mask (H, W) int32, 0 background, the numbers of the source; since 255 is void, those from 255
                         on are one higher
    """

    num_classes = 1
    parted = True

    def __init__(self, root=None, split="train", transforms=None, target="binary"):
        if target not in ("binary", "instances"):
            raise ValueError(f"target={target!r} of {self.name}: expected one of binary, instances")
        self.target = target
        super().__init__(root, split, transforms)

    def as_target(self, instances: np.ndarray) -> np.ndarray:
        if self.target == "instances":
            return instances.astype(np.int32) + (instances >= VOID)
        return separate_touching(instances) if self.parted else (instances > 0).astype(np.uint8)


def listed(file: Path, name: str, split: str) -> list[str]:
    """Names of a split, without extension: one a line in the folder's own list, else those of the data set's list."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    own = [Path(line.strip()).stem for line in lines if line.strip()]
    return own or [sample for sample, part in registry(f"{name}_splits").items() if part == split]


def as_sample(name: str, image: np.ndarray, mask: np.ndarray) -> Sample:
    """Channels first, as contiguous tensors."""
    channels_first = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return Sample(name, torch.tensor(np.ascontiguousarray(channels_first)), torch.tensor(np.ascontiguousarray(mask)))


def _state(sample: Sample, paths: list) -> tuple:
    """What changes where the sample's files, or its tensors in place, are edited."""
    stats = [os.stat(path) if os.path.exists(path) else None for path in paths]
    return paths, [s and (s.st_mtime_ns, s.st_size) for s in stats], sample.image._version, sample.mask._version
