"""Networks around a pretrained encoder: a U-Net on ResNet-18, and a small decoder for an encoder that stays frozen."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation  # convolution, batch norm, ReLU

from cvf20.models.base import fit_to
from cvf20.models.encoders import make_encoder
from cvf20.models.spec import Recorded, call_text

torch.fx.wrap("fit_to")  # depends on sizes: torch.fx, which can fold batch norms away, shall not look inside


class TransferModel(Recorded, nn.Module):
    """A network with a pretrained `encoder` and a last 1×1 convolution `output`, both made by the subclass."""

    encoder_frozen = False

    def freeze_encoder(self, frozen: bool = True) -> Self:
        """Keep the encoder's weights and batch-norm statistics as they are, also in training mode."""
        self.encoder_frozen = frozen
        self.encoder.requires_grad_(not frozen)
        return self.train(self.training)

    def unfreeze_encoder(self) -> Self:
        """Let the encoder learn again."""
        return self.freeze_encoder(False)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.encoder_frozen:
            self.encoder.eval()  # in training mode batch norm would go on averaging, whatever requires_grad says
        return self

    def replace_output(self, num_classes: int) -> Self:
        """Exchange the last layer for a fresh one; everything before it keeps what it has learned."""
        old = self.output
        self.output = nn.Conv2d(old.in_channels, num_classes, 1).to(old.weight.device, old.weight.dtype)
        self.built_as = call_text(TransferModel.replace_output, self, num_classes)
        return self


class ResnetBasedModel(TransferModel):
    """ResNet-18 as encoder, a decoder of transposed convolutions: images (N, 3, H, W) → logits (N, num_classes, H, W).

    weights:         state dict of the encoder, of all its layers or some; None: random
    full_resolution: a double convolution of the image is the outermost skip, as the assignment prints it (14,352,969
                     parameters with 9 classes). False: logits of half the resolution are interpolated (14,281,161)
    Every step of the decoder doubles the size, whatever it is, and joins the encoder's map of that size.
    """

    def __init__(self, num_classes: int, weights: Mapping[str, Tensor] | None = None, *, full_resolution: bool = True):
        super().__init__()
        self.full_resolution = full_resolution
        self.encoder = make_encoder("resnet18", weights)
        steps = [(512, 256), (256, 128), (128, 64), (64, 64), (128, 64)][: 5 if full_resolution else 4]
        self.up = nn.ModuleList(nn.ConvTranspose2d(f_in, f_out, 2, stride=2) for f_in, f_out in steps)
        self.fuse = nn.ModuleList([*(double_convolution(2 * f, f) for f in (256, 128, 64)), nn.Identity()])
        if full_resolution:
            self.fine = double_convolution(3, 64)
        self.last = Conv2dNormActivation(128, 64, bias=True)
        self.output = nn.Conv2d(64, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        *skips, current = self.encoder(x).values()
        for up, fuse, skip in zip(self.up, self.fuse, reversed(skips), strict=False):
            current = fuse(join(up(current), skip))
        if self.full_resolution:
            current = join(self.up[-1](current), self.fine(x))
        logits = self.output(self.last(current))
        return logits if self.full_resolution else upscaled(logits, 2, x)


class LightDecoderModel(TransferModel):
    """Images (N, 3, H, W) → logits (N, num_classes, H, W), decoded at stride 4 and interpolated from there.

    encoder: "mobilenet_v2" (3,460,631 parameters in all with 23 classes) or "resnet18"; weights: its state dict
    width:   channels of the decoder
    Top-down from stride 32 to 4 (Lin et al. 2017); what the whole picture shows is added (ParseNet, Liu et al. 2015).
    """

    def __init__(self, num_classes: int, encoder: str = "mobilenet_v2", weights=None, width: int = 128):
        super().__init__()
        self.encoder = make_encoder(encoder, weights)
        channels = [stage.channels for stage in self.encoder.stages[1:]]  # strides 4, 8, 16, 32
        self.lateral = nn.ModuleList(Conv2dNormActivation(f_in, width, 1) for f_in in channels)
        self.context = nn.Conv2d(channels[-1], width, 1)
        self.mix = nn.ModuleList(Conv2dNormActivation(2 * width, width, 3) for _ in channels[1:])
        self.dropout = nn.Dropout2d(0.1)
        self.output = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, *maps = self.encoder(x).values()
        *finer, current = (lateral(features) for lateral, features in zip(self.lateral, maps, strict=True))
        current = current + self.context(maps[-1].mean((2, 3), keepdim=True))
        for mix, skip in zip(self.mix, reversed(finer), strict=True):
            current = mix(join(upscaled(current, 2, skip), skip))
        return upscaled(self.output(self.dropout(current)), 4, x)


def double_convolution(f_in: int, f_out: int) -> nn.Sequential:
    return nn.Sequential(*(Conv2dNormActivation(channels, f_out, bias=True) for channels in (f_in, f_out)))


def join(upsampled: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([fit_to(upsampled, skip.shape[2:]), skip], dim=1)


def upscaled(x: Tensor, factor: int, like: Tensor) -> Tensor:
    return fit_to(F.interpolate(x, scale_factor=float(factor), mode="bilinear"), like.shape[2:])
