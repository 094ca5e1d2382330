"""Follows receptive fields and multiply-adds through the operators of a running network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cvf20.show.explain.window import Window, linear_taps, nearest_taps, strided_taps, transposed_taps


@dataclass(frozen=True)
class Field:
    """What the positions of one map see: a window per axis, and the spatial shape of the map they belong to."""

    windows: tuple[Window, ...]
    shape: tuple[int, ...]
    source: int = -1  # index of the block that made the map, −1 for the input
    pool: tuple = ()  # kernel, stride, padding, dilation and input shape of the pool whose indices these are


class FieldTracker(TorchDispatchMode):
    """While active, follows every tensor's Field through the operators and counts multiply-adds.

    Normalisation statistics and padding values are left out of receptive fields, as is usual.
    Raises ValueError at an operator that moves positions in a way this class has no rule for.
    """

    def __init__(self, x: Tensor):
        super().__init__()
        self.input_shape = tuple(x.shape[2:])
        self._fields = {id(x): (x, Field((Window(),) * len(self.input_shape), self.input_shape))}  # keeps ids alive
        self.multiply_adds = 0
        self.joined: Callable[[set[int]], None] = lambda sources: None  # told which blocks' maps an operator joins

    def field(self, value) -> Field | None:
        return self._fields.get(id(value), (None, None))[1]

    def mark(self, tensor: Tensor, **changes) -> None:
        self._fields[id(tensor)] = (tensor, replace(self.field(tensor), **changes))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves(args) if isinstance(t, Tensor)]
        fields = [field for field in map(self.field, tensors) if field is not None]
        outputs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        name = func._schema.name.removeprefix("aten::")
        self.multiply_adds += count_multiply_adds(name, args, outputs)
        if fields and outputs and not name.startswith(("new_", "zeros_like", "ones_like", "empty_like")):
            result = self._follow(name, args, fields, tensors, outputs[0])
            for tensor in outputs:
                self._fields[id(tensor)] = (tensor, result)
        return out

    def _follow(self, name: str, args: tuple, fields: list[Field], tensors: list[Tensor], out: Tensor) -> Field:
        field, shape = fields[0], tuple(out.shape[2:])
        if name == "convolution":
            _, weight, _, stride, padding, dilation, transposed = args[:7]
            taps = transposed_taps if transposed else strided_taps
            return self._sliding(field, shape, taps, weight.shape[2:], stride, padding, dilation)
        if name in ("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d"):
            kernel, stride, padding, dilation = pool_geometry(name, args, len(shape))
            pool = (kernel, stride, padding, dilation, field.shape) if name.startswith("max") else ()
            return replace(self._sliding(field, shape, strided_taps, kernel, stride, padding, dilation), pool=pool)
        if name in ("scatter", "max_unpool2d", "max_unpool3d"):
            values, indices = (args[3], args[2]) if name == "scatter" else args[:2]
            if self.field(indices) is None or not self.field(indices).pool:
                raise ValueError(f"aten::{name} without the indices of a max-pool has no receptive-field rule")
            *geometry, before = self.field(indices).pool
            return self._sliding(self.field(values), before, transposed_taps, *geometry)
        if name.startswith(("upsample_nearest", "upsample_linear", "upsample_bilinear", "upsample_trilinear")):
            nearest = name.startswith("upsample_nearest")
            if not nearest and args[2]:
                raise ValueError("interpolation with align_corners=True has no receptive-field rule")
            ratios = [Fraction(a, b) for a, b in zip(field.shape, shape, strict=True)]
            taps = nearest_taps if nearest else linear_taps
            return self._mapped(field, shape, [(taps(r), r.denominator, r.numerator) for r in ratios])
        if name.endswith("pad_nd") or name.startswith(("reflection_pad", "replication_pad")):
            before = [0] * (len(shape) - len(args[1]) // 2) + list(args[1])[::2][::-1]
            return self._mapped(field, shape, [(lambda o, b=b: [o - b], 1, 1) for b in before])
        if name == "slice":
            axis, start = (args[1] if len(args) > 1 else 0) - 2, (args[2] if len(args) > 2 else 0) or 0
            step = args[4] if len(args) > 4 else 1
            start += tensors[0].shape[axis + 2] if start < 0 else 0
            cut = {axis: (lambda o: [start + o * step], 1, step)}
            return self._mapped(field, shape, [cut.get(i, (lambda o: [o], 1, 1)) for i in range(len(shape))])
        if name in ("unsqueeze", "squeeze") and out.dim() > 2:  # 1D pools run as 2D ones
            axis = (args[1] % max(out.dim(), tensors[0].dim())) - 2
            windows = list(field.windows)
            windows.insert(axis, Window(step=0)) if name == "unsqueeze" else windows.pop(axis)
            return replace(field, windows=tuple(windows), shape=shape)
        if name in ("mm", "addmm", "bmm", "mean", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"):
            if any(size > 1 for size in shape):
                raise ValueError(f"aten::{name} that keeps positions has no receptive-field rule")
            return self._collapsed(field, shape)
        if name in ("view", "_unsafe_view", "expand", "alias", "detach", "clone"):
            return field  # the same positions in another arrangement
        if any(t.shape == out.shape for t in tensors) or name in ("cat", "split") and field.shape == shape:
            return self._joined(fields)
        raise ValueError(f"aten::{name} has no receptive-field rule")

    def _mapped(self, field: Field, shape: tuple[int, ...], per_axis: list[tuple]) -> Field:
        windows = tuple(window.through(*rule) for window, rule in zip(field.windows, per_axis, strict=True))
        return replace(field, windows=windows, shape=shape, pool=())

    def _sliding(self, field: Field, shape, taps, kernel, stride, padding, dilation) -> Field:
        rules = []
        for k, s, p, d in zip(*(per_axis(v, len(shape)) for v in (kernel, stride, padding, dilation)), strict=True):
            rules.append((taps(k, s, p, d), *((s, 1) if taps is transposed_taps else (1, s))))
        return self._mapped(field, shape, rules)

    def _collapsed(self, field: Field, shape: tuple[int, ...]) -> Field:
        sizes = zip(field.windows, field.shape, self.input_shape, strict=True) if field.shape else ()
        windows = tuple(window.collapse(size, whole) for window, size, whole in sizes) or field.windows
        return replace(field, windows=windows, shape=shape, pool=())

    def _joined(self, fields: list[Field]) -> Field:
        sources = {field.source for field in fields}
        if len(sources) > 1:
            self.joined(sources)
        windows = fields[0].windows
        for field in fields[1:]:
            windows = tuple(a.union(b) for a, b in zip(windows, field.windows, strict=True))
        return replace(fields[0], windows=windows, source=max(sources))


def per_axis(value, axes: int) -> list[int]:
    """aten's lists of geometry: one number stands for all axes."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def pool_geometry(name: str, args: tuple, axes: int) -> tuple:
    """Kernel, stride, padding and dilation of an aten pool; an empty stride means the kernel."""
    kernel = args[1]
    stride = args[2] if len(args) > 2 and args[2] else kernel
    padding = args[3] if len(args) > 3 else 0
    dilation = args[4] if len(args) > 4 and name.startswith("max") else 1
    return tuple(per_axis(v, axes) for v in (kernel, stride, padding, dilation))


def count_multiply_adds(name: str, args: tuple, outputs: list[Tensor]) -> int:
    """Multiply-adds of one aten operator; only convolutions and matrix products count."""
    if name == "convolution":
        weight, transposed = args[1], args[6]
        return (args[0] if transposed else outputs[0]).numel() * prod(weight.shape[1:])
    if name in ("mm", "bmm", "addmm"):
        left = args[1] if name == "addmm" else args[0]
        return outputs[0].numel() * left.shape[-1]
    return 0
