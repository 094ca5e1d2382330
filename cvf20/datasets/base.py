"""What all data sets share: finding the files, decoding them once, handing out (image, mask) pairs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from cvf20.datasets.download import fetch, registry
from cvf20.datasets.pictures import read_image
from cvf20.labels import VOID
from cvf20.labels.instances import separate_touching
from cvf20.paths import data_dir, flag

SAMPLES = Path(__file__).parent / "samples"

_decoded: dict[tuple, tuple[Tensor, Tensor]] = {}  # shared, so that train with and without augmentation cost one copy
_say_once = cache(print)


class SegmentationDataset(Dataset):
    """Images and label masks, decoded once and kept in memory as uint8.

    root: folder that holds the data set's own folder, else FileNotFoundError; None: $CVF20_DATA, else data/ of the
          project, else a download, else a small real sample (`sample`) or a drawn stand-in (`synthetic`)
    split: one of `splits`
    transforms: called as transforms(image, mask) on the tv_tensors of one sample
    Item i is (tv_tensors.Image (C, H, W) uint8, tv_tensors.Mask (H, W)), the caller's own copy; `images`, `masks` and
    `names` give the shared originals.
    A subclass names its constants, lists the samples of a split (`sample_names`) and says which two `files` belong to
    one; it may decode them its own way (`read_sample`) and draw a stand-in (`stand_in`).
    """

    name: str
    label: str  # as in a figure's title
    classes: tuple[str, ...]
    palette: np.ndarray  # (K, 3) uint8, colour of each class
    num_classes: int  # logits per pixel: K, or 1 where the task is foreground against background
    splits: tuple[str, ...] = ("train", "val", "test")
    source = ""  # address that the files of the registry lie below
    synthetic = sample = False
    stand_in: Callable | None = None  # gives the drawn samples of this selection: name, image, mask as in `read_sample`

    def __init__(self, root: str | Path | None = None, split: str = "train", transforms: Callable | None = None):
        if split not in self.splits:
            raise ValueError(f"split={split!r} of {self.name}: expected one of {', '.join(self.splits)}")
        self.split, self.transforms = split, transforms
        self.locate(root)
        made = [(name, *as_tensors(*pair)) for name, *pair in self.stand_in()] if self.synthetic else self.decoded()
        self.names, self.images, self.masks = map(list, zip(*made, strict=True)) if made else ([], [], [])

    def sample_names(self) -> list[str]:
        """Names of the samples in this selection, in order: as the data set's own list has them, if it has one."""
        return [name for name, split in registry(f"{self.name}_splits").items() if split == self.split]

    def files(self, name: str) -> tuple[str, str]:
        """Image and mask of one sample, below `folder`."""
        raise NotImplementedError

    def read_sample(self, image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) or (H, W) uint8 and mask (H, W) of one sample."""
        return read_image(image, "RGB"), read_image(mask, "labels")

    def fetch(self) -> None:
        fetch(self.name, self.source, self.folder)

    def locate(self, root: str | Path | None) -> None:
        """Set `folder` to where all wanted files are, fetched if root is None, else `sample` or `synthetic`."""
        sample = SAMPLES / self.name
        instead = "a small real sample" if sample.is_dir() else "a drawn, SYNTHETIC stand-in" if self.stand_in else ""
        self.folder = Path(data_dir() if root is None else root).expanduser() / self.name
        if not (instead and flag("CVF20_SYNTHETIC")):
            wanted = [file for name in self.sample_names() for file in self.files(name)] or [""]
            if not (missing := [file for file in wanted if not (self.folder / file).exists()]):
                return
            found = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
            reason = f"{self.folder} holds {', '.join(found[:5]) or 'nothing'}{' …' if len(found) > 5 else ''}"
            if root is None:
                try:
                    return self.fetch()
                except OSError as error:
                    reason += f"; {error}"
            if found or not instead or root is not None:  # a stand-in would hide that a part is missing
                count = f"{len(missing)} of {len(wanted)} wanted files are missing"
                raise FileNotFoundError(f"{self.name}: {count}, first {self.folder / missing[0]}; {reason}")
            _say_once(f"{self.name}: {reason}. Using {instead} instead.")
        self.folder, self.sample, self.synthetic = sample, sample.is_dir(), not sample.is_dir()

    def decoded(self) -> list[tuple[str, Tensor, Tensor]]:
        """Name, image and mask of each sample; decoded anew where its files, its tensors or the choices changed."""
        choices = type(self), str({key: value for key, value in vars(self).items() if key != "transforms"})

        def decode(name: str) -> tuple[str, Tensor, Tensor]:
            files = [self.folder / file for file in self.files(name)]
            key = *choices, *files, *(file.stat().st_mtime_ns for file in files)
            if key not in _decoded or any(tensor._version for tensor in _decoded[key]):
                image, mask = self.read_sample(*files)
                if image.shape[:2] != mask.shape:
                    sizes = f"image {image.shape} and mask {mask.shape}"
                    raise ValueError(f"{sizes} differ in size: {files[0]}, {files[1]}")
                _decoded[key] = as_tensors(image, mask)
            return name, *_decoded[key]

        names = self.sample_names()
        if self.sample:
            names = [name for name in names if (self.folder / self.files(name)[0]).exists()]
        with ThreadPoolExecutor() as pool:  # PIL decodes outside the interpreter's lock
            return list(pool.map(decode, names))

    @property
    def title(self) -> str:
        """For headings, with (SYNTHETIC) or (sample) where it is not the real, full data set."""
        return f"{self.label}{' (SYNTHETIC)' * self.synthetic}{' (sample)' * self.sample} ({self.split})"

    @property
    def sha256(self) -> str:
        """Digest of every name, shape, image and mask, in order, as they are now."""
        digest = sha256()
        for name, image, mask in zip(self.names, self.images, self.masks, strict=True):
            digest.update(f"{name} {tuple(image.shape)} {tuple(mask.shape)} {mask.dtype}\n".encode())
            digest.update(image.contiguous().numpy())
            digest.update(mask.contiguous().numpy())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = tv_tensors.Image(self.images[index].clone()), tv_tensors.Mask(self.masks[index].clone())
        return (image, mask) if self.transforms is None else self.transforms(image, mask)


class InstanceDataset(SegmentationDataset):
    """Objects before a background; what a subclass reads are the objects' numbers, which `as_target` makes the mask.

    target: "binary":    mask (H, W) uint8 in {0, 1}; where `parted`, a background line of one pixel lies between
                         touching objects, so that they are the foreground's components under 4-connectivity
            "instances": mask (H, W) int32, 0 background, the numbers of the source, from 255 (void) on one higher
    """

    num_classes = 1
    parted = True

    def __init__(self, root=None, split="train", transforms=None, target="binary"):
        if target not in ("binary", "instances"):
            raise ValueError(f"target={target!r} of {self.name}: expected one of binary, instances")
        self.target = target
        super().__init__(root, split, transforms)

    def read_sample(self, image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
        return read_image(image, "RGB"), self.as_target(read_image(mask, "labels"))

    def as_target(self, instances: np.ndarray) -> np.ndarray:
        if self.target == "instances":
            return instances.astype(np.int32) + (instances >= VOID)
        return separate_touching(instances) if self.parted else (instances > 0).astype(np.uint8)


def as_tensors(image: np.ndarray, mask: np.ndarray) -> tuple[Tensor, Tensor]:
    """Image (C, H, W) and mask (H, W)."""
    return torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1).copy()), torch.from_numpy(mask.copy())
