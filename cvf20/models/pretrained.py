"""ImageNet weights of the encoders: torchvision's own where the network allows, else a file, else random.

Files are looked for in the data folder's weights/: torchvision's own under its name (e.g. resnet18-f37072fd.pth), or a
state dict with the layers that could be had. CVF20_OFFLINE=1 forbids the download.
"""

import functools
import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import requests
import torch
from torch import Tensor
from torchvision.models import MobileNet_V2_Weights, ResNet18_Weights, WeightsEnum

from cvf20.datasets.download import TIMEOUT, flag
from cvf20.models.encoders import Encoder, check_weights, make_encoder
from cvf20.models.layers import choice
from cvf20.models.weights import read_state
from cvf20.paths import data_dir


@dataclass(frozen=True)
class _Source:
    torchvision: WeightsEnum
    partial: str  # file with some of the layers
    head: str  # what the names of the classifier's parameters start with


SOURCES = {
    "resnet18": _Source(ResNet18_Weights.IMAGENET1K_V1, "resnet18_imagenet_partial.pth", "fc."),
    "mobilenet_v2": _Source(MobileNet_V2_Weights.IMAGENET1K_V1, "mobilenet_v2_imagenet_features.pth", "classifier."),
}


@dataclass(frozen=True)
class Pretrained:
    """An encoder's weights: what was found, and where."""

    encoder: str
    source: str  # as a table says it; "random" where nothing was found
    state: dict[str, Tensor]  # torchvision's names, without the classifier; empty where nothing was found

    def table(self) -> list[dict]:
        """One row per block of the encoder: its parameters, and where their values come from."""
        blocks: dict[str, dict[str, Tensor]] = {}
        for name, tensor in _skeleton(self.encoder).state_dict().items():
            blocks.setdefault(_block(name), {})[name] = tensor
        rows = []
        for block, tensors in blocks.items():
            found = sum(name in self.state for name in tensors)
            share = "" if found in (0, len(tensors)) else f"{found} of {len(tensors)} tensors: "
            weights = sum(t.numel() for name, t in tensors.items() if not name.endswith(BUFFERS))
            rows.append(
                {"layer": block, "parameters": weights, "weights": share + (self.source if found else "random")}
            )
        return rows


BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def _skeleton(encoder: str) -> Encoder:
    """The encoder's names and shapes, without drawing a weight."""
    with torch.device("meta"):
        return make_encoder(encoder)


def _block(name: str) -> str:
    """ "layer1.0.conv1.weight" → "layer1.0", "conv1.weight" → "conv1"."""
    first, second, *_ = name.split(".")
    return f"{first}.{second}" if second.isdigit() else first


def load_pretrained(encoder: str = "resnet18") -> Pretrained:
    """ImageNet weights of "resnet18" or "mobilenet_v2"; a warning where there are none and random ones take their place.

    Raises ValueError where a file in weights/ is no state dict of this encoder.
    """
    source = SOURCES[choice("encoder", encoder, tuple(SOURCES))]
    label = f"torchvision {type(source.torchvision).__name__}.{source.torchvision.name}"
    state, problem = _from_torchvision(source.torchvision)
    if state is not None:
        return _checked(encoder, label, state)
    folder = data_dir() / "weights"
    for name in (_file_name(source.torchvision), source.partial):
        if (file := folder / name).is_file():
            return _checked(encoder, label if _is_torchvisions(file) else name, read_state(file), file)
    warnings.warn(
        f"{encoder}: no ImageNet weights: {problem}, and {folder} holds neither {_file_name(source.torchvision)} nor "
        f"{source.partial}. The encoder starts from RANDOM weights.",
        stacklevel=2,
    )
    return Pretrained(encoder, "random", {})


def _file_name(weights: WeightsEnum) -> str:
    return weights.url.rpartition("/")[2]


def _from_torchvision(weights: WeightsEnum) -> tuple[dict[str, Tensor] | None, str]:
    """The state dict through torchvision's loader, or None and why not."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / _file_name(weights)
    cached = file.is_file()
    if cached and not _is_torchvisions(file):  # get_state_dict checks what it downloads, not what is there
        return None, f"{file} is not what torchvision published"
    if not cached and flag("CVF20_OFFLINE"):
        return None, "no download was attempted, because CVF20_OFFLINE is set"
    if not cached and (problem := _unreachable(weights.url)):
        return None, f"{weights.url}: {problem}"
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True), ""
    except (OSError, RuntimeError) as error:  # a broken connection, a wrong checksum
        return None, f"{weights.url}: {error}"


def _is_torchvisions(file: Path) -> bool:
    """Whether the content's sha256 begins as the name says: resnet18-f37072fd.pth."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8] == file.stem.rpartition("-")[2]


@functools.cache  # a process asks once
def _unreachable(url: str) -> str:
    """Why the file cannot be fetched; empty where it can. torch's own download would wait without limit."""
    try:
        requests.head(url, timeout=TIMEOUT, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        return type(error).__name__
    return ""


def _checked(encoder: str, source: str, state: dict[str, Tensor], file: Path | None = None) -> Pretrained:
    """Without the classifier, and known to fit."""
    state = {name: value for name, value in state.items() if not name.startswith(SOURCES[encoder].head)}
    if not state:
        raise ValueError(f"{file or source}: found no layer of the encoder {encoder}, wanted some or all")
    try:
        check_weights(_skeleton(encoder), state)
    except ValueError as error:
        raise ValueError(f"{file or source}: {error}") from error
    return Pretrained(encoder, source, state)
