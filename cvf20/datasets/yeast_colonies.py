"""Yeast colonies: phase-contrast time lapses, 256 × 256, foreground against background."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from cvf20.datasets.base import SegmentationDataset
from cvf20.datasets.download import RAW, registry
from cvf20.datasets.pictures import match_colours
from cvf20.datasets.stand_ins import colony

COLONIES = {"train": (0, 1, 2), "val": (4,)}  # frames of one colony look alike: split by colony, never by frame


class YeastColonies(SegmentationDataset):
    """121 frames of each colony in order of time: image (1, 256, 256) uint8, mask (256, 256) uint8 in {0, 1}.

    split: "train" (colonies 0, 1, 2) or "val" (colony 4)
    colonies: only these of the split; tune on (0, 1) against (2,), so that colony 4 is touched once, at the end
    Image values are each frame's own minimum … maximum, stretched to 0 … 255 by the source.
    """

    name = "yeast_colonies"
    label = "Yeast colonies"
    classes = ("background", "cell")
    palette = np.array([(0, 0, 0), (250, 200, 60)], dtype=np.uint8)
    num_classes = 1
    splits = tuple(COLONIES)
    source = RAW + "Romrchp/utae-cell-segmentation/223c6918692457a55097715998bddde92fb46c76/dtsub"

    def __init__(self, root=None, split="train", transforms=None, colonies: Sequence[int] | None = None):
        of_split = COLONIES.get(split, ())
        self.colonies = of_split if colonies is None else tuple(colonies)
        if not set(self.colonies) <= set(of_split):
            raise ValueError(f"colonies={colonies!r} of {self.name}: expected some of {of_split}, as {split=}")
        super().__init__(root, split, transforms)

    def sample_names(self) -> list[str]:
        wanted = tuple(f"{self.split}_input/set_{colony}_" for colony in self.colonies)
        return [Path(file).stem.removesuffix("_input") for file in registry(self.name) if file.startswith(wanted)]

    def files(self, name: str) -> tuple[str, str]:
        return f"{self.split}_input/{name}_input.png", f"{self.split}_mask/{name}_mask.png"

    def read_sample(self, image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
        return invert_viridis(image), (invert_viridis(mask) > 127).astype(np.uint8)

    def stand_in(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return [frame for number in self.colonies for frame in colony(number)]


def invert_viridis(path: str | Path) -> np.ndarray:
    """Grey values (H, W) uint8 of a picture saved by matplotlib's viridis; of 104/105 and 137/138 the upper one."""
    return match_colours(path, matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3])
