"""The group's own models: each re-implements some of UNet's construct_*_module hooks, nothing else (B6)."""

import torch
from torch import Tensor, nn

from cvf20.models.base import skip_none_sequential
from cvf20.models.layers import Residual
from cvf20.models.unet import UNet


class ResidualUNet(UNet):
    """Every block of encoder, base and decoder adds its input to its output (He et al. 2016)."""

    def construct_encoder_module(self, depth: int) -> nn.Module:
        return Residual(super().construct_encoder_module(depth))

    def construct_base_module(self) -> nn.Module:
        return Residual(super().construct_base_module())

    def construct_decoder_module(self, depth: int) -> nn.Module:
        return Residual(super().construct_decoder_module(depth))


class HalfResolutionUNet(UNet):
    """The input's 2×2 blocks become channels, so that every layer has a quarter of the positions; the output undoes it.

    Sub-pixel convolution (Shi et al. 2016). For depth ≥ 1, two dimensions, even heights and widths.
    """

    def construct_input_module(self) -> nn.Module:
        return nn.PixelUnshuffle(2)  # (N, C, H, W) → (N, 4·C, H/2, W/2)

    def construct_encoder_module(self, depth: int) -> nn.Module:
        if depth > 0:
            return super().construct_encoder_module(depth)
        return self._construct_block(4 * self.in_channels, self.fmaps[0], self.fmaps[0])

    def construct_output_module(self) -> nn.Module:
        last = None if self.final_activation is None else self.final_activation()
        return skip_none_sequential(nn.Conv2d(self.fmaps[0], 4 * self.out_channels, 1), nn.PixelShuffle(2), last)


class DilatedBaseUNet(UNet):
    """The base looks at 1, 2 and 4 steps' distance side by side, so that a shallow network sees far (Chen et al. 2017)."""

    def construct_base_module(self) -> nn.Module:
        f_in, f_intermediate, f_out = self._f_in(self.depth), self.fmaps[self.depth], self._f_out(self.depth)
        return self._with_dropout(ParallelDilations(f_in, f_intermediate, f_out, **self.conv_norm_act_dict))


class AttentionUNet(UNet):
    """Each skip is gated by what the decoder already knows, before the two are merged (Oktay et al. 2018)."""

    def construct_merge_module(self, depth: int) -> nn.Module:
        return GatedMerge(self.fmaps[depth], super().construct_merge_module(depth), self.conv_type)


class ParallelDilations(nn.Module):
    """Sum of 3×3 convolutions of f_in with dilations 1, 2 and 4, normalised and activated, then a 3×3 to f_out."""

    def __init__(self, f_in: int, f_intermediate: int, f_out: int, conv_type, norm_type, activation):
        super().__init__()
        self.branches = nn.ModuleList(conv_type(f_in, f_intermediate, 3, padding=d, dilation=d) for d in (1, 2, 4))
        to_output = conv_type(f_intermediate, f_out, 3, padding=1)
        self.combine = skip_none_sequential(norm_type(f_intermediate), activation(), to_output, activation())

    def forward(self, x: Tensor) -> Tensor:
        return self.combine(sum(branch(x) for branch in self.branches))


class GatedMerge(nn.Module):
    """merge(upsampled, skip · gate), the gate (N, 1, *S) in (0, 1) computed from both maps (N, features, *S)."""

    def __init__(self, features: int, merge: nn.Module, conv_type):
        super().__init__()
        inner = max(1, features // 2)
        self.see_upsampled, self.see_skip = conv_type(features, inner, 1), conv_type(features, inner, 1)
        self.decide = conv_type(inner, 1, 1)
        self.merge = merge

    def forward(self, upsampled: Tensor, skip: Tensor) -> Tensor:
        gate = torch.sigmoid(self.decide(torch.relu(self.see_upsampled(upsampled) + self.see_skip(skip))))
        return self.merge(upsampled, gate * skip)
