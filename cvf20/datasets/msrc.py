"""MSRC v2: photographs of 23 kinds of things and stuff (Shotton et al.: ECCV 2006), placed by hand."""

from functools import cached_property
from pathlib import Path

import numpy as np

from cvf20.datasets.base import SegmentationDataset
from cvf20.datasets.pictures import match_colours, read_image
from cvf20.datasets.stand_ins import SIZES, drawn, scene
from cvf20.labels import VOID

CLASSES = {
    **{"building": (128, 0, 0), "grass": (0, 128, 0), "tree": (128, 128, 0), "cow": (0, 0, 128)},
    **{"horse": (128, 0, 128), "sheep": (0, 128, 128), "sky": (128, 128, 128), "mountain": (64, 0, 0)},
    **{"aeroplane": (192, 0, 0), "water": (64, 128, 0), "face": (192, 128, 0), "car": (64, 0, 128)},
    **{"bicycle": (192, 0, 128), "flower": (64, 128, 128), "sign": (192, 128, 128), "bird": (0, 64, 0)},
    **{"book": (128, 64, 0), "chair": (0, 192, 0), "road": (128, 64, 128), "cat": (0, 192, 128)},
    **{"dog": (128, 192, 128), "body": (64, 64, 0), "boat": (192, 64, 0)},
}
COLOURS = np.array([*CLASSES.values(), (0, 0, 0)])  # void comes after the classes


class MSRC(SegmentationDataset):
    """276 / 59 / 128 photographs (train / val / test) of six sizes, e.g. (3, 213, 320); mask with classes 0 … 22.

    Lies in the folder msrc, as Images/<name>.* and GroundTruth/<name>_GT.* or as images/ and targets/, each bmp, png or
    jpg; a list <split>.txt beside them goes before the course's own. Pixels that the labels leave black are void. No
    training image shows a horse (`untrained`): a class mean that counts it says nothing about a network.
    """

    name = "msrc"
    label = "MSRC"
    classes = tuple(CLASSES)
    palette = np.array(list(CLASSES.values()), dtype=np.uint8)
    num_classes = 23
    untrained = (classes.index("horse"),)

    def sample_names(self) -> list[str]:
        own = self.folder / f"{self.split}.txt"
        if own.is_file() and (lines := own.read_text(encoding="utf-8").split()):
            return [Path(line).stem for line in lines]
        return super().sample_names()

    def files(self, name: str) -> tuple[str, str]:
        return self.pictures.get(name, f"Images/{name}"), self.pictures.get(f"{name}_GT", f"GroundTruth/{name}_GT")

    @cached_property
    def pictures(self) -> dict[str, str]:
        """Photographs and labels by their name without extension."""
        found = sorted(self.folder.glob("*/*"), reverse=True)
        return {file.stem: str(file) for file in found if file.suffix.lower() in (".bmp", ".png", ".jpg", ".jpeg")}

    def read_sample(self, image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
        labels = match_colours(mask, COLOURS)
        return read_image(image, "RGB"), np.where(labels == self.num_classes, np.uint8(VOID), labels)

    def stand_in(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return drawn(scene, self.split, self.classes, SIZES, 4)

    def fetch(self) -> None:
        origin = "MSRC_ObjCategImageDatabase_v2 of Microsoft Research Cambridge (data/README.md says where)"
        raise OSError(f"it is placed by hand; it comes from {origin}, and its pictures go into {self.folder}")
