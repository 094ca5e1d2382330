"""A U-Net whose encoder is ResNet-18."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvf20.models.base import fit_to
from cvf20.models.encoders import make_encoder
from cvf20.models.transfer import TransferModel


def conv_bn_relu(f_in: int, f_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(f_in, f_out, 3, padding=1), nn.BatchNorm2d(f_out), nn.ReLU(inplace=True))


def double_convolution(f_in: int, f_out: int) -> nn.Sequential:
    return nn.Sequential(conv_bn_relu(f_in, f_out), conv_bn_relu(f_out, f_out))


class ResnetBasedModel(TransferModel):
    """ResNet-18 as encoder, a decoder of transposed convolutions: images (N, 3, H, W) → logits (N, num_classes, H, W).

    num_classes:     channels of the output
    weights:         state dict of the encoder, of all its layers or some (see `cvf20.pretrained`); None: random
    full_resolution: a double convolution of the image is the outermost skip, and the decoder ends at full resolution,
                     as printed in the assignment (14,352,969 parameters with 9 classes). False: the decoder ends at
                     half resolution and its logits are interpolated, which costs a third (14,281,161 parameters)

    Every step of the decoder doubles the size and joins the encoder's map of that size, followed by a double
    convolution, at stride 2 by none. Sizes need not be divisible; in eval mode 1 pixel is enough.
    Raises ValueError in `forward` where training mode meets an image too small for batch norm.
    """

    decoder_stride = 16

    def __init__(self, num_classes: int, weights: Mapping[str, Tensor] | None = None, *, full_resolution: bool = True):
        super().__init__()
        self.full_resolution = full_resolution
        self.encoder = make_encoder("resnet18", weights)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(f_in, f_out, 2, stride=2)
            for f_in, f_out in [(512, 256), (256, 128), (128, 64), (64, 64), (128, 64)][: 5 if full_resolution else 4]
        )
        self.fuse = nn.ModuleList(
            [double_convolution(512, 256), double_convolution(256, 128), double_convolution(128, 64), nn.Identity()]
        )
        if full_resolution:
            self.fine = double_convolution(3, 64)
        self.last = conv_bn_relu(128, 64)
        self.output = nn.Conv2d(64, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.check_input(x)
        *skips, current = self.encoder.feature_maps(x)
        for up, fuse, skip in zip(self.up, self.fuse, reversed(skips), strict=False):
            current = fuse(join(up(current), skip))
        if self.full_resolution:
            current = join(self.up[-1](current), self.fine(x))
        logits = self.output(self.last(current))
        if not self.full_resolution:
            logits = fit_to(F.interpolate(logits, scale_factor=2.0, mode="bilinear"), x.shape[2:])
        return logits


def join(upsampled: Tensor, skip: Tensor) -> Tensor:
    """Concatenate along the channels, the up-scaled map cropped to the skip's size."""
    return torch.cat([fit_to(upsampled, skip.shape[2:]), skip], dim=1)
