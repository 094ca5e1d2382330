"""Which input positions one position of a map sees: exact integer arithmetic along one axis."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, inf, lcm


@dataclass(frozen=True)
class Window:
    """Position i of a map sees the input positions first[i mod P] + ⌊i / P⌋·step … last[i mod P] + ⌊i / P⌋·step.

    P = len(first) phases are needed because after an up-scaling neighbouring positions see windows of different
    size. Borders do not count: padding is seen like a pixel, as is usual for receptive fields.
    """

    first: tuple[float, ...] = (0,)  # integers; an empty window is inf … −inf
    last: tuple[float, ...] = (0,)
    step: int = 1

    @property
    def size(self) -> int:
        """The receptive field: positions seen, gaps included, where most are seen."""
        return max(0, *(b - a + 1 for a, b in zip(self.first, self.last, strict=True)))

    @property
    def jump(self) -> Fraction:
        """Input pixels from one position to the next (the stride of the map); 0 where one position is left."""
        return Fraction(self.step, len(self.first))

    def at(self, position: int) -> tuple[float, float]:
        """First and last input position that `position` sees."""
        turns, phase = divmod(position, len(self.first))
        return self.first[phase] + turns * self.step, self.last[phase] + turns * self.step

    def through(self, taps: Callable[[int], Iterable[int]], out_period: int = 1, in_period: int = 1) -> "Window":
        """Window after a layer whose position o reads the positions taps(o) of its input map.

        taps(o + out_period) must equal taps(o) + in_period.
        """
        repeats = len(self.first) // gcd(len(self.first), in_period)
        seen = [[self.at(i) for i in taps(o)] for o in range(out_period * repeats)]
        return Window(
            tuple(min((a for a, _ in spans), default=inf) for spans in seen),
            tuple(max((b for _, b in spans), default=-inf) for spans in seen),
            self.step * in_period * repeats // len(self.first),
        )

    def union(self, other: "Window") -> "Window":
        """What two joined maps see together."""
        if self.jump != other.jump:
            raise ValueError(
                f"joined maps have strides {self.jump} and {other.jump}: their positions do not correspond"
            )
        period = lcm(len(self.first), len(other.first))
        spans = [(*self.at(i), *other.at(i)) for i in range(period)]
        first, last = tuple(min(a, c) for a, _, c, _ in spans), tuple(max(b, d) for _, b, _, d in spans)
        return Window(first, last, int(self.jump * period))

    def collapse(self, size: int, input_size: int) -> "Window":
        """Window of something that reads all `size` positions of the map (a mean, a full matrix), inside the input."""
        spans = [self.at(i) for i in range(size)]
        return Window((max(0, min(a for a, _ in spans)),), (min(input_size - 1, max(b for _, b in spans)),), 0)


def strided_taps(kernel: int, stride: int, padding: int, dilation: int) -> Callable[[int], range]:
    """Positions that a convolution or a pool reads for output o; taps(o + 1) = taps(o) + stride."""
    return lambda o: range(o * stride - padding, o * stride - padding + dilation * (kernel - 1) + 1, dilation)


def transposed_taps(kernel: int, stride: int, padding: int, dilation: int) -> Callable[[int], list[int]]:
    """Positions i with i·stride − padding + dilation·t = o for a t of the kernel; taps(o + stride) = taps(o) + 1."""
    return lambda o: [
        (o + padding - dilation * t) // stride for t in range(kernel) if (o + padding - dilation * t) % stride == 0
    ]


def nearest_taps(ratio: Fraction) -> Callable[[int], list[int]]:
    """⌊o·ratio⌋ with ratio = input size / output size; the pattern repeats every `ratio.denominator` outputs."""
    return lambda o: [o * ratio.numerator // ratio.denominator]


def linear_taps(ratio: Fraction) -> Callable[[int], list[int]]:
    """The one or two positions around (o + ½)·ratio − ½ (pixel centres, `align_corners=False`)."""

    def taps(o: int) -> list[int]:
        place = (o + Fraction(1, 2)) * ratio - Fraction(1, 2)
        below = place.numerator // place.denominator
        return [below] if place == below else [below, below + 1]

    return taps
