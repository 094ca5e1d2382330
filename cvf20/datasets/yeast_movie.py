"""Yeast in a microfluidic device: ten phase-contrast frames of one field, 520 × 692, with true instances."""

from pathlib import Path

import numpy as np

from cvf20.datasets.base import SegmentationDataset, read_image
from cvf20.datasets.pictures import stretch
from cvf20.labels.instances import separate_touching

TARGETS = ("binary", "instances")


class YeastMovie(SegmentationDataset):
    """Ten frames, cut into regions because all show the same field: image (1, H, W) uint8, densely touching cells.

    split: "train" the right half (x ≥ 346), "val" the upper left quarter (y < 260), "test" the lower left one;
           "all", or None, the whole frames
    target: "binary": mask (H, W) uint8 in {0, 1}, with a background line of one pixel between touching cells, so that
            the cells are the foreground's components under 4-connectivity;
            "instances": mask (H, W) int32, 0 background, the cells' numbers as in the source (the same in all splits)

    A cell that a region's border cuts is present with the part inside. The lone cell at the left edge of the first
    frame is not labelled in the source.
    """

    name = "yeast_movie"
    label = "Yeast movie"
    classes = ("background", "cell")
    palette = np.array([(0, 0, 0), (250, 200, 60)], dtype=np.uint8)
    num_classes = 1
    splits = ("train", "val", "test", "all")

    def __init__(self, root=None, split="train", transforms=None, target="binary"):
        if target not in TARGETS:
            raise ValueError(f"target={target!r} of {self.name}: expected one of {', '.join(TARGETS)}")
        self.target = target
        super().__init__(root, "all" if split is None else split, transforms)

    def cache_key(self) -> tuple:
        return self.split, self.target

    def sample_names(self) -> list[str]:
        return [f"im{i:03d}" for i in range(10) if not self.sample or (self.folder / f"im{i:03d}_mask1.tif").exists()]

    def read_sample(self, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The region of the split, as image and target; contrast and gaps are made on the whole field before."""
        field = read_image(folder / f"{name}_channel1_phase.tif", "grey")
        instances = read_image(folder / f"{name}_mask1.tif", "labels")
        if field.shape != instances.shape:
            raise ValueError(f"{folder}: image {field.shape} and mask {instances.shape} of {name} differ in size")
        mask = separate_touching(instances) if self.target == "binary" else instances.astype(np.int32)
        region = self._region(*field.shape)
        return stretch(field)[region], mask[region]

    def _region(self, height: int, width: int) -> tuple[slice, slice]:
        y, x = height // 2, width // 2  # 260, 346
        return {
            "train": np.s_[:, x:],
            "val": np.s_[:y, :x],
            "test": np.s_[y:, :x],
            "all": np.s_[:, :],
        }[self.split]
