"""The U-Net of Ronneberger et al. (2015, arXiv 1505.04597), every choice an argument."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from cvf20.models.base import Concatenate, EncoderDecoderSkeleton, get_padding, skip_none_sequential
from cvf20.models.layers import ACTIVATIONS, IndexPool, IndexUnpool, Layer, Sum, choice, make_layer, norm_layer, of_dim


class UNet(EncoderDecoderSkeleton):
    """U-Net whose output (N, out_channels, *S) has the size of its input (N, in_channels, *S), S of any size.

    depth:            number of down-scalings, which round sizes up
    in_channels, out_channels: of the image; classes, or 1 for a binary task
    fmaps:            feature maps per level, depth + 1 of them, the last for the base; one number is doubled per level
    dim:              spatial dimensions, 1, 2 or 3
    scale_factor:     down-scaling per level: one integer, or per level an integer or a tuple with one per axis
    norm_type:        "batch", "instance", "group", "layer", None, a class or callable of the features, or an instance
    activation:       a class, a callable, an instance, or a name (relu, leakyrelu, prelu, elu, gelu, silu); None: linear
    final_activation: likewise, after the last 1×1 convolution; None gives logits, which all losses here expect
    convs_per_level:  convolutions per block (2 in the paper)
    downsampling:     "max", "stride" (a convolution) or "index"
    upsampling:       "nearest", "bilinear" (linear / trilinear by dim), "transposed" (halves the channels), or "index":
                      values return to where the encoder's maximum was; needs downsampling="index"
    merge:            "concat" or "sum" of the up-scaled map and the skip
    dropout:          probability that a block's output channel is zeroed in training
    The decoder of level d takes 2·fmaps[d] channels and gives fmaps[d−1] (level 0: fmaps[0]), the base goes
    fmaps[depth−1] → fmaps[depth] → fmaps[depth−1]; with transposed convolutions they end with fmaps[d] and fmaps[depth].
    Hooks may use the attributes that `__init__` sets: `conv_type(f_in, f_out, kernel_size)`, `norm_type(features)` and
    `activation()` make layers; `**self.conv_norm_act_dict` hands all three to a block.
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
        dropout: float = 0.0,
    ):
        fmaps = [fmaps * 2**level for level in range(depth + 1)] if isinstance(fmaps, int) else list(fmaps)
        factors = [scale_factor] * depth if isinstance(scale_factor, int) else list(scale_factor)
        if len(fmaps) != depth + 1 or len(factors) != depth:
            wanted = f"{depth=} wants {depth + 1} and {depth} entries, or one number"
            raise ValueError(f"{fmaps=}, scale_factor={factors}: {wanted}")
        # beside the attributes that a student's class may have by the same names
        self.choices = SimpleNamespace(
            downsampling=choice("downsampling", downsampling, ("max", "stride", "index")),
            upsampling=choice("upsampling", upsampling, ("nearest", "bilinear", "transposed", "index")),
            merge=choice("merge", merge, ("concat", "sum")),
            convs_per_level=convs_per_level,
            dropout=dropout,
        )
        if (downsampling == "index") != (upsampling == "index"):
            raise ValueError(f"{downsampling=} with {upsampling=}: 'index' is one choice for both")
        self.in_channels, self.out_channels, self.fmaps = in_channels, out_channels, fmaps
        self.merged_fmaps = [2 * f for f in fmaps] if merge == "concat" else fmaps
        self.dim = choice("dim", dim, (1, 2, 3))
        self.scale_factors = [(factor,) * dim if isinstance(factor, int) else tuple(factor) for factor in factors]
        self.divisibility_constraint = [math.prod(axis) for axis in zip((1,) * dim, *self.scale_factors, strict=True)]
        self.conv_type = of_dim("Conv", dim)
        self.norm_type = partial(norm_layer, norm_type, dim=dim)
        self.activation = partial(make_layer, "activation", activation, ACTIVATIONS)
        last = partial(make_layer, "final_activation", final_activation, ACTIVATIONS)
        self.final_activation = None if final_activation is None else last
        self.conv_norm_act_dict = {name: getattr(self, name) for name in ("conv_type", "norm_type", "activation")}
        super().__init__(depth)

    def forward(self, x: Tensor) -> Tensor:
        one_pixel = all(size <= factor for size, factor in zip(x.shape[2:], self.divisibility_constraint, strict=True))
        if one_pixel and any(isinstance(module, _InstanceNorm) for module in self.modules()):
            smallest = tuple(factor + 1 for factor in self.divisibility_constraint)
            found = f"size {tuple(x.shape[2:])} leaves instance norm one pixel at the coarsest level"
            raise ValueError(f"{found}; the smallest size is {smallest} (at least one axis)")
        return super().forward(x)

    def construct_layer(self, f_in: int, f_out: int, kernel_size: int = 3) -> nn.Module:
        """Convolution → normalisation → activation, size kept."""
        conv = self.conv_type(f_in, f_out, kernel_size, padding=get_padding(kernel_size))
        return skip_none_sequential({"conv": conv, "norm": self.norm_type(f_out), "activation": self.activation()})

    def _construct_block(self, f_in: int, f_intermediate: int, f_out: int) -> nn.Module:
        features = [f_in, *[f_intermediate] * (self.choices.convs_per_level - 1), f_out]
        return self._with_dropout(nn.Sequential(*(self.construct_layer(a, b) for a, b in pairwise(features))))

    def _with_dropout(self, block: nn.Module) -> nn.Module:
        p = self.choices.dropout
        return nn.Sequential(block, of_dim("Dropout", self.dim)(p)) if p else block

    def _f_in(self, level: int) -> int:  # channels that go down into a level, the base being level `depth`
        return self.fmaps[level - 1] if level > 0 else self.in_channels

    def _f_out(self, level: int) -> int:  # channels that come up out of it
        return self.fmaps[level] if self.choices.upsampling == "transposed" or level == 0 else self.fmaps[level - 1]

    def construct_encoder_module(self, depth: int) -> nn.Module:
        return self._construct_block(self._f_in(depth), self.fmaps[depth], self.fmaps[depth])

    def construct_base_module(self) -> nn.Module:
        return self._construct_block(self._f_in(self.depth), self.fmaps[self.depth], self._f_out(self.depth))

    def construct_decoder_module(self, depth: int) -> nn.Module:
        return self._construct_block(self.merged_fmaps[depth], self.fmaps[depth], self._f_out(depth))

    def construct_downsampling_module(self, depth: int) -> nn.Module:
        kind, factor, features = self.choices.downsampling, self.scale_factors[depth], self.fmaps[depth]
        if kind == "stride":
            return self.conv_type(features, features, 3, stride=factor, padding=1)
        if kind == "index":
            return IndexPool(factor)
        return of_dim("MaxPool", self.dim)(factor, ceil_mode=True)

    def construct_upsampling_module(self, depth: int) -> nn.Module:
        kind, factor = self.choices.upsampling, self.scale_factors[depth]
        if kind == "index":
            return IndexUnpool()
        if kind == "transposed":
            transposed = of_dim("ConvTranspose", self.dim)
            return transposed(self.fmaps[depth + 1], self.fmaps[depth], factor, stride=factor)
        mode = "nearest" if kind == "nearest" else {1: "linear", 2: "bilinear", 3: "trilinear"}[self.dim]
        return nn.Upsample(scale_factor=tuple(map(float, factor)), mode=mode)

    def construct_merge_module(self, depth: int) -> nn.Module:
        return Concatenate() if self.choices.merge == "concat" else Sum()

    def construct_output_module(self) -> nn.Module:
        conv, last = self.conv_type(self.fmaps[0], self.out_channels, 1), self.final_activation
        return conv if last is None else skip_none_sequential({"final_conv": conv, "final_activation": last()})
