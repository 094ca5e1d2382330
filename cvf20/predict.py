"""Label pictures of your own photographs: python -m cvf20.predict --weights RUN image.jpg …

RUN is a finished run: its folder, or its name below runs/ (e.g. 07_resnet-seed0; of several the newest). For every
image two files are written: <image>_labels.png, whose pixel values are the classes, in the classes' colours, and
<image>_overlay.png, the photograph with the colours laid over it. An image that is missing or broken is named, the
others go on, and the exit code is then 1.
"""

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from cvf20 import datasets
from cvf20.datasets import SegmentationDataset, YeastColonies, YeastMovie
from cvf20.datasets.yeast_colonies import invert_viridis
from cvf20.datasets.yeast_movie import stretch
from cvf20.models.averaged import AveragedPredictions
from cvf20.models.weights import read_state
from cvf20.paths import runs_dir
from cvf20.training.loop import forward, make_accelerator
from cvf20.training.rebuild import rebuild


@dataclass
class Run:
    """A finished run, ready to predict."""

    model: nn.Module
    data: type[SegmentationDataset]  # its classes and their colours
    mean: tuple[float, ...]  # per channel of the input, on the scale 0–1
    std: tuple[float, ...]
    resized: tuple[int, int] | None = None  # (height, width) of what it was validated on, where images were resized
    padded: tuple[int, int] | None = None  # (height, width) that they had to fit into, where they were padded

    def factor(self, height: int, width: int) -> float:
        """By how much to scale an image: to as many pixels as in validation, or to fit; 1 where neither says so."""
        if self.resized:
            return math.sqrt(math.prod(self.resized) / (height * width))
        return min(self.padded[0] / height, self.padded[1] / width) if self.padded else 1.0


def load_run(run: str | Path, spec: str | None = None) -> Run:
    """The run's network with its best weights, and how it wants its images; `spec`: see `rebuild`.

    Raises FileNotFoundError where there is no finished run, ValueError where it cannot be applied to photographs.
    """
    folder = find_run(run)
    result = json.loads((folder / "result.json").read_text())
    state = read_state(folder / "best.pt")
    by_name = {data.name: data for data in vars(datasets).values() if isinstance(data, type) and hasattr(data, "name")}
    if result["data"] not in by_name:
        raise ValueError(f"{folder}: trained on {result['data']!r}, wanted one of {', '.join(by_name)}")
    network = rebuild(result["recipe"]["model"], state, spec)
    return Run(network, by_name[result["data"]], **_validation_input(result["recipe"]["valid_transforms"], folder))


def find_run(run: str | Path) -> Path:
    """The folder of a finished run, from itself or from the beginning of its name below runs/."""
    below = runs_dir().glob(f"{run}-*") if Path(run).name == str(run) else []
    candidates = [Path(run), *below]
    finished = [folder for folder in candidates if all((folder / f).is_file() for f in ("result.json", "best.pt"))]
    if not finished:
        raise FileNotFoundError(
            f"--weights {run}: no folder of a finished run (result.json, best.pt), nor is {run}-* in {runs_dir()}"
        )
    return max(finished, key=lambda folder: (folder / "result.json").stat().st_mtime)


def _validation_input(described: dict, folder: Path) -> dict:
    """What `Run` wants to know, from what a run wrote down of its validation transforms."""
    steps = dict(_steps(described))
    known = ("ToDtype", "Normalize", "ResizeImage", "PadTo")
    if "Normalize" not in steps or not steps.keys() <= set(known):
        raise ValueError(
            f"{folder}: validated with {', '.join(steps)}, wanted Normalize and nothing but {', '.join(known)}"
        )
    return {
        "mean": tuple(steps["Normalize"]["mean"]),
        "std": tuple(steps["Normalize"]["std"]),
        "resized": steps.get("ResizeImage", {}).get("size"),
        "padded": steps.get("PadTo", {}).get("size"),
    }


def _steps(described: dict):
    for name, settings in described.items():
        if name == "Compose":
            for step in settings["transforms"]:
                yield from _steps(step)
        else:
            yield name, settings


