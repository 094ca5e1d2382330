"""The first network of the scene assignment: three convolutions at full resolution, which see 7×7 pixels."""

from torch import nn

from cvf20.models.spec import Recorded


class BaseConv(Recorded, nn.Sequential):
    """Conv3×3-BN-ReLU to `fmaps`, then 1×1 to logits: (N, 3, H, W) → (N, num_classes, H, W); 9: 24,393 parameters."""

    def __init__(self, in_channels: int = 3, num_classes: int = 9, fmaps: tuple[int, ...] = (16, 32, 64)):
        layers = []
        for f_in, f_out in zip((in_channels, *fmaps[:-1]), fmaps, strict=True):
            layers += [nn.Conv2d(f_in, f_out, 3, padding=1), nn.BatchNorm2d(f_out), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(fmaps[-1], num_classes, 1))
