"""Building blocks that `UNet` chooses among by name; all of them exist for 1, 2 and 3 spatial dimensions."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
DROPOUT = {1: nn.Dropout1d, 2: nn.Dropout2d, 3: nn.Dropout3d}
BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
LINEAR_MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}
ACTIVATIONS = {
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


def choice(argument: str, value, allowed: Sequence):
    """`value` if it is one of `allowed`, else a ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{argument}={value!r}: allowed are {', '.join(map(repr, allowed))}")
    return value


def norm_layer(norm_type: str | Callable[[int], nn.Module] | None, features: int, dim: int) -> nn.Module | None:
    """A normalisation of `features` channels from a name, a class or a callable; None for none.

    "group" uses the largest of 8, 4, 2, 1 groups that divides the features, "layer" one group (over C and space).
    """
    if norm_type is None or norm_type == "none":
        return None
    if isinstance(norm_type, nn.Module):
        return copy.deepcopy(norm_type)
    if callable(norm_type):
        return norm_type(features)
    by_name = {
        "batch": BATCH_NORM[dim],
        "instance": lambda f: INSTANCE_NORM[dim](f, affine=True),
        "group": lambda f: nn.GroupNorm(next(g for g in (8, 4, 2, 1) if f % g == 0), f),
        "layer": lambda f: nn.GroupNorm(1, f),
    }
    return by_name[choice("norm_type", norm_type, (*by_name, None))](features)


def activation_layer(
    activation: str | Callable[[], nn.Module] | None, argument: str = "activation"
) -> nn.Module | None:
    """A fresh activation module from a name, a class, an instance or a callable without arguments; None for none."""
    if activation is None:
        return None
    if isinstance(activation, str):
        name = activation.lower().replace("_", "")
        return ACTIVATIONS[choice(argument, name, (*ACTIVATIONS, None))]()
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)
    if not callable(activation):
        raise ValueError(
            f"{argument}={activation!r}: a class, an instance, a callable or one of {', '.join(ACTIVATIONS)} is wanted"
        )
    return activation()


class Sum(nn.Module):
    """Add two maps of the same shape (N, C, *S)."""

    def forward(self, upsampled: Tensor, skip: Tensor) -> Tensor:
        return upsampled + skip


class Residual(nn.Module):
    """block(x) + x; a 1×1 convolution adapts x where the channels differ (He et al. 2016)."""

    def __init__(self, block: nn.Module, f_in: int, f_out: int, dim: int = 2):
        super().__init__()
        self.block = block
        self.shortcut = nn.Identity() if f_in == f_out else CONV[dim](f_in, f_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + self.shortcut(x)


class Upsample(nn.Module):
    """Interpolate (N, C, *S) by a factor per axis: mode "nearest" or "linear" (bilinear in 2D, trilinear in 3D)."""

    def __init__(self, scale_factor: tuple[int, ...], mode: str):
        super().__init__()
        self.scale_factor = tuple(map(float, scale_factor))
        self.mode = mode if mode == "nearest" else LINEAR_MODE[len(scale_factor)]

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.scale_factor, mode=self.mode)

    def extra_repr(self) -> str:
        return f"scale_factor={self.scale_factor}, mode={self.mode!r}"


class AveragePool(nn.Module):
    """Mean over blocks; a block cut by the border takes the border's values, so sizes are rounded up."""

    def __init__(self, scale_factor: tuple[int, ...]):
        super().__init__()
        self.scale_factor = scale_factor

    def forward(self, x: Tensor) -> Tensor:
        missing = [-size % factor for size, factor in zip(x.shape[2:], self.scale_factor, strict=True)]
        padded = F.pad(x, [amount for m in reversed(missing) for amount in (0, m)], mode="replicate")
        return AVERAGE_POOL[len(missing)](padded, self.scale_factor)

    def extra_repr(self) -> str:
        return f"scale_factor={self.scale_factor}"


class IndexPool(nn.Module):
    """Max-pool that also returns where each maximum was, (pooled, indices, size of the input), for `IndexUnpool`."""

    def __init__(self, scale_factor: tuple[int, ...]):
        super().__init__()
        self.pool = MAX_POOL[len(scale_factor)](scale_factor, ceil_mode=True, return_indices=True)

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


class BlurPool(nn.Module):
    """Low-pass filter before sub-sampling, so that a shifted input gives a shifted output (Zhang 2019).

    The binomial kernel (1, 2, 1) / 4 per axis, edges replicated; sub-sampled by a factor per axis, rounding up.
    """

    def __init__(self, scale_factor: tuple[int, ...]):
        super().__init__()
        self.stride = scale_factor
        kernel = torch.ones(())
        for _ in scale_factor:
            kernel = kernel[..., None] * torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", kernel[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        dim = len(self.stride)
        padded = F.pad(x, (1, 1) * dim, mode="replicate")
        conv = (F.conv1d, F.conv2d, F.conv3d)[dim - 1]
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], *self.kernel.shape[1:])
        return conv(padded, kernel, stride=self.stride, groups=x.shape[1])

    def extra_repr(self) -> str:
        return f"stride={self.stride}"
