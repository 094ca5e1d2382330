"""Penn-Fudan pedestrians: 170 street photographs with 423 people, each with its own mask (Wang et al., ACCV 2007)."""

from pathlib import Path

import numpy as np

from cvf20.datasets.base import InstanceDataset
from cvf20.datasets.download import RAW, registry
from cvf20.datasets.stand_ins import drawn, street


class PennFudan(InstanceDataset):
    """100 / 20 / 50 photographs (train / val / test) of about 380 × 480 pixels, each of its own size: transform to one.

    split: in sorted order, which puts Fudan's before Penn's, the last 50 are "test" and every sixth of the others "val"
    target: see InstanceDataset; a lamp post cuts some people in parts
    """

    name = "penn_fudan"
    label = "Penn-Fudan pedestrians"
    classes = ("background", "person")
    palette = np.array([(0, 0, 0), (250, 190, 40)], dtype=np.uint8)
    parted = False
    source = RAW + "gmguarino/PennFudan/4d34ade817620786f55ef379ac51534d4d6ea218"

    def sample_names(self) -> list[str]:
        names = sorted(Path(file).stem for file in registry(self.name) if file.startswith("PNGImages/"))
        rest, test = names[:-50], names[-50:]
        train = [name for i, name in enumerate(rest) if i % 6 != 5]
        return {"train": train, "val": rest[5::6], "test": test}[self.split]

    def files(self, name: str) -> tuple[str, str]:
        return f"PNGImages/{name}.png", f"PedMasks/{name}_mask.png"

    def stand_in(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return [(name, image, self.as_target(people)) for name, image, people in drawn(street, self.split)]
