"""Draws a network from its table: boxes per level, arrows for what runs down, up and across."""

import math
import re
from itertools import pairwise

from matplotlib.figure import Figure

from cvf20.show.explain.trace import Row, Table, times

COLUMN, LEVEL = 1.55, 1.2  # from box to box, in inches
DOWN, UP, SKIP, PLAIN = "#D55E00", "#009E73", "0.45", "0.2"


def draw(table: Table, input_shape: tuple[int, ...], title: str) -> Figure:
    """Blocks from left to right, each as deep as its map is small; a U-Net becomes a U.

    Boxes hold channels and size; what only changes the size is an arrow. A block with more channels coming in than
    were there before has got them by a skip, from the last block that made so many of that size.
    """
    boxes = [i for i, row in enumerate(table) if not row.resizes and (row.multiply_adds or len(row.inputs) < 2)]
    shapes = {-1: input_shape} | {i: table[i].output for i in boxes}
    levels = levels_of({shape[1:] for shape in shapes.values()})
    width, depth = (len(shapes) - 1) * COLUMN, max(levels.values()) * LEVEL
    fig = Figure(figsize=(width + 2.0, depth + 2.0), dpi=100, layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(-1.0, width + 1.0), ylim=(-depth - 0.8, 1.2))
    ax.set_axis_off()
    ax.text(width / 2, 0.95, title, ha="center", va="center", fontsize=14)
    drawn = {}
    for column, (i, (channels, *size)) in enumerate(shapes.items()):
        text = ("input" if i < 0 else short(table[i])) + f"\n{channels}" + (f" @ {times(size)}" if size else "")
        box = {"boxstyle": "round,pad=0.6", "facecolor": "white" if i < 0 else "#dce6f2", "edgecolor": PLAIN}
        at = column * COLUMN, -levels[tuple(size)] * LEVEL
        drawn[i] = ax.text(*at, text, ha="center", va="center", fontsize=9.5, linespacing=1.5, bbox=box)
    for here, there in pairwise(drawn):
        (x0, y0), (x1, y1) = drawn[here].get_position(), drawn[there].get_position()
        colour, bend, x, side = PLAIN, "arc3", x0, "left"
        if y1 < y0:
            colour, bend, x = DOWN, "angle,angleA=-90,angleB=180,rad=4", x0 + 0.07
        elif y1 > y0:
            colour, bend, x, side = UP, "angle,angleA=0,angleB=-90,rad=4", x1 - 0.07, "right"
        arrow(ax, drawn[here], drawn[there], colour, bend)
        between = "\n".join(shorten(row.kind) for row in table[here + 1 : there] if row.resizes)
        ax.text(x, max(y0, y1) - 0.5, between, ha=side, va="center", fontsize=9.5, color=colour)
    for i, row in enumerate(table):
        channels, *size = row.inputs[0] if row.inputs else (0,)
        news = row.inputs[1] if len(row.inputs) > 1 else (channels - table[i - 1].output[0], *size)
        start = max((k for k in boxes if k < i - 1 and table[k].output == news), default=None)
        end = min((k for k in boxes if k >= i), default=None)
        if None not in (start, end) and boxes.index(end) > boxes.index(start) + 1:
            arrow(ax, drawn[start], drawn[end], SKIP, "arc3", "--")
            (x0, y0), (x1, _) = drawn[start].get_position(), drawn[end].get_position()
            ax.text((x0 + x1) / 2, y0 + 0.1, f"skip, {news[0]}", ha="center", va="center", fontsize=9.5, color=SKIP)
    return fig


def levels_of(sizes: set[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """0 for the largest maps, one more per halving that occurs; vectors are last."""
    halvings = {size: round(math.log2(max(sizes)[0] / (*size, 0.4)[0])) for size in sizes}
    return {size: sorted(set(halvings.values())).index(count) for size, count in halvings.items()}


def arrow(ax, start, end, colour: str, bend: str, line: str = "-") -> None:
    style = {"arrowstyle": "-|>", "color": colour, "linestyle": line, "connectionstyle": bend, "linewidth": 1.2}
    ends = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch(), "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=end.get_position(), xytext=start.get_position(), arrowprops=style | ends)


def short(row: Row) -> str:
    """encoder_modules.0 → encoder 0; layers of a plain sequence, which have numbers for names, by what they are."""
    name = re.sub("_modules?", "", row.name).replace(".", " ").replace("_", " ")
    return shorten(row.kind) if name.isdigit() else name


def shorten(kind: str) -> str:
    """MaxPool2d 2×2 stride 2 → MaxPool 2×2."""
    return re.sub(r"(?<=\w)[123]d\b", "", kind.split(",")[0].split(" stride ")[0])
