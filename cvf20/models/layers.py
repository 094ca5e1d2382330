"""Building blocks that `UNet` chooses among by name; all of them exist for 1, 2 and 3 spatial dimensions."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

LINEAR_MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}
ACTIVATIONS = {
    layer.__name__.lower(): layer
    for layer in (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh)
}
Layer = str | nn.Module | Callable[..., nn.Module | None] | None  # a name, an instance, a class or a callable


def of_dim(kind: str, dim: int) -> type[nn.Module]:
    """torch.nn's layer for `dim` spatial dimensions: of_dim("Conv", 2) is nn.Conv2d."""
    return getattr(nn, f"{kind}{dim}d")


def choice(argument: str, value, allowed: Sequence):
    """`value` if it is one of `allowed`, else a ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{argument}={value!r}: allowed are {', '.join(map(repr, allowed))}")
    return value


def make_layer(argument: str, layer: Layer, by_name: dict[str, Callable], *arguments) -> nn.Module | None:
    """A fresh layer from a name, a class or a callable, which are given the arguments, or an instance, which is copied."""
    if isinstance(layer, str):
        layer = by_name[choice(argument, layer.lower().replace("_", ""), (*by_name, None))]
    if layer is None or isinstance(layer, nn.Module):
        return copy.deepcopy(layer)
    if not callable(layer):
        names = ", ".join(by_name)
        raise ValueError(f"{argument}={layer!r}: a class, an instance, a callable or one of {names} is wanted")
    return layer(*arguments)


def norm_layer(norm_type: Layer, features: int, dim: int = 2) -> nn.Module | None:
    """A normalisation of `features` channels.

    "group" uses the largest of 8, 4, 2, 1 groups that divides the features, "layer" one group (over C and space).
    """
    by_name = {
        "batch": of_dim("BatchNorm", dim),
        "instance": partial(of_dim("InstanceNorm", dim), affine=True),
        "group": lambda f: nn.GroupNorm(next(g for g in (8, 4, 2, 1) if f % g == 0), f),
        "layer": partial(nn.GroupNorm, 1),
    }
    return make_layer("norm_type", norm_type, by_name, features)


def activation_layer(activation: Layer, argument: str = "activation") -> nn.Module | None:
    return make_layer(argument, activation, ACTIVATIONS)


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
        dim = len(first.kernel_size)
        self.shortcut = nn.Identity() if same else of_dim("Conv", dim)(first.in_channels, last.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + self.shortcut(x)


class AveragePool(nn.Module):
    """Mean over blocks; a block cut by the border takes the border's values, so sizes are rounded up."""

    def __init__(self, scale_factor: tuple[int, ...]):
        super().__init__()
        self.scale_factor, self.pool = scale_factor, of_dim("AvgPool", len(scale_factor))(scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        missing = [-size % factor for size, factor in zip(x.shape[2:], self.scale_factor, strict=True)]
        return self.pool(F.pad(x, [amount for m in reversed(missing) for amount in (0, m)], mode="replicate"))


class IndexPool(nn.Module):
    """Max-pool that also returns where each maximum was, (pooled, indices, size of the input), for `IndexUnpool`."""

    def __init__(self, scale_factor: tuple[int, ...]):
        super().__init__()
        pool = of_dim("MaxPool", len(scale_factor))
        self.pool = pool(scale_factor, ceil_mode=True, return_indices=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, torch.Size]:
        pooled, indices = self.pool(x)
        return pooled, indices, x.shape[2:]


class IndexUnpool(nn.Module):
    """Put every value back where the encoder's maximum was, zeros elsewhere (SegNet, Badrinarayanan et al. 2017).

    The scatter, unlike `max_unpool2d`, also runs under `torch.use_deterministic_algorithms(True)`.
    """

    def forward(self, x: Tensor, indices: Tensor, size: torch.Size) -> Tensor:
        if x.shape != indices.shape:
            raise ValueError(
                f"index unpooling needs the map and the indices of its pool in one shape; the map has {tuple(x.shape)}, "
                f"the indices {tuple(indices.shape)}"
            )
        flat = x.new_zeros(*x.shape[:2], size.numel())
        return flat.scatter(2, indices.flatten(2), x.flatten(2)).unflatten(2, size)
