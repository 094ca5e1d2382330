"""Label pictures of your own photographs: python -m cvf20.predict image.jpg …

The best network of the scenes in weights/ does it, or that of --weights RUN: a finished run's folder, its name below
runs/ (of several the newest) or in weights/, or a file of weights. For every image two files are written:
<image>_labels.png, whose pixel values are the classes, in their colours, and <image>_overlay.png, the photograph with
the colours laid over it. An image that cannot be labelled is named, the others go on, and the exit code is then 1.
"""

import argparse
import contextlib
import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from cvf20 import datasets
from cvf20.datasets.pictures import read_image, stretch
from cvf20.datasets.yeast_colonies import invert_viridis
from cvf20.models import AveragedPredictions, WatershedNet, build
from cvf20.models.weights import own_names, read_state
from cvf20.paths import project_dir, runs_dir
from cvf20.training.loop import forward, make_accelerator

KNOWN = {"ToDtype", "Normalize", "ResizeImage", "ScaleInto", "PadTo"}  # what validation may do to an image
OWN_DATA = (255 * np.array(matplotlib.colormaps["tab20"].colors)).astype(np.uint8)  # colours of an own data set


@dataclass
class Run:
    """A finished run, ready to predict."""

    model: nn.Module
    data: str  # name of the data set that it learned from
    palette: np.ndarray  # (K, 3) uint8, colours of the classes
    mean: tuple[float, ...]  # per channel of the input, on the scale 0–1
    std: tuple[float, ...]
    resized: tuple[int, int] | None = None  # (height, width) of what it was validated on, where images were resized
    padded: tuple[int, int] | None = None  # (height, width) that they had to fit into, where they were padded

    def factor(self, height: int, width: int) -> float:
        """By how much to scale an image: to as many pixels as in validation, or to fit; 1 where neither says so."""
        if self.resized:
            return math.sqrt(math.prod(self.resized) / (height * width))
        return min(self.padded[0] / height, self.padded[1] / width) if self.padded else 1.0


def load_run(run: str | Path | None = None, code: str | Path | None = None) -> Run:
    """A finished run's network with its best weights, and how it wants its images.

    run:  as --weights; None: the best network of the scenes in weights/
    code: Python file that defines the network's class, where it cannot be imported
    Raises FileNotFoundError where there is no such run, ValueError where it cannot be applied to photographs.
    """
    result, weights = find_run(run)
    if not result.get("network"):
        raise ValueError(f"{weights}: the result does not say how its network is built (lambdas, local classes?)")
    network = build(result["network"], code)
    try:
        network.load_state_dict(own_names(network, read_state(weights, result.get("key"))))
    except RuntimeError as error:
        raise ValueError(f"{weights} does not fit {result['network']}: {error}") from error
    steps = dict(_steps(result["recipe"].get("valid_transforms")))
    if "Normalize" not in steps or not steps.keys() <= KNOWN:
        found, known = ", ".join(steps) or "nothing", ", ".join(sorted(KNOWN))
        raise ValueError(f"{weights}: validated with {found}, wanted Normalize and none but {known}")
    sets = {getattr(value, "name", None): value for value in vars(datasets).values() if isinstance(value, type)}
    palette = getattr(sets.get(result["data"]), "palette", OWN_DATA)
    sizes = (steps.get(name, {}).get("size") for name in ("ResizeImage", "PadTo"))
    return Run(network.eval(), result["data"], palette, steps["Normalize"]["mean"], steps["Normalize"]["std"], *sizes)


def _steps(described) -> Iterator[tuple[str, dict]]:
    """The transforms of a run's validation, one after the other, with their settings."""
    for name, settings in (described or {}).items():
        inner = settings["transforms"] if name == "Compose" else ()
        yield from (step for each in inner for step in _steps(each)) if inner else [(name, settings)]


