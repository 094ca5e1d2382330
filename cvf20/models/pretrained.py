"""ImageNet weights of the encoders: torchvision's own where the network allows, else a file, else random.

Files are looked for in the data folder's weights/: torchvision's own under its name (e.g. resnet18-f37072fd.pth), or a
state dict with the layers that could be had. CVF20_OFFLINE=1 forbids the download.
"""

import functools
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import requests
import torch
from torch import Tensor
from torchvision.models import MobileNet_V2_Weights, ResNet18_Weights, WeightsEnum

from cvf20.models.encoders import ENCODERS, make_encoder
from cvf20.models.layers import choice
from cvf20.models.weights import read_state
from cvf20.paths import data_dir

PATIENCE = 5  # seconds in which a server has to answer
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
SOURCES = {  # torchvision's weights, and a file with some of the layers
    "resnet18": (ResNet18_Weights.IMAGENET1K_V1, "resnet18_imagenet_partial.pth"),
    "mobilenet_v2": (MobileNet_V2_Weights.IMAGENET1K_V1, "mobilenet_v2_imagenet_features.pth"),
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
        with torch.device("meta"):
            whole = ENCODERS[self.encoder]().state_dict()
        for name, tensor in whole.items():
            first, second, *_ = name.split(".")
            blocks.setdefault(f"{first}.{second}" if second.isdigit() else first, {})[name] = tensor
        rows = []
        for block, tensors in blocks.items():
            found = sum(name in self.state for name in tensors)
            share = "" if found in (0, len(tensors)) else f"{found} of {len(tensors)} tensors: "
            number = sum(t.numel() for name, t in tensors.items() if not name.endswith(BUFFERS))
            rows.append({"layer": block, "parameters": number, "weights": share + (self.source if found else "random")})
        return rows


def load_pretrained(encoder: str = "resnet18") -> Pretrained:
    """ImageNet weights of "resnet18" or "mobilenet_v2"; random ones, and a line that says so, where there are none.

    Raises ValueError where a file in weights/ is no state dict of this encoder.
    """
    theirs, partial = SOURCES[choice("encoder", encoder, tuple(SOURCES))]
    own, folder = theirs.url.rpartition("/")[2], data_dir() / "weights"
    if (folder / own).is_file():
        return _checked(encoder, own, read_state(folder / own))
    try:
        return _checked(encoder, f"torchvision {type(theirs).__name__}.{theirs.name}", _from_torchvision(theirs, own))
    except Exception as error:  # no network, a refusal, a wrong checksum, a broken file in torch's cache
        problem = error
    if (folder / partial).is_file():
        return _checked(encoder, partial, read_state(folder / partial))
    print(f"{encoder}: random weights, since {folder} holds neither {own} nor {partial}, and {problem}")
    return Pretrained(encoder, "random", {})


def _from_torchvision(weights: WeightsEnum, file: str) -> dict[str, Tensor]:
    """The state dict through torchvision's loader, which keeps what it downloads."""
    if not (Path(torch.hub.get_dir()) / "checkpoints" / file).is_file():
        if os.environ.get("CVF20_OFFLINE", "").strip().lower() not in ("", "0", "false", "no"):
            raise ConnectionError("CVF20_OFFLINE forbids the download")
        if problem := _unreachable(weights.url):
            raise ConnectionError(f"{weights.url}: {problem}")
    return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)


@functools.cache  # a process asks once
def _unreachable(url: str) -> str:
    """Why the file cannot be fetched; empty where it can. torch's own download would wait without limit."""
    problems = []

    def ask() -> None:
        try:
            requests.head(url, timeout=PATIENCE, allow_redirects=True).raise_for_status()
            problems.append("")
        except requests.RequestException as error:
            problems.append(type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)  # a name server may let a request wait much longer
    thread.start()
    thread.join(PATIENCE)
    return problems[0] if problems else f"no answer within {PATIENCE} seconds"


def _checked(encoder: str, source: str, state: dict[str, Tensor]) -> Pretrained:
    """Without the classifier, and known to fit."""
    state = {name: value for name, value in state.items() if not name.startswith(("fc.", "classifier."))}
    if not state:
        raise ValueError(f"{source}: found no layer of the encoder {encoder}, wanted some or all")
    try:
        with torch.random.fork_rng(devices=()):
            make_encoder(encoder, state)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return Pretrained(encoder, source, state)
