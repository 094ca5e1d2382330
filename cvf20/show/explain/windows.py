"""What an output position sees: of an unbounded image by the operators' geometry, of a real one by a gradient."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cvf20.models.layers import IndexUnpool

OUTSIDE = 4096  # positions on each side of a map that are followed, too
Window = tuple[np.ndarray, np.ndarray]  # along an axis: first and last pixel seen from −OUTSIDE, …, size + OUTSIDE − 1


class Sight(NamedTuple):
    position: int  # of an output that sees most along an axis, the one in the middle
    size: int  # number of pixels that it sees
    is_all: bool  # it sees all of any image, however large; size is that of this one


class Follower(TorchDispatchMode):
    """While active, knows the windows of every tensor computed from x, per axis of the image, as if that had no end."""

    def __init__(self, x: Tensor):
        super().__init__()
        self.sides = x.shape[2:]
        windows = [(np.arange(-OUTSIDE, side + OUTSIDE),) * 2 for side in self.sides]
        self._known = {id(x): (x, windows)}  # holds the tensors, so that ids stay theirs

    def windows(self, tensor: Tensor) -> list[Window]:
        return self._known[id(tensor)][1] if id(tensor) in self._known else []

    def sights(self, tensor: Tensor) -> list[Sight]:
        found = []
        for (first, last), side in zip(self.windows(tensor), self.sides, strict=False):
            sizes = (last - first + 1)[OUTSIDE:-OUTSIDE]
            i = np.lexsort([-abs(np.arange(len(sizes)) - len(sizes) // 2), sizes])[-1]
            is_all = sizes[i] > OUTSIDE
            found.append(Sight(int(i), side if is_all else int(sizes[i]), bool(is_all)))
        return found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name, sources = func._schema.name, list(filter(None, map(self.windows, tree_leaves(args))))
        known = zip(func._schema.arguments, args, strict=False)
        given = {a.name: a.default_value for a in func._schema.arguments} | {a.name: value for a, value in known}
        axes, followed = len(self.sides), sources and name.startswith("aten::")
        for tensor in [leaf for leaf in tree_leaves(out) if followed and isinstance(leaf, Tensor)]:
            kind, sizes = name[6:], [len(first) - 2 * OUTSIDE for first, _ in sources[0]]  # as when axes are folded
            if tensor.dim() <= 2:
                kind, sizes = "vector", [1] * axes
            elif tensor.dim() >= 2 + axes:
                sizes = tensor.shape[-axes:]
            each = zip(range(-axes, 0), sizes, *sources, strict=True)
            self._known[id(tensor)] = tensor, [follow(kind, given, *axis) for axis in each]
        return out


def follow(name: str, given: dict, axis: int, size: int, *windows: Window) -> Window:
    """What an operator's `size` outputs along an axis see together of maps with these windows."""
    read = [reads(name, given, axis, len(first) - 2 * OUTSIDE, size) for first, _ in windows]
    firsts = [first.take(low + OUTSIDE, mode="clip") for (first, _), (low, _) in zip(windows, read, strict=True)]
    lasts = [last.take(high + OUTSIDE, mode="clip") for (_, last), (_, high) in zip(windows, read, strict=True)]
    return np.min(firsts, axis=0), np.max(lasts, axis=0)


def reads(name: str, given: dict, axis: int, before: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and last of `before` positions that each of an operator's `size` outputs reads; some lie outside."""
    i = np.arange(-OUTSIDE, size + OUTSIDE)
    if name.startswith(("convolution", "max_pool", "avg_pool")):
        kernel = given["kernel_size"] if "kernel_size" in given else given["weight"].shape[2:]
        sizes = kernel, given["stride"] or kernel, given["padding"], given.get("dilation", 1)
        kernel, stride, padding, dilation = (v if isinstance(v, int) else v[axis] for v in sizes)
        reach = dilation * (kernel - 1)
        if given.get("transposed"):  # the j with i = j·stride − padding + dilation·t
            return -((reach - padding - i) // stride), (i + padding) // stride
        return i * stride - padding, i * stride - padding + reach
    if name.endswith(("linear1d", "linear2d", "linear3d")):  # pixel centres: (i + ½)·before / size − ½
        centre = (2 * i + 1) * before - size
        return centre // (2 * size), -(-centre // (2 * size))
    if name == "slice" and given["dim"] % given["self"].dim() - given["self"].dim() == axis:
        return ((given["start"] or 0) % before + i * given["step"],) * 2
    if "_pad" in name:
        pad = given.get("pad") or given["padding"]
        return (i - (pad[-2 * axis - 2] if len(pad) >= -2 * axis else 0),) * 2
    if name == "vector" or size == 1 < before:  # a flattening, a global mean
        return 0 * i - OUTSIDE, 0 * i + before - 1 + OUTSIDE
    # In proportion: position by position, up-scaling, unpooling, broadcasting, folding, adaptive pools
    factor = -(-size // before)
    if -(-size // factor) == before:  # as after a pool that rounded up
        return (i // factor,) * 2
    return i * before // size, -(-(i + 1) * before // size) - 1 if size < before else i * before // size


def gradient_extent(model: nn.Module, shape: Sequence[int], axis: int, position: int) -> int:
    """Pixels along an axis over which the gradient of an output at `position`, else in the middle, is not zero.

    It is taken on a copy that shows which pixels are connected and nothing else: every weight is positive, a maximum
    becomes a mean, unpooling copies; normalisation is left out, as its statistics see the whole map.
    """
    probe = copy.deepcopy(model).to("cpu", torch.float64).eval().requires_grad_(False)
    for module in probe.modules():
        if isinstance(module, IndexUnpool):
            module.register_forward_hook(lambda module, args, out: F.interpolate(args[0], size=out.shape[2:]))
    for weight in probe.parameters():
        weight.fill_(len(weight) / weight.numel() if weight.dim() > 1 else 0)
    x = torch.full((1, *shape), 0.5, dtype=torch.float64, requires_grad=True)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), Connectivity():
        out = tree_leaves(probe(x))[0]
    place = [position if i == axis else size // 2 for i, size in enumerate(out.shape[2:])]
    (gradient,) = torch.autograd.grad(out[0, :, *place].sum(), x)
    places = (gradient[0] != 0).transpose(0, 1 + axis).flatten(1).any(1).nonzero()
    return int(places.max() - places.min()) + 1


class Connectivity(TorchFunctionMode):
    """While active, normalisations do nothing and pools take means, in modules and in functional calls alike."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, out = getattr(func, "__name__", ""), func(*args, **(kwargs or {}))
        if name.startswith("max_pool"):
            pooled = mean_pool(*args, **(kwargs or {}))
            return (pooled, out[1]) if isinstance(out, tuple) else pooled
        return args[0] if name.endswith(("_norm", "softmax")) else out


def mean_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False) -> Tensor:
    return getattr(F, f"avg_pool{x.dim() - 2}d")(x, kernel_size, stride, padding, ceil_mode)
