"""Penn-Fudan pedestrians: 170 street photographs with 423 people, each with its own mask (Wang et al., ACCV 2007)."""

from pathlib import Path

import numpy as np

from cvf20.datasets.base import SegmentationDataset, read_image
from cvf20.datasets.download import registry
from cvf20.datasets.stand_ins import streets
from cvf20.labels import VOID

TARGETS = ("binary", "instances")
TEST_IMAGES, VALIDATION_STEP = 50, 6


class PennFudan(SegmentationDataset):
    """100 / 20 / 50 photographs (train / val / test) of about 380 × 480 pixels, every one of its own size: (3, H, W).

    split: in sorted order, which puts Fudan's before Penn's, the last 50 are "test" and every sixth of the others "val"
    target: "binary": mask (H, W) uint8, 1 where anybody stands;
            "instances": mask (H, W) int32, 0 background, 1 … n the people; a lamp post cuts some of them into parts

    Sizes differ, so a batch needs transforms that end in one size.
    """

    name = "penn_fudan"
    label = "Penn-Fudan pedestrians"
    classes = ("background", "person")
    palette = np.array([(0, 0, 0), (250, 190, 40)], dtype=np.uint8)
    num_classes = 1

    def __init__(self, root=None, split="train", transforms=None, target="binary"):
        if target not in TARGETS:
            raise ValueError(f"target={target!r} of {self.name}: expected one of {', '.join(TARGETS)}")
        self.target = target
        super().__init__(root, split, transforms)

    def cache_key(self) -> tuple:
        return (self.target,)  # a photograph belongs to one split

    def sample_names(self) -> list[str]:
        names = sorted(Path(file).stem for file in registry(self.name) if file.startswith("PNGImages/"))
        rest, test = names[:-TEST_IMAGES], names[-TEST_IMAGES:]
        val = rest[VALIDATION_STEP - 1 :: VALIDATION_STEP]
        return {"train": [name for name in rest if name not in val], "val": val, "test": test}[self.split]

    def read_sample(self, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(folder / "PNGImages" / f"{name}.png", "RGB")
        file = folder / "PedMasks" / f"{name}_mask.png"
        instances = read_image(file, "labels")
        if instances.shape != image.shape[:2] or instances.max() >= VOID:
            raise ValueError(
                f"{file}: expected people numbered below {VOID} in shape {image.shape[:2]}, "
                f"found {instances.shape} with maximum {instances.max()}"
            )
        return image, self._select(instances)

    def stand_in(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return [(name, image, self._select(instances)) for name, image, instances in streets(self.split)]

    def _select(self, instances: np.ndarray) -> np.ndarray:
        return (instances > 0).astype(np.uint8) if self.target == "binary" else instances.astype(np.int32)
