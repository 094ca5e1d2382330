"""Building blocks that `UNet` chooses among by name; all of them exist for 1, 2 and 3 spatial dimensions."""

import copy
from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

_ACTIVATIONS = nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh
ACTIVATIONS = {layer.__name__.lower(): layer for layer in _ACTIVATIONS}
Layer = str | nn.Module | Callable[..., nn.Module | None] | None  # a name, an instance, a class or a callable


def of_dim(kind: str, dim: int) -> type[nn.Module]:
    """of_dim("Conv", 2) is nn.Conv2d."""
    return getattr(nn, f"{kind}{dim}d")


def choice(argument: str, value, allowed: Collection):
    """`value` if it is one of `allowed`, else a ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{argument}={value!r}: allowed are {', '.join(map(repr, allowed))}")
    return value


def make_layer(argument: str, layer: Layer, by_name: dict[str, Callable], *arguments) -> nn.Module | None:
    """A fresh layer from a name, a class or a callable, which are given the arguments, or an instance, which is copied."""
    if isinstance(layer, str):
        layer = by_name[choice(argument, layer.lower(), by_name)]
    return copy.deepcopy(layer) if layer is None or isinstance(layer, nn.Module) else layer(*arguments)


def norm_layer(norm_type: Layer, features: int, dim: int = 2) -> nn.Module | None:
    """A normalisation of `features` channels; "group" uses the largest of 8, 4, 2, 1 groups that divides them."""
    by_name = {
        "batch": of_dim("BatchNorm", dim),
        "instance": partial(of_dim("InstanceNorm", dim), affine=True),
        "group": lambda f: nn.GroupNorm(next(g for g in (8, 4, 2, 1) if f % g == 0), f),
        "layer": partial(nn.GroupNorm, 1),  # over channels and space
    }
    return make_layer("norm_type", norm_type, by_name, features)


class Sum(nn.Module):
    """Add two maps of the same shape (N, C, *S)."""

    def forward(self, upsampled: Tensor, skip: Tensor) -> Tensor:
        return upsampled + skip


class Residual(nn.Module):
    """block(x) + x; a 1×1 convolution adapts x where the block changes the channels (He et al. 2016)."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block
        first, *_, last = [layer for layer in block.modules() if isinstance(layer, _ConvNd)] * 2
        same = first.in_channels == last.out_channels
        conv = of_dim("Conv", len(first.kernel_size))
        self.shortcut = nn.Identity() if same else conv(first.in_channels, last.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + self.shortcut(x)


class IndexPool(nn.Module):
    """Max-pool that also returns where each maximum was, (pooled, indices, size of the input), for `IndexUnpool`."""

    def __init__(self, scale_factor: tuple[int, ...]):
        super().__init__()
        self.pool = of_dim("MaxPool", len(scale_factor))(scale_factor, ceil_mode=True, return_indices=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, torch.Size]:
        pooled, indices = self.pool(x)
        return pooled, indices, x.shape[2:]


class IndexUnpool(nn.Module):
    """Put every value back where the encoder's maximum was, zeros elsewhere (SegNet, Badrinarayanan et al. 2017)."""

    def forward(self, x: Tensor, indices: Tensor, size: torch.Size) -> Tensor:
        flat = x.new_zeros(*x.shape[:2], size.numel())  # unlike max_unpool2d, a scatter can be deterministic
        return flat.scatter(2, indices.flatten(2), x.flatten(2)).unflatten(2, size)
