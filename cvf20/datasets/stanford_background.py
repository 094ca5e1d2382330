"""Stanford Background: outdoor scenes, 288 × 224, nine classes (Gould, Fulton, Koller: ICCV 2009)."""

from pathlib import Path

import numpy as np

from cvf20.datasets.base import SegmentationDataset
from cvf20.datasets.download import RAW, registry
from cvf20.datasets.stand_ins import drawn, scene

# train/img_0076 is val/img_0022 byte for byte, and train/img_0342 is test/img_0045 encoded once more.
LEAKS = ("img_0076", "img_0342")
CLASSES = {
    **{"sky": (135, 196, 240), "tree": (28, 94, 48), "road": (120, 116, 124), "grass": (124, 190, 66)},
    **{"water": (36, 86, 176), "building": (178, 92, 62), "mountain": (122, 86, 150)},
    **{"foreground": (250, 190, 40), "misc": (214, 40, 120)},
}


class StanfordBackground(SegmentationDataset):
    """570 / 72 / 71 scenes (train / val / test), image (3, 224, 288), mask (224, 288) with classes 0 … 8.

    keep_leaks: keep the two training images that are also in val and test (572), as the course's own numbers do
    """

    name = "stanford_background"
    label = "Stanford Background"
    classes = tuple(CLASSES)
    palette = np.array(list(CLASSES.values()), dtype=np.uint8)
    num_classes = 9
    source = RAW + "jongwonjlee/cs498-ss22/b45f447ed4a8adb610b05fc841293587e97fdce7/mp4/sbd"

    def __init__(self, root=None, split="train", transforms=None, keep_leaks=False):
        self.keep_leaks = keep_leaks
        super().__init__(root, split, transforms)

    def sample_names(self) -> list[str]:
        files = [Path(file) for file in registry(self.name)]
        names = [file.stem for file in files if file.parent.name == self.split and file.suffix == ".jpg"]
        return [name for name in names if self.keep_leaks or self.split != "train" or name not in LEAKS]

    def files(self, name: str) -> tuple[str, str]:
        return f"{self.split}/{name}.jpg", f"{self.split}/{name}.png"

    def stand_in(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return drawn(scene, self.split, self.classes, ((224, 288),))
