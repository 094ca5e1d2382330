"""`explainit`: what a network does to an image, layer by layer, and how much of the image each output sees."""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from matplotlib.figure import Figure
from torch import nn

from cvf20.show.explain.trace import Row, Table, kept_bytes, on_a_copy, times, trace
from cvf20.show.explain.windows import gradient_extent

COLUMN, LEVEL = 1.55, 1.2  # from box to box of the drawing, in inches
CENTRED = {"ha": "center", "va": "center", "fontsize": 9.5}


class Explanation:
    """Table, cost, receptive field and drawing of `model` for one image of shape (C, *S); the model is left as it is.

    table, layers: what the network's own forward calls, and the modules without children
    receptive_field: pixels per axis that an output sees of an unbounded image at most, by the layers' geometry; what
    sees all of any image sees the given one. () where it depends on the image's values
    """

    def __init__(self, model: nn.Module, input_shape: Sequence[int]):
        self._model, self._shape = model, tuple(input_shape)
        *rows, self._whole = on_a_copy(model, input_shape, trace)
        inside = tuple(f"{row.name}." for row in rows)
        self.table = Table(row for row in rows if not row.name.startswith(inside))
        self.layers = Table(row for row in rows if row.is_layer)
        self.parameters, self.multiply_adds = self._whole.parameters, self._whole.multiply_adds
        self.receptive_field = self._whole.receptive_field

    @cached_property
    def memory(self) -> int:
        """Bytes that a float32 training step keeps per image until its backward pass, without weights and dropout."""
        return on_a_copy(self._model, self._shape, kept_bytes)

    @cached_property
    def measured(self) -> tuple[int, ...]:
        """The receptive field by the gradient of one output; another where a network moves positions, as in a mirror."""
        sizes = []
        for axis, sight in enumerate(self._whole.sights):
            shape = list(self._shape)
            if not sight.is_all:  # take an image so large that no border cuts the window
                shape[axis + 1] *= -(-2 * sight.size // shape[axis + 1])
                sight = on_a_copy(self._model, shape, trace)[-1].sights[axis]
            sizes.append(gradient_extent(self._model, shape, axis, sight.position))
        return tuple(sizes)

    @property
    def figure(self) -> Figure:
        return draw(self.table, self._shape, f"{type(self._model).__name__}: {self.parameters:,} parameters")

    @property
    def summary(self) -> str:
        text = f"**{type(self._model).__name__}**: {self.parameters:,} parameters; {self.multiply_adds:,} multiply-adds"
        if not self.receptive_field:
            return text + ". Its memory and receptive field depend on what the image shows."
        text += f", {self.memory / 2**20:.1f} MiB of activations for one image in training. Receptive field "
        text += times(self.receptive_field)
        try:
            agree = "they agree" if self.measured == self.receptive_field else "they DISAGREE"
        except (RuntimeError, ValueError):  # it takes one size of image only, or has no gradient
            return text + "."
        return text + f"; an output's gradient covers {times(self.measured)}: {agree}."

    def markdown(self) -> str:
        return f"{self.summary}\n\n{self.table.markdown()}"

    _repr_markdown_ = markdown


explainit = Explanation  # the exercise's word


def draw(table: Table, input_shape: tuple[int, ...], title: str) -> Figure:
    """Blocks from left to right, each as deep as its map is small; what only changes sizes is an arrow between them."""
    rows = [Row("input", "", input_shape), *(row for row in table if row.inputs)]
    boxes = [rows[0], *(row for row in rows if row.multiply_adds and not row.resizes)]
    halvings = [round(math.log2(input_shape[1] / (*row.output[1:], 0.4)[0])) for row in boxes]
    levels = sorted(set(halvings))  # vectors are last
    width, depth = len(boxes) * COLUMN, len(levels) * LEVEL
    fig = Figure(figsize=(width + 0.45, depth + 0.8), dpi=100, layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(-1.0, width - 0.55), ylim=(0.4 - depth, 1.2))
    ax.set_axis_off()
    fig.suptitle(title, fontsize=14)
    drawn = {}
    for column, (row, count) in enumerate(zip(boxes, halvings, strict=True)):
        name = re.sub("_modules?", "", row.name).replace(".", " ")  # in a sequence only a number
        text = f"{short(row) if name.isdigit() else name}\n" + times(row.output).replace("×", " @ ", 1)
        box = {"boxstyle": "round,pad=0.6", "facecolor": "#dce6f2" if row.kind else "white"}
        drawn[row] = ax.text(column * COLUMN, -levels.index(count) * LEVEL, text, CENTRED, linespacing=1.5, bbox=box)
    for before, row in pairwise(boxes):
        passed = rows[rows.index(before) : rows.index(row) + 1]
        arrow(drawn[before], drawn[row], "\n".join(short(each) for each in passed if each.resizes), "-")
        for last, each in pairwise(passed):  # channels that are new came by a skip, from the last that made so many
            channels, *size = each.inputs[0]
            skipped = each.inputs[1] if len(each.inputs) > 1 else (channels - last.output[0], *size)
            for start in [box for box in boxes[: boxes.index(before)] if box.output == skipped][-1:]:
                arrow(drawn[start], drawn[row], f"skip, {skipped[0]}", "--")
    return fig


def arrow(start, end, label: str, line: str) -> None:
    (x0, y0), (x1, y1) = start.get_position(), end.get_position()
    ends = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch(), "shrinkA": 0, "shrinkB": 0}
    start.axes.annotate("", xy=(x1, y1), xytext=(x0, y0), arrowprops={"arrowstyle": "-|>", "linestyle": line} | ends)
    start.axes.text((x0 + x1) / 2, (y0 + y1) / 2, label, CENTRED, bbox={"color": "white", "pad": 1})


def short(row: Row) -> str:
    return re.sub(r"[123]d\b", "", row.kind)
