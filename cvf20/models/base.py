"""The forward pass of every encoder-decoder network, with one construction hook per block; the names are the course's."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvf20.models.spec import Recorded


class Concatenate(nn.Module):
    """Join maps (N, C_i, *S) along the channels, the up-scaled one first."""

    def __init__(self, dim: int = 1):
        super().__init__()
        self.dim = dim

    def forward(self, *maps: Tensor) -> Tensor:
        return torch.cat(maps, dim=self.dim)


def skip_none_sequential(*layers: nn.Module | Mapping[str, nn.Module | None] | None) -> nn.Sequential:
    """nn.Sequential of layers, or of one mapping from names to layers, without those that are None."""
    if len(layers) == 1 and isinstance(layers[0], Mapping):
        return nn.Sequential(OrderedDict((name, layer) for name, layer in layers[0].items() if layer is not None))
    return nn.Sequential(*(layer for layer in layers if layer is not None))


def get_padding(kernel_size: int | Sequence[int], dilation: int | Sequence[int] = 1) -> int | tuple[int, ...]:
    """The padding with which a convolution of odd size keeps the map's; sequences hold one number per axis."""
    padding = np.multiply(dilation, np.floor_divide(kernel_size, 2)).tolist()
    return tuple(padding) if isinstance(padding, list) else padding


def fit_to(current: Tensor, size: torch.Size) -> Tensor:
    """Crop or zero-pad the end of every spatial axis of (N, C, *S) so that S equals `size`."""
    if current.shape[2:] == size:
        return current
    missing = [wanted - found for wanted, found in zip(size, current.shape[2:], strict=True)]
    return F.pad(current, [amount for m in reversed(missing) for amount in (0, m)])  # a negative amount crops


class EncoderDecoderSkeleton(Recorded, nn.Module):
    """Encoder and decoder of `depth` levels joined by skip connections; level 0 has the full resolution.

    A subclass says what the blocks are by re-implementing `construct_*_module` hooks; how they are wired never changes.
    Attributes that the hooks read are set before `super().__init__(depth)`. A down-scaling module may return a tuple
    `(map, *memory)`, e.g. a max-pool's indices; the up-scaling module of its level is called as `upsample(map, *memory)`.
    """

    def __init__(self, depth: int):
        super().__init__()
        self.depth = depth
        levels = range(depth)  # the modules are made in the course's order, so that its weights load by position
        self.initial_module = self.construct_input_module()
        self.encoder_modules = nn.ModuleList(self.construct_encoder_module(level) for level in levels)
        self.skip_modules = nn.ModuleList(self.construct_skip_module(level) for level in levels)
        self.downsampling_modules = nn.ModuleList(self.construct_downsampling_module(level) for level in levels)
        self.upsampling_modules = nn.ModuleList(self.construct_upsampling_module(level) for level in levels)
        self.decoder_modules = nn.ModuleList(self.construct_decoder_module(level) for level in levels)
        self.merge_modules = nn.ModuleList(self.construct_merge_module(level) for level in levels)
        self.base_module = self.construct_base_module()
        self.final_module = self.construct_output_module()

    def forward(self, x: Tensor) -> Tensor:
        current, skips, memories = self.initial_module(x), [], []
        for level in range(self.depth):
            current = self.encoder_modules[level](current)
            skips.append(self.skip_modules[level](current))
            current = self.downsampling_modules[level](current)
            current, *memory = current if isinstance(current, tuple) else (current,)
            memories.append(memory)
        current = self.base_module(current)
        for level in reversed(range(self.depth)):
            current = self.upsampling_modules[level](current, *memories[level])
            current = fit_to(current, skips[level].shape[2:])
            current = self.merge_modules[level](current, skips[level])
            current = self.decoder_modules[level](current)
        return self.final_module(current)

    def construct_nothing(self, depth: int | None = None) -> nn.Module:
        return nn.Identity()

    construct_input_module = construct_base_module = construct_output_module = construct_nothing
    construct_encoder_module = construct_skip_module = construct_nothing
    construct_downsampling_module = construct_upsampling_module = construct_nothing

    def construct_decoder_module(self, depth: int) -> nn.Module:
        return self.construct_encoder_module(depth)

    def construct_merge_module(self, depth: int) -> nn.Module:
        return Concatenate()
