"""The U-Net of Ronneberger et al. (2015, arXiv 1505.04597), every choice an argument."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from cvf20.models.layers import (
    CONV,
    CONV_TRANSPOSE,
    DROPOUT,
    INSTANCE_NORM,
    MAX_POOL,
    AveragePool,
    BlurPool,
    IndexPool,
    IndexUnpool,
    Residual,
    Sum,
    Upsample,
    activation_layer,
    choice,
    norm_layer,
)
from cvf20.models.skeleton import Concatenate, EncoderDecoderSkeleton

Layer = str | Callable | None


class UNet(EncoderDecoderSkeleton):
    """U-Net whose output (N, out_channels, *S) has the size of its input (N, in_channels, *S), S of any size.

    depth:            number of down-scalings
    in_channels:      channels of the image
    out_channels:     channels of the output: classes, or 1 for a binary task
    fmaps:            feature maps per level, depth + 1 of them, the last for the base; one number is doubled per level
    dim:              spatial dimensions, 1, 2 or 3
    scale_factor:     down-scaling per level: one integer, or per level an integer or a tuple with one per axis
    norm_type:        normalisation between convolution and activation: "batch", "instance", "group", "layer", None,
                      a class or a callable that takes the number of features
    activation:       a class, a callable, or a name (relu, leakyrelu, prelu, elu, gelu, silu); None for linear
    final_activation: likewise, after the last 1×1 convolution; None gives logits, which all losses here expect
    convs_per_level:  convolutions per block (2 in the paper)
    downsampling:     "max", "average", "stride" (a convolution), "blur" (anti-aliased) or "index"
    upsampling:       "nearest", "bilinear" (linear / trilinear by dim), "transposed" (halves the channels), or "index":
                      values return to where the encoder's maximum was; needs downsampling="index"
    merge:            "concat" or "sum" of the up-scaled map and the skip
    residual:         add each block's input to its output
    dropout:          probability that a block's output channel is zeroed in training
    padding_mode:     of the 3×3 convolutions: "zeros", "reflect", "replicate" or "circular"

    By default the decoder of level d takes 2·fmaps[d] channels and gives fmaps[d−1] (level 0: fmaps[0]), and the base
    goes fmaps[depth−1] → fmaps[depth] → fmaps[depth−1]. With transposed convolutions the base ends with fmaps[depth]
    and the decoder of level d with fmaps[d], as in the paper. Down-scaling rounds sizes up.
    Raises ValueError where an argument is not allowed, and in `forward` where the input is too small.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        out_channels: int,
        fmaps: int | Sequence[int],
        dim: int = 2,
        scale_factor: int | Sequence = 2,
        norm_type: Layer = None,
        activation: Layer = nn.ReLU,
        final_activation: Layer = None,
        *,
        convs_per_level: int = 2,
        downsampling: str = "max",
        upsampling: str = "nearest",
        merge: str = "concat",
        residual: bool = False,
        dropout: float = 0.0,
        padding_mode: str = "zeros",
    ):
        choice("dim", dim, (1, 2, 3))
        choice("downsampling", downsampling, ("max", "average", "stride", "blur", "index"))
        choice("upsampling", upsampling, ("nearest", "bilinear", "transposed", "index"))
        choice("merge", merge, ("concat", "sum"))
        choice("padding_mode", padding_mode, ("zeros", "reflect", "replicate", "circular"))
        if (downsampling == "index") != (upsampling == "index"):
            raise ValueError(
                f'downsampling={downsampling!r} with upsampling={upsampling!r}: "index" is one choice for both'
            )
        if isinstance(fmaps, int):
            fmaps = [fmaps * 2**level for level in range(depth + 1)]
        if len(fmaps) != depth + 1 or min(fmaps) < 1:
            raise ValueError(f"fmaps={tuple(fmaps)}: depth={depth} wants {depth + 1} positive entries, or one number")
        if convs_per_level < 1:
            raise ValueError(f"convs_per_level={convs_per_level}: at least 1 is wanted")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}: a probability in [0, 1) is wanted")
        super().__init__(
            depth,
            in_channels=in_channels,
            out_channels=out_channels,
            fmaps=list(fmaps),
            merged_fmaps=[2 * f for f in fmaps] if merge == "concat" else list(fmaps),
            dim=dim,
            scale_factors=self._parse_scale_factors(scale_factor, depth, dim),
            norm_type=norm_type,
            activation=activation,
            final_activation=final_activation,
            convs_per_level=convs_per_level,
            downsampling=downsampling,
            upsampling=upsampling,
            merge=merge,
            residual=residual,
            dropout=dropout,
            padding_mode=padding_mode,
        )

    @staticmethod
    def _parse_scale_factors(scale_factor, depth: int, dim: int) -> list[tuple[int, ...]]:
        per_level = [scale_factor] * depth if isinstance(scale_factor, int) else list(scale_factor)
        factors = [(f,) * dim if isinstance(f, int) else tuple(f) for f in per_level]
        if len(factors) != depth or any(len(f) != dim or min(f) < 1 for f in factors):
            raise ValueError(
                f"scale_factor={scale_factor!r}: one integer, or {depth} entries (one per level), each an integer ≥ 1 "
                f"or a tuple of {dim}, is wanted"
            )
        return factors

    def forward(self, x: Tensor) -> Tensor:
        self._check_size(x)
        return super().forward(x)

    def _check_size(self, x: Tensor) -> None:
        """Reflected padding and statistics over one map need more than one pixel at the coarsest level."""
        if x.dim() != self.dim + 2:
            raise ValueError(f"input of shape {tuple(x.shape)}: (N, {self.in_channels}, + {self.dim} axes) is wanted")
        reflects = self.padding_mode == "reflect"
        instance_norm = self.norm_type in ("instance", *INSTANCE_NORM.values())
        if not reflects and not instance_norm:
            return
        total = [math.prod(factors) for factors in zip(*self.scale_factors, strict=True)] or [1] * self.dim
        coarsest = [math.ceil(size / factor) for size, factor in zip(x.shape[2:], total, strict=True)]
        if min(coarsest) < 2 if reflects else max(coarsest) < 2:
            smallest = tuple(factor + 1 for factor in total)
            why = 'padding_mode="reflect"' if reflects else "instance normalisation"
            axes = "every axis" if reflects else "at least one axis"
            raise ValueError(
                f"input of size {tuple(x.shape[2:])} has {tuple(coarsest)} pixels at the coarsest level, too few for {why}; "
                f"the smallest size is {smallest} ({axes})"
            )

    def construct_layer(self, f_in: int, f_out: int, kernel_size: int = 3) -> nn.Module:
        """Convolution → normalisation → activation, size kept."""
        layers = [
            CONV[self.dim](f_in, f_out, kernel_size, padding=kernel_size // 2, padding_mode=self.padding_mode),
            norm_layer(self.norm_type, f_out, self.dim),
            activation_layer(self.activation),
        ]
        return nn.Sequential(*(layer for layer in layers if layer is not None))

    def _construct_block(self, f_in: int, f_intermediate: int, f_out: int) -> nn.Module:
        features = [f_in, *[f_intermediate] * (self.convs_per_level - 1), f_out]
        layers = [self.construct_layer(a, b) for a, b in zip(features[:-1], features[1:], strict=True)]
        block = nn.Sequential(*layers)
        if self.residual:
            block = Residual(block, f_in, f_out, self.dim)
        return nn.Sequential(block, DROPOUT[self.dim](self.dropout)) if self.dropout else block

    def construct_encoder_module(self, depth: int) -> nn.Module:
        f_in = self.fmaps[depth - 1] if depth > 0 else self.in_channels
        return self._construct_block(f_in, self.fmaps[depth], self.fmaps[depth])

    def construct_base_module(self) -> nn.Module:
        f_in = self.fmaps[self.depth - 1] if self.depth > 0 else self.in_channels
        f_out = self.fmaps[self.depth] if self.upsampling == "transposed" or self.depth == 0 else f_in
        return self._construct_block(f_in, self.fmaps[self.depth], f_out)

    def construct_decoder_module(self, depth: int) -> nn.Module:
        f_out = self.fmaps[depth] if self.upsampling == "transposed" or depth == 0 else self.fmaps[depth - 1]
        return self._construct_block(self.merged_fmaps[depth], self.fmaps[depth], f_out)

    def construct_downsampling_module(self, depth: int) -> nn.Module:
        factor, features = self.scale_factors[depth], self.fmaps[depth]
        if self.downsampling == "max":
            return MAX_POOL[self.dim](factor, ceil_mode=True)
        if self.downsampling == "average":
            return AveragePool(factor)
        if self.downsampling == "stride":
            return CONV[self.dim](features, features, 3, stride=factor, padding=1, padding_mode=self.padding_mode)
        return BlurPool(factor) if self.downsampling == "blur" else IndexPool(factor)

    def construct_upsampling_module(self, depth: int) -> nn.Module:
        factor = self.scale_factors[depth]
        if self.upsampling == "transposed":
            return CONV_TRANSPOSE[self.dim](self.fmaps[depth + 1], self.fmaps[depth], factor, stride=factor)
        return IndexUnpool() if self.upsampling == "index" else Upsample(factor, self.upsampling)

    def construct_merge_module(self, depth: int) -> nn.Module:
        return Concatenate() if self.merge == "concat" else Sum()

    def construct_output_module(self) -> nn.Module:
        last = activation_layer(self.final_activation, "final_activation")
        to_output = CONV[self.dim](self.fmaps[0], self.out_channels, 1)
        return to_output if last is None else nn.Sequential(to_output, last)
