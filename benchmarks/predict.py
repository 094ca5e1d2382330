"""A photograph of 4000 × 3000 pixels through cvf20.predict beside one forward pass of everything at once.

The network sees a photograph at about the size that it was trained on, and its logits are interpolated. So labels are
compared at that scale: the plain way interpolates all classes to 12 million pixels, and takes softmax and argmax of
them. Memory is compared with that, and with the network on all 12 million pixels, whose labels are others: a network
that was trained on small pictures does not know things of that size.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.common import Row, child, peak
from cvf20.datasets import StanfordBackground
from cvf20.predict import Run, load_run, predict_labels
from cvf20.training.devices import make_accelerator, to_device
from cvf20.training.outputs import forward

SIZE = (4000, 3000)  # width, height
NETWORK = "scenes-seed0"


def photograph() -> Image.Image:
    """A scene of the validation split, enlarged."""
    image = StanfordBackground(split="val")[0][0]
    return v2.functional.to_pil_image(image).resize(SIZE, Image.Resampling.BICUBIC)


def whole(run: Run, image: Image.Image, pixels: int | None) -> Tensor:
    """(H, W) labels in one piece: the network sees the photograph at so many pixels; None: at all it has, once."""
    factor = (pixels / (image.width * image.height)) ** 0.5 if pixels else 1.0
    seen = image.resize([round(factor * side) for side in image.size], Image.Resampling.BILINEAR)
    values = v2.functional.to_dtype(v2.functional.to_image(seen), scale=True)
    accelerator = make_accelerator()
    network, values = to_device(run.model, accelerator), v2.functional.normalize(values, [*run.mean], [*run.std])[None]
    with torch.inference_mode():
        outputs = forward(network, values, accelerator, (image.height, image.width), flips=pixels is not None)
        return outputs.softmax(1).argmax(1)[0]


WAYS: dict[str, Callable[[Run, Image.Image], Tensor]] = {
    "ours": predict_labels,
    "same scale": lambda run, image: whole(run, image, int(np.prod(run.resized))),
    "all pixels": lambda run, image: whole(run, image, None),
}


def measured(way: str, folder: str) -> dict:
    """MB and seconds of one way in a process of its own, which leaves its labels in the folder."""
    return json.loads(child("benchmarks.predict", way, folder))


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = {way: measured(way, folder) for way in WAYS}
        labels = {way: np.load(Path(folder, f"{way}.npy")) for way in WAYS}
    equal = {way: float((labels["ours"] == labels[way]).mean()) for way in WAYS}
    title = f"photograph of {SIZE[0]}×{SIZE[1]} through `predict`"
    for way, against in (("all pixels", "the network on all pixels at once"), ("same scale", "the same scale at once")):
        sides = {"ours": found["ours"]["MB"], "theirs": found[way]["MB"], "unit": "MB"}
        more = {"seconds": {side: found[side]["seconds"] for side in ("ours", way)}, "equal_labels": equal[way]}
        yield Row(f"{title}: memory", against, sides["ours"] / sides["theirs"], "<= 0.25", more=more, **sides)
    yield Row(f"{title}: share of equal labels", "the same scale at once", equal["same scale"], ">= 0.999")


def main(way: str, folder: str) -> None:
    image, run, kept = photograph(), load_run(NETWORK), []
    WAYS[way](run, image.resize((40, 30)))
    started = time.perf_counter()
    grown = peak(lambda: kept.append(WAYS[way](run, image)))
    elapsed = time.perf_counter() - started
    np.save(Path(folder, f"{way}.npy"), kept[0].numpy().astype(np.uint8))
    print(json.dumps({"MB": grown, "seconds": elapsed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