def read_photograph(path: Path, run: Run) -> Image.Image:
    """The picture the right way up, "RGB" or "L", decoded as the run's data set decodes its own.

    Pictures of more than 8 bits are stretched to 0 … 255. ValueError names a file that does not decode.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # PIL's for what does not decode
        raise ValueError(f"{path}: {error.strerror if isinstance(error, FileNotFoundError) else error}") from error
    if run.data is YeastColonies:
        with contextlib.suppress(ValueError):  # not in viridis' colours: the picture is grey already
            return Image.fromarray(invert_viridis(path))
    deep = upright.mode == "F" or upright.mode.startswith("I")
    if deep or run.data is YeastMovie:
        upright = Image.fromarray(stretch(np.asarray(upright if deep else upright.convert("L"))))
    return upright.convert("RGB" if len(run.mean) == 3 else "L")


@torch.inference_mode()
def predict_labels(run: Run, image: Image.Image, precision: str = "auto") -> Tensor:
    """(H, W) uint8 classes of a photograph of any size.

    The network sees it in its own aspect at about as many pixels as it was validated on; the logits of image and
    mirror image are averaged, and interpolated to the photograph's size.
    """
    accelerator = make_accelerator(precision)
    size = (image.height, image.width)
    factor = run.factor(*size)
    seen = image.resize([max(1, round(factor * length)) for length in image.size], Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(seen)).float().reshape(seen.height, seen.width, -1).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (run.mean, run.std))
    model = AveragedPredictions(run.model).to(accelerator.device, memory_format=torch.channels_last).eval()
    logits = forward(model, ((pixels - mean) / std)[None].to(accelerator.device), accelerator).cpu()
    return upsampled_argmax(logits, size)


def upsampled_argmax(logits: Tensor, size: Sequence[int]) -> Tensor:
    """(H, W) uint8 labels of logits (1, K, h, w) interpolated to (H, W), one class at a time: a photograph is large."""
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)  # sigmoid(x) > ½ where x > 0
    best, labels = torch.full(tuple(size), -torch.inf), torch.zeros(tuple(size), dtype=torch.uint8)
    for k, plane in enumerate(logits.split(1, dim=1)):
        score = F.interpolate(plane, size=tuple(size), mode="bilinear", align_corners=False)[0, 0]
        better = score > best
        best[better], labels[better] = score[better], k
    return labels


def write_pictures(labels: Tensor, image: Image.Image, palette: np.ndarray, stem: Path) -> list[Path]:
    """<stem>_labels.png (palette picture, values are classes) and <stem>_overlay.png; returns both paths."""
    picture = Image.fromarray(labels.numpy())
    picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    overlay = Image.blend(image.convert("RGB"), picture.convert("RGB"), alpha=0.5)
    paths = [stem.with_name(f"{stem.name}_labels.png"), stem.with_name(f"{stem.name}_overlay.png")]
    for made, path in zip((picture, overlay), paths, strict=True):
        made.save(path)
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cvf20.predict", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("images", nargs="+", type=Path, metavar="image.jpg")
    parser.add_argument("--weights", required=True, metavar="RUN", help="folder or name of a finished run")
    parser.add_argument("--model", metavar="CALL", help='how the network was built, e.g. "UNet(4, 3, 9, 16)"')
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions/")
    options = parser.parse_args(arguments)
    try:
        run = load_run(options.weights, options.model)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    used, failures = set(), 0
    for path in options.images:
        stem, number = path.stem, 1
        while stem in used:  # a/scene.jpg and b/scene.jpg
            number += 1
            stem = f"{path.stem}_{number}"
        try:
            image = read_photograph(path, run)
            labels = predict_labels(run, image)
            written = write_pictures(labels, image, run.data.palette, options.out / stem)
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: e.g. too small for the network
            failures += 1
            print(error if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
            continue
        used.add(stem)
        print(f"{path}: {', '.join(map(str, written))}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
