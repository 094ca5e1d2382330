"""Draws a network from its table: boxes per level, arrows for what runs down, up and across."""

import math
import re
from itertools import pairwise

from matplotlib.figure import Figure

from cvf20.show.explain.trace import Row, Table, times

COLUMN, LEVEL = 1.55, 1.2  # from box to box, in inches
CENTRED = {"ha": "center", "va": "center", "fontsize": 9.5}


def draw(table: Table, input_shape: tuple[int, ...], title: str) -> Figure:
    """Blocks from left to right, each as deep as its map is small; what only changes the size is an arrow between them.

    A block with more channels coming in than before got them by a skip, from the last that made so many of that size.
    """
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
        for last, each in pairwise(passed):
            channels, *size = each.inputs[0]
            skipped = each.inputs[1] if len(each.inputs) > 1 else (channels - last.output[0], *size)
            for start in [box for box in boxes[: boxes.index(before)] if box.output == skipped][-1:]:
                arrow(drawn[start], drawn[row], f"skip, {skipped[0]}", "--")
    return fig


def arrow(start, end, label: str, line: str) -> None:
    """From text to text, with a label on it."""
    (x0, y0), (x1, y1) = start.get_position(), end.get_position()
    ends = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch(), "shrinkA": 0, "shrinkB": 0}
    start.axes.annotate("", xy=(x1, y1), xytext=(x0, y0), arrowprops={"arrowstyle": "-|>", "linestyle": line} | ends)
    start.axes.text((x0 + x1) / 2, (y0 + y1) / 2, label, CENTRED, bbox={"color": "white", "pad": 1})


def short(row: Row) -> str:
    """MaxPool2d 2×2 → MaxPool 2×2."""
    return re.sub(r"[123]d\b", "", row.kind)
