"""Encoders trained on ImageNet's classification, as sources of feature maps at the strides 2, 4, 8, 16 and 32.

Their parameters are named as torchvision's, so that its state dicts fit. Nothing here reads a file: `cvf20.pretrained`
finds the weights.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models.resnet import BasicBlock, ResNet

from cvf20.models.layers import choice


class Stage(NamedTuple):
    """One of the encoder's feature maps: the module that makes it, its stride against the image, its channels."""

    name: str
    stride: int
    channels: int


class Encoder(nn.Module):
    """What the encoders share; a subclass lists its `stages` and computes `feature_maps`."""

    stages: tuple[Stage, ...]

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) → one map (N, C, ⌈H/stride⌉, ⌈W/stride⌉) per stage."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The same maps by the stage's name."""
        return {stage.name: value for stage, value in zip(self.stages, self.feature_maps(x), strict=True)}


class ResnetEncoder(Encoder, ResNet):
    """ResNet-18 (He et al. 2016) without its head.

    Every residual block starts as the identity (the scale of its last batch norm is 0, Goyal et al. 2017). Where only
    some of the blocks have pretrained weights, the others thus pass on what they are given instead of adding noise.
    """

    stages = (
        Stage("relu", 2, 64),
        Stage("layer1", 4, 64),
        Stage("layer2", 8, 128),
        Stage("layer3", 16, 256),
        Stage("layer4", 32, 512),
    )

    def __init__(self):
        super().__init__(BasicBlock, [2, 2, 2, 2], zero_init_residual=True)
        del self.avgpool, self.fc

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        maps = [self.relu(self.bn1(self.conv1(x)))]
        current = self.maxpool(maps[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            current = layer(current)
            maps.append(current)
        return maps


class MobilenetEncoder(Encoder):
    """The `features` of MobileNetV2 (Sandler et al. 2018), 2,223,872 parameters."""

    stages = (
        Stage("features.1", 2, 16),
        Stage("features.3", 4, 24),
        Stage("features.6", 8, 32),
        Stage("features.13", 16, 96),
        Stage("features.18", 32, 1280),
    )

    def __init__(self):
        super().__init__()
        self.features = mobilenet_v2().features

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        wanted, maps = {stage.name for stage in self.stages}, []
        for name, block in self.features.named_children():
            x = block(x)
            if f"features.{name}" in wanted:
                maps.append(x)
        return maps


ENCODERS = {"resnet18": ResnetEncoder, "mobilenet_v2": MobilenetEncoder}


def make_encoder(name: str, weights: Mapping[str, Tensor] | None = None) -> Encoder:
    """The encoder `name`, "resnet18" or "mobilenet_v2", with whatever `weights` has of its state dict.

    Raises ValueError where a name is unknown or a shape does not fit; layers that `weights` lacks stay as initialised.
    """
    encoder = ENCODERS[choice("encoder", name, tuple(ENCODERS))]()
    if weights is not None:
        check_weights(encoder, weights)
        encoder.load_state_dict(weights, strict=False)
    return encoder


def check_weights(encoder: Encoder, weights: Mapping[str, Tensor]) -> None:
    """ValueError unless `weights` is a part of the encoder's state dict."""
    if not isinstance(weights, Mapping):
        raise ValueError(f"weights={weights!r}: a state dict is wanted, e.g. cvf20.pretrained.load_pretrained().state")
    own = encoder.state_dict()
    for key, value in weights.items():
        if key not in own:
            raise ValueError(
                f"weights holds {key!r}, wanted names of {type(encoder).__name__}, such as {next(iter(own))!r}"
            )
        if value.shape != own[key].shape:
            raise ValueError(f"weights[{key!r}] has shape {tuple(value.shape)}, wanted {tuple(own[key].shape)}")
