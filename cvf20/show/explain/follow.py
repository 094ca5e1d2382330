"""Follows receptive fields through the operators of a running network."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce
from math import ceil, floor

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PERIOD = 2**7 * 3**3 * 5 * 7  # a multiple of how often any window's pattern repeats
POOLS = ("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d")
LINEAR = ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
NEAREST = ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
GLOBAL = ("mm", "addmm", "bmm", "mean", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
VIEWS = ("view", "_unsafe_view", "expand", "alias", "detach", "clone", "_to_copy", "split", "split_with_sizes")
MOVED = ("flip", "roll", "cumsum", "sort", "permute", "transpose", "t", "index", "gather")


@dataclass(frozen=True)
class Window:
    """Along one axis: positions a … b of a map see the input positions `base(a·step + low, b·step + high)`, first and last.

    base is known of an up-scaling and the like, the rest is the textbook's recursion. Borders do not count.
    """

    base: Callable[[int, int], tuple[float, float]] = lambda a, b: (a, b)
    step: int = 1
    low: int = 0
    high: int = 0

    def __call__(self, a: int, b: int) -> tuple[float, float]:
        return self.base(a * self.step + self.low, b * self.step + self.high)

    @property
    def jump(self) -> Fraction:
        """Input positions from one position to the next, the stride of the map; 0 after a global layer."""
        return Fraction(int(self(PERIOD, PERIOD)[0] - self(0, 0)[0]), PERIOD)

    @property
    def size(self) -> int:
        """The receptive field where most is seen: after an up-scaling neighbouring positions see differently much."""
        return int(max(0, *(last - first + 1 for first, last in map(self, range(128), range(128)))))

    def sliding(self, kernel: int, stride: int, padding: int, dilation: int) -> "Window":
        """The textbook: the size grows by (kernel − 1)·dilation·jump, then the jump by the factor stride."""
        grown = self.high + (dilation * (kernel - 1) - padding) * self.step
        return Window(self.base, self.step * stride, self.low - padding * self.step, grown)

    def transposed(self, kernel: int, stride: int, padding: int, dilation: int) -> "Window":
        """The positions i with i·stride − padding + dilation·t between a and b for a t of the kernel."""
        reach = dilation * (kernel - 1) - padding
        return Window(cache(lambda a, b: self(-((reach - a) // stride), (b + padding) // stride)))

    def scaled(self, ratio: Fraction, shift: Fraction = Fraction(0), up: Callable = floor) -> "Window":
        """Interpolated, ratio = input size / output size; linear: shift ½ (pixel centres), up = ceil."""
        return Window(cache(lambda a, b: self(floor((a + shift) * ratio - shift), up((b + shift) * ratio - shift))))

    def joined(self, other: "Window") -> "Window | None":
        """What two maps see together; None where their positions do not correspond."""
        if (self.base, self.step) == (other.base, other.step):
            return Window(self.base, self.step, min(self.low, other.low), max(self.high, other.high))
        if self.jump != other.jump:
            return self if self.jump == 0 else other if other.jump == 0 else None
        ends = lambda a, b: zip(self(a, b), other(a, b), strict=True)  # noqa: E731
        return Window(cache(lambda a, b: tuple(f(pair) for f, pair in zip((min, max), ends(a, b), strict=True))))

    def everything(self, size: int, pixels: int) -> "Window":
        """After what reads the whole map (a mean, a full matrix), inside an input of `pixels`."""
        first, last = self(0, size - 1)
        return Window(lambda a, b: (max(0, first), min(pixels - 1, last)))


class Follower(TorchDispatchMode):
    """While active, knows of every tensor the windows per axis (none after an operator without a rule) and the size."""

    def __init__(self, x: Tensor):
        super().__init__()
        self.input_shape, self.unknown = tuple(x.shape[2:]), ""  # unknown: the first operator without a rule
        field = (Window(),) * len(self.input_shape), self.input_shape
        self._known = {id(x): (x, field)}  # holds the tensors, so that ids stay theirs

    def windows(self, tensor: Tensor) -> tuple[Window, ...]:
        return self._known[id(tensor)][1][0] if id(tensor) in self._known else ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        fields = [self._known[id(value)][1] for value in tree_leaves(args) if id(value) in self._known]
        outputs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        name = func._schema.name.removeprefix("aten::")
        if fields and outputs and not name.startswith("new_") and not name.endswith("_like"):
            shape = tuple(outputs[0].shape[2:])
            windows = all(known for known, _ in fields) and self._windows(name, args, fields, outputs[0], shape)
            if not windows or None in windows:
                windows, self.unknown = (), self.unknown or func._schema.name
            if name in VIEWS and len(shape) != len(windows) or name == "scatter":
                shape = fields[0][1]  # the same positions in another arrangement
            self._known |= {id(tensor): (tensor, (tuple(windows), shape)) for tensor in outputs}
        return out

    def _windows(self, name: str, args: tuple, fields: list[tuple], out: Tensor, shape: tuple[int, ...]):
        """Per axis; None, or None among them, where there is no rule."""
        windows, before = fields[0]
        if name == "convolution" or name in POOLS:
            rule = Window.transposed if name == "convolution" and args[6] else Window.sliding
            given = (
                (args[1].shape[2:], *args[3:6]) if name == "convolution" else (*args[1:], *((), 0, 1)[len(args) - 2 :])
            )
            kernel, stride, padding, dilation = given[:4]
            geometry = kernel, stride or kernel, padding, 1 if name.startswith("avg") else dilation
            per_axis = [([v] if isinstance(v, int) else list(v)) for v in geometry]
            per_axis = [values * len(shape) if len(values) == 1 else values for values in per_axis]
            return [rule(w, *each) for w, *each in zip(windows, *per_axis, strict=True)]
        if name in LINEAR + NEAREST and not (name in LINEAR and args[2]):  # align_corners
            how = (Fraction(1, 2), ceil) if name in LINEAR else ()
            return [w.scaled(Fraction(a, b), *how) for w, a, b in zip(windows, before, shape, strict=True)]
        if name == "pixel_shuffle":
            return [w.scaled(Fraction(1, args[1])) for w in windows]
        if name == "pixel_unshuffle":
            return [w.sliding(args[1], args[1], 0, 1) for w in windows]
        if name.endswith("pad_nd") or name.startswith(("reflection_pad", "replication_pad")):
            first = [0] * (len(shape) - len(args[1]) // 2) + list(args[1])[::2][::-1]
            return [w.sliding(1, 1, padding, 1) for w, padding in zip(windows, first, strict=True)]
        if name == "slice":
            axis, start, _, step = *args[1:5], *(0, 0, None, 1)[len(args) - 1 :]
            start = (start or 0) % args[0].shape[axis]
            return [w.sliding(1, step, -start, 1) if i == axis - 2 else w for i, w in enumerate(windows)]
        if name in ("unsqueeze", "squeeze") and out.dim() > 2:  # 1D pools run as 2D ones
            axis, windows = args[1] % max(out.dim(), args[0].dim()) - 2, list(windows)
            windows.insert(axis, Window(step=0)) if name == "unsqueeze" else windows.pop(axis)
            return windows
        if name in GLOBAL and all(size == 1 for size in shape):
            return [
                w.everything(*each)
                for w, *each in zip(windows, before or self.input_shape, self.input_shape, strict=True)
            ]
        if name.startswith("max_unpool") or (name in VIEWS and len(shape) == len(before) and shape > before):
            return [w.scaled(Fraction(1, ceil(b / a))) for w, a, b in zip(windows, before, shape, strict=True)]
        if name in VIEWS or name == "scatter":  # scatter: of a pool's maxima to where they were
            return fields[-1][0]
        if name not in MOVED and any(known == shape for _, known in fields):
            return [
                reduce(lambda a, b: a and b and a.joined(b), each)
                for each in zip(*(known for known, _ in fields), strict=True)
            ]
        return None
