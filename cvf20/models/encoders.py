"""Encoders trained on ImageNet's classification, as sources of feature maps at the strides 2, 4, 8, 16 and 32.

Their parameters are named as torchvision's, so that its state dicts fit. `cvf20.models.pretrained` finds the weights.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18
from torchvision.models._utils import IntermediateLayerGetter

from cvf20.models.layers import choice


class Stage(NamedTuple):
    name: str  # of the layer that makes the feature map
    stride: int  # against the image
    channels: int


class ResnetEncoder(IntermediateLayerGetter):
    """ResNet-18 (He et al. 2016) without its head: images (N, 3, H, W) → its stages' maps by name.

    A map is (N, channels, ⌈H/stride⌉, ⌈W/stride⌉). Every residual block starts as the identity (the scale of its last
    batch norm is 0, Goyal et al. 2017): blocks without pretrained weights pass on what they get instead of adding noise.
    """

    stages = (Stage("relu", 2, 64), *(Stage(f"layer{i}", 2 * 2**i, 32 * 2**i) for i in range(1, 5)))

    def __init__(self, zero_init_residual: bool = True, **options):
        network = resnet18(zero_init_residual=zero_init_residual, **options)
        super().__init__(network, {stage.name: stage.name for stage in self.stages})


class MobilenetEncoder(nn.Module):
    """The same of the `features` of MobileNetV2 (Sandler et al. 2018), 2,223,872 parameters."""

    stages = tuple(map(Stage, ("1", "3", "6", "13", "18"), (2, 4, 8, 16, 32), (16, 24, 32, 96, 1280)))

    def __init__(self):
        super().__init__()
        names = {stage.name: stage.name for stage in self.stages}
        self.features = IntermediateLayerGetter(mobilenet_v2().features, names)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.features(x)


ENCODERS = {"resnet18": ResnetEncoder, "mobilenet_v2": MobilenetEncoder}


def make_encoder(name: str, weights: Mapping[str, Tensor] | None = None, **options) -> nn.Module:
    """The encoder `name`, "resnet18" or "mobilenet_v2", with whatever `weights` has of its state dict.

    Layers that `weights` lacks stay as initialised; names and shapes that are not the encoder's are an error. `options`
    are those of torchvision's resnet18.
    """
    encoder = ENCODERS[choice("encoder", name, ENCODERS)](**options)
    encoder.load_state_dict({**encoder.state_dict(), **(weights or {})})
    return encoder
