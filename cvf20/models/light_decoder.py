"""A small decoder for an encoder that stays frozen: the first way of transfer learning."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvf20.models.base import fit_to
from cvf20.models.encoders import make_encoder
from cvf20.models.transfer import TransferModel


class LightDecoderModel(TransferModel):
    """Images (N, 3, H, W) → logits (N, num_classes, H, W), decoded at stride 4 and interpolated from there.

    num_classes: channels of the output
    encoder:     "mobilenet_v2" (3,460,631 parameters in all with 23 classes and width 128) or "resnet18"
    weights:     state dict of the encoder, of all its layers or some (see `cvf20.pretrained`); None: random
    width:       channels of the decoder
    dropout:     probability that a channel of the last map is zeroed in training

    A top-down pathway as in Lin et al. (2017): 1×1 convolutions bring the encoder's maps of strides 32, 16, 8 and 4 to
    one width; from the coarsest on, each is up-scaled, joined with the next and mixed by a 3×3 convolution. The
    coarsest also gets the mean of the encoder's last map added, which tells every pixel what the whole picture shows
    (Liu et al. 2015, ParseNet).
    """

    def __init__(
        self,
        num_classes: int,
        encoder: str = "mobilenet_v2",
        weights: Mapping[str, Tensor] | None = None,
        *,
        width: int = 128,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.encoder = make_encoder(encoder, weights)
        channels = [stage.channels for stage in self.encoder.stages[1:]]  # strides 4, 8, 16, 32
        self.lateral = nn.ModuleList(conv_bn_relu(f_in, width, 1) for f_in in channels)
        self.context = nn.Conv2d(channels[-1], width, 1)
        self.mix = nn.ModuleList(conv_bn_relu(2 * width, width, 3) for _ in channels[1:])
        self.dropout = nn.Dropout2d(dropout)
        self.output = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.check_input(x)
        maps = self.encoder.feature_maps(x)[1:]
        *finer, current = (lateral(features) for lateral, features in zip(self.lateral, maps, strict=True))
        current = current + self.context(maps[-1].mean((2, 3), keepdim=True))
        for mix, skip in zip(self.mix, reversed(finer), strict=True):
            upsampled = F.interpolate(current, scale_factor=2.0, mode="bilinear")
            current = mix(torch.cat([fit_to(upsampled, skip.shape[2:]), skip], dim=1))
        logits = self.output(self.dropout(current))
        return fit_to(F.interpolate(logits, scale_factor=4.0, mode="bilinear"), x.shape[2:])


def conv_bn_relu(f_in: int, f_out: int, kernel_size: int) -> nn.Sequential:
    conv = nn.Conv2d(f_in, f_out, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(f_out), nn.ReLU(inplace=True))
