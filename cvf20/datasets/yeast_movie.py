"""Yeast in a microfluidic device: ten phase-contrast frames of one field, 520 × 692, with true instances."""

from pathlib import Path

import numpy as np

from cvf20.datasets.base import InstanceDataset
from cvf20.datasets.download import RAW, registry
from cvf20.datasets.pictures import read_image, stretch


class YeastMovie(InstanceDataset):
    """Ten frames, cut into regions because all show the same field: image (1, H, W) uint8, densely touching cells.

    split: "train" the right half (x ≥ 346), "val" the upper left quarter (y < 260), "test" the lower left one;
           "all" the whole frames; "train_upper", "train_lower" parts of the right half, to choose settings on
    target: see InstanceDataset; a cell has the same number in all splits and, where a border cuts it, the part inside
    """

    name = "yeast_movie"
    label = "Yeast movie"
    classes = ("background", "cell")
    palette = np.array([(0, 0, 0), (250, 200, 60)], dtype=np.uint8)
    splits = ("train", "val", "test", "all", "train_upper", "train_lower")
    source = RAW + "berkyalcinkaya/yeastvision/79cb3da2f759e03b9015fc939af1736a16f1f36b/data/sample_movie_1"

    def sample_names(self) -> list[str]:
        return [file[:5] for file in registry(self.name) if file.endswith("_mask1.tif")]

    def files(self, name: str) -> tuple[str, str]:
        return f"{name}_channel1_phase.tif", f"{name}_mask1.tif"

    def read_sample(self, image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
        """The region of the split, as image and target; contrast and gaps are made on the whole field before."""
        field, cells = stretch(read_image(image, "labels")), self.as_target(read_image(mask, "labels"))
        y, x = field.shape[0] // 2, field.shape[1] // 2  # 260, 346
        regions = {"train": np.s_[:, x:], "val": np.s_[:y, :x], "test": np.s_[y:, :x], "all": np.s_[:, :]}
        regions |= {"train_upper": np.s_[:y, x:], "train_lower": np.s_[y:, x:]}
        return field[regions[self.split]], cells[regions[self.split]]
