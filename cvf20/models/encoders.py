"""Encoders trained on ImageNet's classification, as sources of feature maps at the strides 2, 4, 8, 16 and 32.

Their parameters are named as torchvision's, so that its state dicts fit. Weights are torchvision's own, else a file with
some of the layers, else random; both files lie in the data folder's weights/. CVF20_OFFLINE=1 forbids the download.
"""

import socket
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, ResNet18_Weights, mobilenet_v2, resnet18
from torchvision.models._utils import IntermediateLayerGetter

from cvf20.models.layers import choice
from cvf20.models.weights import read_state
from cvf20.paths import data_dir, flag


class Stage(NamedTuple):  # a feature map: the layer that makes it, its stride against the image
    name: str
    stride: int
    channels: int


class ResnetEncoder(IntermediateLayerGetter):
    """ResNet-18 (He et al. 2016) without its head: images (N, 3, H, W) → its stages' maps by name.

    A map is (N, channels, ⌈H/stride⌉, ⌈W/stride⌉). Untrained residual blocks are the identity (Goyal et al. 2017).
    """

    source, partial = ResNet18_Weights.IMAGENET1K_V1, "resnet18_imagenet_partial.pth"
    stages = (Stage("relu", 2, 64), *(Stage(f"layer{i}", 2 * 2**i, 32 * 2**i) for i in range(1, 5)))

    def __init__(self, zero_init_residual: bool = True, **options):
        network = resnet18(zero_init_residual=zero_init_residual, **options)
        super().__init__(network, {stage.name: stage.name for stage in self.stages})


class MobilenetEncoder(nn.Module):
    """The same of the `features` of MobileNetV2 (Sandler et al. 2018), 2,223,872 parameters."""

    source, partial = MobileNet_V2_Weights.IMAGENET1K_V1, "mobilenet_v2_imagenet_features.pth"
    stages = tuple(map(Stage, ("1", "3", "6", "13", "18"), (2, 4, 8, 16, 32), (16, 24, 32, 96, 1280)))

    def __init__(self):
        super().__init__()
        names = {stage.name: stage.name for stage in self.stages}
        self.features = IntermediateLayerGetter(mobilenet_v2().features, names)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.features(x)


ENCODERS = {"resnet18": ResnetEncoder, "mobilenet_v2": MobilenetEncoder}


def make_encoder(name: str, weights: Mapping[str, Tensor] | None = None, **options) -> nn.Module:
    """The encoder "resnet18" (options: torchvision's) or "mobilenet_v2"; weights: its state dict, or a part of that."""
    encoder = ENCODERS[choice("encoder", name, ENCODERS)](**options)
    encoder.load_state_dict({**encoder.state_dict(), **(weights or {})})
    return encoder


class Pretrained(NamedTuple):
    source: str  # as a table says it; "random" where nothing was found
    state: dict[str, Tensor]  # torchvision's names, without the classifier; empty where nothing was found


def load_pretrained(encoder: str = "resnet18") -> Pretrained:
    """ImageNet weights of "resnet18" or "mobilenet_v2"; random ones, and a line that says so, where there are none."""
    kind, folder = ENCODERS[choice("encoder", encoder, ENCODERS)], data_dir() / "weights"
    own, partial = kind.source.url.rpartition("/")[2], kind.partial
    socket.setdefaulttimeout(5)  # seconds; torch would wait for a server without limit
    try:
        if flag("CVF20_OFFLINE") and not (folder / own).is_file():
            raise ConnectionError("CVF20_OFFLINE forbids the download")
        state = kind.source.get_state_dict(model_dir=str(folder), progress=False, check_hash=True, weights_only=True)
        source = f"torchvision {kind.source}"
    except Exception as problem:  # no network, a refusal, a wrong checksum, a broken file
        if not (folder / partial).is_file():
            print(f"{encoder}: random weights, since {folder} holds neither {own} nor {partial}, and {problem}")
            return Pretrained("random", {})
        source, state = partial, read_state(folder / partial)
    finally:
        socket.setdefaulttimeout(None)
    state = {name: value for name, value in state.items() if not name.startswith(("fc.", "classifier."))}
    return Pretrained(source, state)
