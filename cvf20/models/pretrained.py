"""ImageNet weights of the encoders: torchvision's own, else a file with the layers that could be had, else random.

Both lie in the data folder's weights/, into which torchvision's are downloaded; CVF20_OFFLINE=1 forbids that.
"""

import socket
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models import MobileNet_V2_Weights, ResNet18_Weights

from cvf20.models.encoders import ENCODERS
from cvf20.models.layers import choice
from cvf20.models.weights import read_state
from cvf20.paths import data_dir, flag

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
        with torch.device("meta"):  # names and sizes alone
            parameters = dict(ENCODERS[self.encoder]().named_parameters())
        rows = {}
        for name, parameter in parameters.items():
            first, second, *_ = name.split(".")
            block = f"{first}.{second}" if second.isdigit() else first
            source = self.source if name in self.state else "random"
            row = rows.setdefault(block, {"layer": block, "parameters": 0, "weights": source})
            row["parameters"] += parameter.numel()
        return list(rows.values())


def load_pretrained(encoder: str = "resnet18") -> Pretrained:
    """ImageNet weights of "resnet18" or "mobilenet_v2"; random ones, and a line that says so, where there are none."""
    theirs, partial = SOURCES[choice("encoder", encoder, SOURCES)]
    folder, own = data_dir() / "weights", theirs.url.rpartition("/")[2]
    socket.setdefaulttimeout(5)  # seconds; torch would wait for a server without limit
    try:
        if flag("CVF20_OFFLINE") and not (folder / own).is_file():
            raise ConnectionError("CVF20_OFFLINE forbids the download")
        state = theirs.get_state_dict(model_dir=str(folder), progress=False, check_hash=True, weights_only=True)
        source = f"torchvision {theirs}"
    except Exception as problem:  # no network, a refusal, a wrong checksum, a broken file
        if not (folder / partial).is_file():
            print(f"{encoder}: random weights, since {folder} holds neither {own} nor {partial}, and {problem}")
            return Pretrained(encoder, "random", {})
        source, state = partial, read_state(folder / partial)
    finally:
        socket.setdefaulttimeout(None)
    state = {name: value for name, value in state.items() if not name.startswith(("fc.", "classifier."))}
    return Pretrained(encoder, source, state)