def find_run(run: str | Path | None = None) -> tuple[dict, Path]:
    """Result and weights of a finished run, from a folder, a file, or a name's beginning (in runs/, weights/)."""
    results, weights = project_dir() / "results", project_dir() / "weights"
    if run is None:
        found = [find_run(file) for file in weights.glob("*.pt") if (results / f"{file.stem}.json").is_file()]
        scenes = [pair for pair in found if pair[0]["data"] == "stanford_background" and not pair[0]["quick"]]
        if not scenes:
            known = "train one (./run_all.sh 07), or say --weights RUN"
            raise FileNotFoundError(f"no network of the scenes in {weights}: {known}")
        return max(scenes, key=lambda pair: pair[0]["metrics"]["val"].get("mAP", 0))
    name = Path(run).name
    newest_first = sorted(runs_dir().glob(f"{name}-*/result.json"), key=lambda file: -file.stat().st_mtime)
    folders = [Path(run), runs_dir() / name, *(file.parent for file in newest_first)]
    pairs = [(folder / "result.json", folder / "best.pt") for folder in folders]
    for file in (Path(run), weights / f"{name}.pt", *sorted(weights.glob(f"{name}-*.pt"))):
        pairs += [(file.with_suffix(".json"), file), (results / f"{file.stem}.json", file)]
    for result, file in pairs:
        if result.is_file() and file.is_file():
            return json.loads(result.read_text("utf-8")), file
    places = f"{run}, {runs_dir()}/{name}-* (result.json, best.pt) or {weights}/{name}-*.pt (with its result)"
    raise FileNotFoundError(f"--weights {run}: there is no finished run {places}")


def read_photograph(path: Path, run: Run) -> Image.Image:
    """The picture the right way up, "RGB" or "L", decoded as the run's data set decodes its own.

    Pictures of more than 8 bits are stretched to 0 … 255. OSError or ValueError name a file that does not decode.
    """
    if run.data == "yeast_colonies":
        with contextlib.suppress(ValueError):  # not in viridis' colours: the picture is grey already
            return Image.fromarray(invert_viridis(path))
    pixels = read_image(path)
    if run.data == "yeast_movie" or pixels.dtype != np.uint8:
        pixels = stretch(pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L")))
    return Image.fromarray(pixels).convert("RGB" if len(run.mean) == 3 else "L")


@torch.inference_mode()
def predict_labels(run: Run, image: Image.Image, precision: str = "auto") -> Tensor:
    """(H, W) uint8 classes of a photograph of any size.

    The network sees it in its own aspect at about as many pixels as it was validated on; the logits of image and
    mirror image are averaged, and interpolated to the photograph's size.
    """
    accelerator, size = make_accelerator(precision), (image.height, image.width)
    seen = [max(1, round(run.factor(*size) * length)) for length in image.size]
    seen = image.resize(seen, Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(seen)).float().reshape(seen.height, seen.width, -1).permute(2, 0, 1) / 255
    normalised = v2.functional.normalize(pixels, list(run.mean), list(run.std))[None].to(accelerator.device)
    model = AveragedPredictions(run.model).to(accelerator.device, memory_format=torch.channels_last).eval()
    logits = forward(model, normalised, accelerator).cpu()
    if isinstance(run.model, WatershedNet):
        logits = logits[:, :1]  # the foreground
    if logits.ndim != 4:
        raise ValueError(f"the network gives {tuple(logits.shape)}, wanted logits (1, K, H, W)")
    *_, last = run.model.modules()
    return upsampled_argmax(logits - 0.5 if isinstance(last, nn.Sigmoid) else logits, size)


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
    """<stem>_labels.png (palette picture, values are classes) and <stem>_overlay.png, both or none; their paths."""
    picture = Image.fromarray(labels.numpy())
    picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    overlay = Image.blend(image.convert("RGB"), picture.convert("RGB"), alpha=0.5)
    paths = [stem.with_name(f"{stem.name}_{kind}.png") for kind in ("labels", "overlay")]
    overlay.save(paths[1])  # first, so that a failure leaves no half pair
    picture.save(paths[0])
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cvf20.predict", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("images", nargs="+", type=Path, metavar="image.jpg")
    parser.add_argument("--weights", metavar="RUN", help="folder, name or file of a run; default: best in weights/")
    parser.add_argument("--code", type=Path, metavar="mine.py", help="file that defines the network's class")
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions/")
    options = parser.parse_args(arguments)
    try:
        run = load_run(options.weights, options.code)
        options.out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    used, failures = set(), 0
    for path in options.images:
        numbered = (f"{path.stem}_{n}" for n in itertools.count(2))
        stem = next(stem for stem in itertools.chain([path.stem], numbered) if stem not in used)  # a/x.jpg and b/x.jpg
        try:
            image = read_photograph(path, run)
            written = write_pictures(predict_labels(run, image), image, run.palette, options.out / stem)
            used.add(stem)
            print(f"{path}: {', '.join(map(str, written))}")
        except Exception as error:  # whatever a broken file or a network too small for it leads to: the others go on
            failures += 1
            print(error if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
