"""MSRC v2: photographs of 23 kinds of things and stuff (Shotton et al.: ECCV 2006), placed by hand."""

import warnings
from pathlib import Path

import numpy as np

from cvf20.datasets.base import SegmentationDataset, as_sample, read_image
from cvf20.datasets.download import flag, registry
from cvf20.datasets.synthetic_objects import objects
from cvf20.labels import VOID
from cvf20.paths import data_dir

ORIGIN = (
    "MSRC_ObjCategImageDatabase_v2 of Microsoft Research Cambridge "
    "(www.microsoft.com/en-us/research/project/image-understanding)"
)
EXTENSIONS = (".bmp", ".png", ".jpg", ".jpeg")
CLASSES = {
    "building": (128, 0, 0),
    "grass": (0, 128, 0),
    "tree": (128, 128, 0),
    "cow": (0, 0, 128),
    "horse": (128, 0, 128),
    "sheep": (0, 128, 128),
    "sky": (128, 128, 128),
    "mountain": (64, 0, 0),
    "aeroplane": (192, 0, 0),
    "water": (64, 128, 0),
    "face": (192, 128, 0),
    "car": (64, 0, 128),
    "bicycle": (192, 0, 128),
    "flower": (64, 128, 128),
    "sign": (192, 128, 128),
    "bird": (0, 64, 0),
    "book": (128, 64, 0),
    "chair": (0, 192, 0),
    "road": (128, 64, 128),
    "cat": (0, 192, 128),
    "dog": (128, 192, 128),
    "body": (64, 64, 0),
    "boat": (192, 64, 0),
}


class MSRC(SegmentationDataset):
    """276 / 59 / 128 photographs (train / val / test) of six sizes, e.g. (3, 213, 320); mask with classes 0 … 22.

    Lies in its official layout in the folder msrc: Images/<name>.*, GroundTruth/<name>_GT.*, each bmp, png or jpg.
    Pixels that the labels leave black are void. No training image shows a horse (`untrained`): a class mean that
    counts it says nothing about a network.
    Raises ValueError where a label has a colour that is no class's, FileNotFoundError where a part of the files is there.
    """

    name = "msrc"
    label = "MSRC"
    classes = tuple(CLASSES)
    palette = np.array(list(CLASSES.values()), dtype=np.uint8)
    num_classes = 23
    untrained = (classes.index("horse"),)

    def __init__(self, root=None, split="train", transforms=None):
        # not the base's own: it looks for files of a fixed name and checksum, and fetches them
        if split not in self.splits:
            raise ValueError(f"split={split!r} of {self.name}: expected one of {', '.join(self.splits)}")
        self.split, self.transforms = split, transforms
        folder = Path(root or data_dir()) / self.name
        self.images_by_name, self.labels_by_name = (
            files_by_stem(folder / "Images"),
            files_by_stem(folder / "GroundTruth"),
        )
        self.synthetic = not self._is_there(folder)
        samples = [as_sample(*made) for made in self.stand_in()] if self.synthetic else self._read(folder)
        self.names = [sample.name for sample in samples]
        self.images = [sample.image for sample in samples]
        self.masks = [sample.mask for sample in samples]

    def _is_there(self, folder: Path) -> bool:
        """Whether the stand-in is not needed; it may not hide that a part of the data set is missing."""
        if flag("CVF20_SYNTHETIC"):
            return False
        names = self.sample_names()
        wanted = [(f"Images/{n}", n in self.images_by_name) for n in names]
        wanted += [(f"GroundTruth/{n}_GT", f"{n}_GT" in self.labels_by_name) for n in names]
        missing = [file for file, found in wanted if not found]
        where = f"It comes from {ORIGIN}; its Images/ and GroundTruth/ go into {folder}."
        if not missing:
            return True
        if len(missing) < len(wanted):
            raise FileNotFoundError(
                f"msrc: {len(missing)} of {len(wanted)} files ({self.split}) are missing in {folder}, first {missing[0]} "
                f"({', '.join(EXTENSIONS)}). {where}"
            )
        warnings.warn(f"msrc is placed by hand, and is not here. {where} Using the SYNTHETIC stand-in.", stacklevel=3)
        return False

    def sample_names(self) -> list[str]:
        return [name for name, split in registry("msrc_splits").items() if split == self.split]

    def read_sample(self, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(self.images_by_name[name], "RGB")
        file = self.labels_by_name[f"{name}_GT"]
        try:
            mask = classes_of_colours(read_image(file, "RGB"))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        if mask.shape != image.shape[:2]:
            raise ValueError(f"{file}: labels of shape {mask.shape}, wanted that of the image, {image.shape[:2]}")
        return image, mask

    def stand_in(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return objects(self.split, CLASSES)


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Pictures of a folder by their name without extension; of several, the earliest of EXTENSIONS."""
    files = [file for file in folder.glob("*") if file.suffix.lower() in EXTENSIONS]
    return {file.stem: file for file in sorted(files, key=lambda file: -EXTENSIONS.index(file.suffix.lower()))}


def _look_up() -> tuple[np.ndarray, np.ndarray]:
    """Class and colour for each of the 64 cells of a colour's top two bits: no two colours share a cell."""
    classes, colours = np.full(64, VOID, np.uint8), np.zeros((64, 3), np.uint8)
    for number, colour in enumerate(CLASSES.values()):
        cell = cells(np.array(colour, np.uint8))
        classes[cell], colours[cell] = number, colour
    return classes, colours


def cells(colours: np.ndarray) -> np.ndarray:
    """(…, 3) uint8 → (…) the top two bits of red, green and blue as one number below 64."""
    red, green, blue = np.moveaxis(colours >> 6, -1, 0)
    return red << 4 | green << 2 | blue


def classes_of_colours(colours: np.ndarray) -> np.ndarray:
    """Label picture (H, W, 3) uint8 → classes (H, W) uint8, black → void; ValueError names a colour of no class."""
    cell = cells(colours)
    unknown = (COLOUR_OF_CELL[cell] != colours).any(-1)
    if unknown.any():
        row, column = np.argwhere(unknown)[0]
        found = tuple(int(value) for value in colours[row, column])
        raise ValueError(f"unknown colour {found} in row {row}, column {column} ({unknown.sum()} pixels of no class)")
    return CLASS_OF_CELL[cell]


CLASS_OF_CELL, COLOUR_OF_CELL = _look_up()
