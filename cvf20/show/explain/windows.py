"""What an output position sees of the image: followed through the layers' geometry, and measured by a gradient."""

import copy
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cvf20.models.layers import IndexUnpool


class Window(NamedTuple):
    """Along one axis: the first and last input pixel that each position of a map sees, (S,) each, and the map's stride."""

    first: np.ndarray
    last: np.ndarray
    jump: Fraction


class Follower(TorchDispatchMode):
    """While active, knows the windows of every tensor computed from x, one per axis of the image."""

    def __init__(self, x: Tensor):
        super().__init__()
        windows = [Window(np.arange(size), np.arange(size), Fraction(1)) for size in x.shape[2:]]
        self._known = {id(x): (x, windows)}  # holds the tensors, so that ids stay theirs
        self.axes = len(windows)

    def windows(self, tensor: Tensor) -> list[Window]:
        return self._known[id(tensor)][1] if id(tensor) in self._known else []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name, sources = func._schema.name, list(filter(None, map(self.windows, tree_leaves(args))))
        for tensor in tree_leaves(out):
            if sources and isinstance(tensor, Tensor) and name.startswith("aten::"):
                sizes = [len(window.first) for window in sources[0]]  # of a map whose axes are folded into one
                if tensor.dim() <= 2:
                    sizes = [1] * self.axes  # a vector sees all that its map saw
                elif tensor.dim() >= 2 + self.axes:
                    sizes = tensor.shape[-self.axes :]
                axes = zip(range(-self.axes, 0), sizes, *sources, strict=True)
                self._known[id(tensor)] = tensor, [follow(name[6:], args, *each) for each in axes]
        return out


def follow(name: str, args: tuple, axis: int, size: int, *windows: Window) -> Window:
    """What an operator's `size` outputs see together of maps with these windows."""
    found = [(window, *reads(name, args, axis, len(window.first), size)) for window in windows]
    first = [np.take(window.first, low, mode="clip") for window, low, _, _ in found]
    last = [np.take(window.last, high, mode="clip") for window, _, high, _ in found]
    return Window(np.min(first, axis=0), np.max(last, axis=0), max(window.jump * step for window, _, _, step in found))


def reads(name: str, args: tuple, axis: int, before: int, size: int) -> tuple[np.ndarray, np.ndarray, Fraction]:
    """The first and last of `before` positions that each of an operator's `size` outputs reads, and its stride.

    axis: counted from the last, -1. Where padding is read the positions lie outside.
    """
    i = np.arange(size)
    if name == "convolution" or name.startswith(("max_pool", "avg_pool")):
        given = (args[1].shape[2:], *args[3:6]) if name == "convolution" else (*args[1:], *((), 0, 1)[len(args) - 2 :])
        given = given[0], given[1] or given[0], given[2], 1 if name.startswith("avg") else given[3]
        kernel, stride, padding, dilation = (int(np.atleast_1d(value)[axis % np.size(value)]) for value in given)
        reach = dilation * (kernel - 1)
        if name == "convolution" and args[6]:  # transposed: the j with i = j·stride − padding + dilation·t
            return -((reach - padding - i) // stride), (i + padding) // stride, Fraction(1, stride)
        return i * stride - padding, i * stride - padding + reach, Fraction(stride)
    if name.endswith(("linear1d", "linear2d", "linear3d")):  # pixel centres: (i + ½)·before / size − ½
        centre = (2 * i + 1) * before - size
        return centre // (2 * size), -(-centre // (2 * size)), Fraction(before, size)
    if name == "slice" and args[1] % args[0].dim() - args[0].dim() == axis:
        step = args[4] if len(args) > 4 else 1
        at = (args[2] or 0) % before + i * step
        return at, at, Fraction(step)
    if "_pad" in name:
        at = i - (args[1][-2 * axis - 2] if len(args[1]) >= -2 * axis else 0)
        return at, at, Fraction(1)
    # In proportion: position by position, nearest up-scaling, unpooling, broadcasting, folding, adaptive and global pools
    low, high = i * before // size, -(-(i + 1) * before // size) - 1
    return low, high if size < before else low, Fraction(before, size) if size > 1 else Fraction(0)


def gradient_extent(model: nn.Module, input_shape: Sequence[int], position: Sequence[int]) -> list[tuple[int, int]]:
    """First and last input position per axis where the gradient of the output at `position` is not zero.

    It is taken on a copy that shows which pixels are connected and nothing else: every weight is positive, a maximum
    becomes a mean, unpooling copies; normalisation is left out, as its statistics see the whole map.
    """
    probe = copy.deepcopy(model).to("cpu", torch.float64).eval().requires_grad_(False)
    for module in probe.modules():
        if isinstance(module, IndexUnpool):
            module.register_forward_hook(lambda module, args, out: F.interpolate(args[0], size=out.shape[2:]))
    for weight in probe.parameters():
        weight.fill_(len(weight) / weight.numel() if weight.dim() > 1 else 0)
    x = torch.full((1, *input_shape), 0.5, dtype=torch.float64, requires_grad=True)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), Connectivity():
        out = tree_leaves(probe(x))[0]
    seen = out[(0, slice(None), *position)] if out.dim() > 2 else out
    (gradient,) = torch.autograd.grad(seen.sum(), x)
    places = (gradient[0] != 0).any(dim=0).nonzero()
    return [(int(a), int(b)) for a, b in zip(places.amin(0), places.amax(0), strict=True)]


class Connectivity(TorchFunctionMode):
    """While active, normalisations do nothing and pools take means, in modules and in functional calls alike."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name.endswith(("_norm", "softmax")):
            return args[0]
        out = func(*args, **kwargs)
        if not name.startswith("max_pool"):
            return out
        pooled = self._mean(*args, **kwargs)
        return (pooled, out[1]) if isinstance(out, tuple) else pooled

    @staticmethod
    def _mean(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False) -> Tensor:
        return getattr(F, f"avg_pool{x.dim() - 2}d")(x, kernel_size, stride, padding, ceil_mode)
