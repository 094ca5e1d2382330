"""Encoders trained on ImageNet's classification, as sources of feature maps at the strides 2, 4, 8, 16 and 32.

Their parameters are named as torchvision's, so that its state dicts fit. `cvf20.models.pretrained` finds the weights.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18

from cvf20.models.layers import choice


class Stage(NamedTuple):
    name: str  # of the module that makes the feature map
    stride: int  # against the image
    channels: int


class Encoder(nn.Module):
    """Layers that run one after the other; what the `stages` among them give is kept."""

    stages: tuple[Stage, ...]

    def named_layers(self) -> Iterable[tuple[str, nn.Module]]:
        return self.named_children()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (N, 3, H, W) → one map (N, C, ⌈H/stride⌉, ⌈W/stride⌉) per stage, by its name."""
        maps = {}
        for name, layer in self.named_layers():
            maps[name] = x = layer(x)
        return {stage.name: maps[stage.name] for stage in self.stages}


class ResnetEncoder(Encoder):
    """ResNet-18 (He et al. 2016) without its head.

    Every residual block starts as the identity (the scale of its last batch norm is 0, Goyal et al. 2017). Where only
    some of the blocks have pretrained weights, the others thus pass on what they are given instead of adding noise.
    """

    stages = (Stage("relu", 2, 64), *(Stage(f"layer{i}", 2 * 2**i, 32 * 2**i) for i in range(1, 5)))

    def __init__(self):
        super().__init__()
        *layers, _pooling, _head = resnet18(zero_init_residual=True).named_children()
        for name, layer in layers:
            self.add_module(name, layer)


class MobilenetEncoder(Encoder):
    """The `features` of MobileNetV2 (Sandler et al. 2018), 2,223,872 parameters."""

    stages = tuple(
        Stage(f"features.{i}", stride, channels)
        for i, stride, channels in ((1, 2, 16), (3, 4, 24), (6, 8, 32), (13, 16, 96), (18, 32, 1280))
    )

    def __init__(self):
        super().__init__()
        self.features = mobilenet_v2().features

    def named_layers(self) -> Iterable[tuple[str, nn.Module]]:
        return ((f"features.{name}", layer) for name, layer in self.features.named_children())


ENCODERS = {"resnet18": ResnetEncoder, "mobilenet_v2": MobilenetEncoder}


def make_encoder(name: str, weights: Mapping[str, Tensor] | None = None) -> Encoder:
    """The encoder `name`, "resnet18" or "mobilenet_v2", with whatever `weights` has of its state dict.

    Layers that `weights` lacks stay as initialised; names and shapes that are not the encoder's are an error.
    """
    encoder = ENCODERS[choice("encoder", name, ENCODERS)]()
    encoder.load_state_dict({**encoder.state_dict(), **(weights or {})})
    return encoder
