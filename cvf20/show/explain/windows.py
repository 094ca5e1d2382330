"""What an output position sees of the image: followed through the layers' geometry, and measured by a gradient."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cvf20.models.layers import IndexUnpool

Window = tuple[
    np.ndarray, np.ndarray
]  # along one axis: the first and last input pixel that each position of a map sees


class Follower(TorchDispatchMode):
    """While active, knows the windows of every tensor computed from x, one per axis of the image."""

    def __init__(self, x: Tensor):
        super().__init__()
        windows = [(np.arange(size), np.arange(size)) for size in x.shape[2:]]
        self._known = {id(x): (x, windows)}  # holds the tensors, so that ids stay theirs
        self.axes = len(windows)

    def windows(self, tensor: Tensor) -> list[Window]:
        return self._known[id(tensor)][1] if id(tensor) in self._known else []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name, sources = func._schema.name, list(filter(None, map(self.windows, tree_leaves(args))))
        known = zip(func._schema.arguments, args, strict=False)
        given = {a.name: a.default_value for a in func._schema.arguments} | {a.name: value for a, value in known}
        for tensor in tree_leaves(out):
            if sources and isinstance(tensor, Tensor) and name.startswith("aten::"):
                sizes = [len(first) for first, _ in sources[0]]  # of a map whose axes are folded into one
                if tensor.dim() <= 2:
                    sizes = [1] * self.axes  # a vector sees all that its map saw
                elif tensor.dim() >= 2 + self.axes:
                    sizes = tensor.shape[-self.axes :]
                axes = zip(range(-self.axes, 0), sizes, *sources, strict=True)
                self._known[id(tensor)] = tensor, [follow(name[6:], given, *each) for each in axes]
        return out


def follow(name: str, given: dict, axis: int, size: int, *windows: Window) -> Window:
    """What an operator's `size` outputs along an axis see together of maps with these windows."""
    firsts, lasts = [], []
    for first, last in windows:
        low, high = reads(name, given, axis, len(first), size)
        firsts.append(first.take(low, mode="clip"))
        lasts.append(last.take(high, mode="clip"))
    return np.min(firsts, axis=0), np.max(lasts, axis=0)


def reads(name: str, given: dict, axis: int, before: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and last of `before` positions that each of an operator's `size` outputs reads.

    given: its arguments by name; axis: counted from the last, -1. Where padding is read the positions lie outside.
    """
    i = np.arange(size)
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
        i = (given["start"] or 0) % before + i * given["step"]
        return i, i
    if "_pad" in name:
        pad = given.get("pad") or given["padding"]
        i = i - (pad[-2 * axis - 2] if len(pad) >= -2 * axis else 0)
        return i, i
    # In proportion: position by position, nearest up-scaling, unpooling, broadcasting, folding, adaptive and global pools
    low, high = i * before // size, -(-(i + 1) * before // size) - 1
    return low, high if size < before else low


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
