"""`explainit`: what a network does to an image, layer by layer, and how much of the image each output sees."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from torch import nn

from cvf20.show.explain.drawing import draw
from cvf20.show.explain.receptive_field import gradient_extent, receptive_field
from cvf20.show.explain.table import Table, make_table, times
from cvf20.show.explain.trace import memory_of, multiply_adds_of, trace

__all__ = ["Explanation", "explainit", "gradient_extent", "memory_of", "multiply_adds_of", "receptive_field"]


@dataclass
class Explanation:
    """What `explainit` found; a notebook shows it as its summary and table."""

    model: str
    table: Table  # what the network's own forward calls
    layers: Table  # the modules without children
    figure: Figure
    parameters: int
    multiply_adds: int  # per image
    memory: int  # bytes per image kept for the backward pass
    receptive_field: tuple[int, ...]  # input pixels per axis, of the output position that sees most
    position: tuple[int, ...]  # an output position that sees as much of the image as any
    window: list[tuple[int, int]]  # input positions it sees, per axis, first and last: computed
    measured: list[tuple[int, int]]  # the same from the gradient

    @property
    def summary(self) -> str:
        agree = "agree" if self.window == self.measured else "DISAGREE"
        return (
            f"**{self.model}**: {self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds and "
            f"{self.memory / 2**20:.1f} MiB of activations for one image in training. Receptive field "
            f"{times(self.receptive_field)}; of this image the output at {self.position} sees {ranges(self.window)}; "
            f"its gradient covers {ranges(self.measured)}: they {agree}."
        )

    def markdown(self) -> str:
        return f"{self.summary}\n\n{self.table.markdown()}"

    _repr_markdown_ = markdown


def explainit(model: nn.Module, input_shape: Sequence[int]) -> Explanation:
    """Table, cost, receptive field and drawing of `model` for one image of shape (C, *S).

    The receptive field is computed from the geometry of the layers and checked against the gradient of one output
    position, whose window both ways is in the result. Raises ValueError where an operator has no receptive-field rule.
    """
    input_shape = tuple(input_shape)
    found = trace(model, input_shape)
    whole = found.calls[0]
    table, row_of = make_table([(i, call) for i, call in enumerate(found.calls) if call.depth == 1])
    layers, _ = make_table([(i, call) for i, call in enumerate(found.calls) if not any(call.module.children())])
    windows, sizes = found.output.windows, whole.output[1:] or (1,) * len(found.output.windows)

    position, seen = [], []
    for window, size, pixels in zip(windows, sizes, input_shape[1:], strict=True):
        inside = [(max(0, a), min(pixels - 1, b)) for a, b in map(window.at, range(size))]
        best = max(range(size), key=lambda i: (inside[i][1] - inside[i][0], -abs(i - size // 2)))  # noqa: B023
        position.append(best)
        seen.append(inside[best])

    receptive = tuple(window.size for window in windows)
    title = f"{type(model).__name__}: {whole.parameters:,} parameters, receptive field {times(receptive)}"
    joins = [(row_of.get(a, -1), row_of[b]) for a, b in found.joins if b in row_of]
    return Explanation(
        model=type(model).__name__,
        table=table,
        layers=layers,
        figure=draw(table, joins, input_shape, title),
        parameters=sum(p.numel() for p in model.parameters()),
        multiply_adds=whole.multiply_adds,
        memory=memory_of(model, input_shape),
        receptive_field=receptive,
        position=tuple(position),
        window=seen,
        measured=gradient_extent(model, input_shape, position),
    )


def ranges(spans: list[tuple[int, int]]) -> str:
    return " × ".join(f"{first}–{last}" for first, last in spans)
