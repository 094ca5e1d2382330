"""Label pictures of your own photographs: python -m cvf20.predict image.jpg …

The best network of the scenes in weights/ does it, or that of --weights RUN: a finished run's folder, or its name below
runs/ (of several the newest) or in weights/. For every image two files are written: <image>_labels.png, whose pixel
values are the classes, in their colours, and <image>_overlay.png, the photograph with the colours laid over it.
An image that cannot be labelled is named, the others go on, and the exit code is then 1.
"""

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
from cvf20.models import WatershedNet, build
from cvf20.models.weights import read_state
from cvf20.paths import project_dir, runs_dir
from cvf20.training.loop import forward, make_accelerator, probabilities

KNOWN = {"ToImage", "ToDtype", "Normalize", "ResizeImage", "ScaleInto", "PadTo"}  # what validation may do to an image
OWN_DATA = (255 * np.array(matplotlib.colormaps["tab20"].colors)).astype(np.uint8)  # colours of an own data set


@dataclass
class Run:
    """A finished run, ready to predict; sizes are (height, width)."""

    model: nn.Module
    data: str  # name of the data set that it learned from
    palette: np.ndarray  # (K, 3) uint8, colours of the classes
    mean: tuple[float, ...]  # per channel of the input, on the scale 0–1
    std: tuple[float, ...]
    resized: tuple[int, int] | None = None  # of what it was validated on, where images were resized
    padded: tuple[int, int] | None = None  # that they had to fit into, where they were padded


def load_run(run: str | Path | None = None) -> Run:
    """A finished run's network with its best weights, and how it wants its images.

    run: as --weights; None: the best network of the scenes in weights/
    Raises FileNotFoundError where there is no such run, ValueError where it cannot be applied to photographs.
    """
    result, weights = find_run(run)
    if not result.get("network"):
        raise ValueError(f"{weights}: the result does not say how its network is built (lambdas, local classes?)")
    network = build(result["network"])
    network.load_state_dict(read_state(weights, result.get("key")))
    steps = _steps(result["recipe"].get("valid_transforms"))
    if "Normalize" not in steps or not steps.keys() <= KNOWN:
        raise ValueError(f"{weights}: validated with {[*steps]}, wanted Normalize and none but {sorted(KNOWN)}")
    sets = {getattr(value, "name", None): value for value in vars(datasets).values() if isinstance(value, type)}
    palette = getattr(sets.get(result["data"]), "palette", OWN_DATA)
    sizes = (steps.get(name, {}).get("size") for name in ("ResizeImage", "PadTo"))
    return Run(network.eval(), result["data"], palette, steps["Normalize"]["mean"], steps["Normalize"]["std"], *sizes)


def _steps(described: dict | None) -> dict[str, dict]:
    """The transforms of a run's validation and their settings, by name."""
    steps = dict(described or {})
    for inner in steps.pop("Compose", {}).get("transforms", ()):
        steps |= _steps(inner)
    return steps


def find_run(run: str | Path | None = None) -> tuple[dict, Path]:
    """Result and weights of a finished run: its folder, or its name's beginning in runs/ (the newest) or weights/."""
    weights, name, files = project_dir() / "weights", Path(run or "").name.removesuffix(".pt"), []
    if run is not None:
        kept = [*runs_dir().glob(f"{name}/best.pt"), *runs_dir().glob(f"{name}-*/best.pt")]
        kept.sort(key=lambda file: file.stat().st_mtime, reverse=True)
        files = [(file.with_name("result.json"), file) for file in (Path(run) / "best.pt", *kept)]
    files += [(project_dir() / f"results/{file.stem}.json", file) for file in sorted(weights.glob(f"{name}*.pt"))]
    pairs = [pair for pair in files if pair[0].is_file() and pair[1].is_file()]
    found = [(json.loads(result.read_text("utf-8")), file) for result, file in pairs]
    if run is None:
        found = [pair for pair in found if pair[0]["data"] == "stanford_background" and not pair[0]["quick"]]
        found.sort(key=lambda pair: -pair[0]["metrics"]["val"].get("mAP", 0))
    if not found:
        what = f"--weights {run}: no finished run in {runs_dir()} or" if run else "no network of the scenes in"
        raise FileNotFoundError(f"{what} {weights}: train one (./run_all.sh 07), or say --weights RUN")
    return found[0]


def read_photograph(path: Path, run: Run) -> Image.Image:
    """The picture upright, "RGB" or "L", decoded as the run's data set does; more than 8 bits are stretched to 0 … 255."""
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
    accelerator, size, factor = make_accelerator(precision), (image.height, image.width), 1.0
    if run.resized:  # to as many pixels
        factor = math.sqrt(math.prod(run.resized) / math.prod(size))
    elif run.padded:  # to fit
        factor = min(run.padded[0] / size[0], run.padded[1] / size[1])
    seen = [max(1, round(factor * length)) for length in image.size]
    pixels = v2.functional.to_dtype(v2.functional.to_image(image.resize(seen, Image.Resampling.BILINEAR)), scale=True)
    normalised = v2.functional.normalize(pixels, list(run.mean), list(run.std))[None].to(accelerator.device)
    model = run.model.to(accelerator.device, memory_format=torch.channels_last).eval()
    outputs = forward(model, normalised, accelerator, flips=True)
    channels = outputs[:, :1] if isinstance(model, WatershedNet) else outputs  # its foreground
    at_size = partial(F.interpolate, size=size, mode="bilinear", align_corners=False)
    best = at_size(channels[:, :1])
    if channels.shape[1] == 1:
        return (probabilities(best, model)[0, 0] > 0.5).to(torch.uint8).cpu()
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for k in range(1, channels.shape[1]):  # one after another: all at once, 12 million pixels would take a gigabyte
        scores = at_size(channels[:, k : k + 1])
        labels.masked_fill_(scores > best, k)
        best = torch.maximum(best, scores, out=best)
    return labels[0, 0].cpu()


def write_pictures(labels: Tensor, image: Image.Image, palette: np.ndarray, stem: Path) -> None:
    """<stem>_labels.png (palette picture, values are classes) and <stem>_overlay.png."""
    picture = Image.fromarray(labels.numpy())
    picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    overlay = Image.blend(image.convert("RGB"), picture.convert("RGB"), alpha=0.5)
    overlay.save(f"{stem}_overlay.png")  # the pair is whole once the labels are there
    picture.save(f"{stem}_labels.png")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cvf20.predict", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("images", nargs="+", type=Path, metavar="image.jpg")
    parser.add_argument("--weights", metavar="RUN", help="folder or name of a run; default: best in weights/")
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions/")
    options = parser.parse_args(arguments)
    try:
        run = load_run(options.weights)
        options.out.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:
        parser.error(str(error))
    stems, failures = [path.stem for path in options.images], 0
    for n, path in enumerate(options.images):
        stem = path.stem if path.stem not in stems[:n] else f"{path.stem}_{n + 1}"  # a/x.jpg and b/x.jpg
        try:
            image = read_photograph(path, run)
            write_pictures(predict_labels(run, image), image, run.palette, options.out / stem)
            print(f"{path}: {options.out / stem}_labels.png, {options.out / stem}_overlay.png")
        except Exception as error:  # whatever a broken file or a network too small for it leads to: the others go on
            failures += 1
            print(error if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
