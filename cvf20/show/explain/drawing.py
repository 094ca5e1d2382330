"""Draws a network from its table: boxes per level, arrows for what runs down, up and across."""

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from cvf20.show.explain.trace import Row, Table, times

WIDTH, HEIGHT, COLUMN, LEVEL = 1.3, 0.64, 1.55, 1.2  # of a box, and from box to box, in inches
DOWN, UP, SKIP, PLAIN = "#D55E00", "#009E73", "0.45", "0.2"


def draw(table: Table, input_shape: tuple[int, ...], title: str) -> Figure:
    """Blocks from left to right, each as deep as its map is small; a U-Net becomes a U.

    Boxes hold channels and size; what only changes the size is an arrow. A block with more channels coming in than
    were there before has got them by a skip, from the last block that made so many of that size.
    """
    boxes = [i for i, row in enumerate(table) if not row.resizes and (row.multiply_adds or len(row.inputs) < 2)]
    shapes = {-1: input_shape} | {i: table[i].output for i in boxes}
    levels = levels_of({shape[1:] for shape in shapes.values()})
    place = {i: (column * COLUMN, -levels[shapes[i][1:]] * LEVEL) for column, i in enumerate(shapes)}

    width, depth = (len(place) - 1) * COLUMN, max(levels.values()) * LEVEL
    fig = Figure(figsize=(width + 2.0, depth + 2.0), dpi=100, layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(-1.0, width + 1.0), ylim=(-depth - 0.8, 1.2))
    ax.set_axis_off()
    ax.text(width / 2, 0.95, title, ha="center", va="center", fontsize=14)
    for i, (x, y) in place.items():
        corner, colour = (x - WIDTH / 2, y - HEIGHT / 2), "white" if i < 0 else "#dce6f2"
        ax.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.06", fc=colour, ec=PLAIN))
        (channels, *size), name = shapes[i], "input" if i < 0 else short(table[i])
        ax.text(x, y + 0.17, name, ha="center", va="center", fontsize=9.5, color="0.35")
        text = f"{channels} @ {times(size)}" if size else str(channels)
        ax.text(x, y - 0.08, text, ha="center", va="center", fontsize=10.5)
    for here, there in zip(list(place), list(place)[1:], strict=False):
        connect(ax, place[here], place[there], [row for row in table[here + 1 : there] if row.resizes])
    for i, row in enumerate(table):
        channels, *size = row.inputs[0] if row.inputs else (0,)
        news = (
            row.inputs[1] if len(row.inputs) > 1 else (channels - (table[i - 1].output if i else input_shape)[0], *size)
        )
        start = max((k for k in boxes if k < i - 1 and table[k].output == news), default=None)
        end = min((k for k in boxes if k >= i), default=None)
        if None not in (start, end):
            skip(ax, place[start], place[end], news[0])
    return fig


def levels_of(sizes: set[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """0 for the largest maps; sizes that differ by less than a third (valid convolutions) share a level."""
    level, levels, last = 0, {}, ()
    for size in sorted(sizes, key=lambda size: size[:1], reverse=True):
        level += bool(last) and (not size or size[0] < 0.75 * last[0])
        levels[size], last = level, size
    return levels


def connect(ax, start: tuple[float, float], end: tuple[float, float], between: list[Row]) -> None:
    """Arrow to the next box: straight on a level, else an elbow with what changes the size beside it."""
    (x0, y0), (x1, y1) = start, end
    label = "\n".join(shorten(row.kind) for row in between)
    if y0 == y1:
        arrow(ax, (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1), PLAIN)
    elif y1 < y0:
        arrow(ax, (x0, y0 - HEIGHT / 2), (x1 - WIDTH / 2, y1), DOWN, "angle,angleA=-90,angleB=180,rad=4")
        ax.text(x0 + 0.07, y0 - HEIGHT / 2 - 0.16, label, ha="left", va="center", fontsize=9.5, color=DOWN)
    else:
        arrow(ax, (x0 + WIDTH / 2, y0), (x1, y1 - HEIGHT / 2), UP, "angle,angleA=0,angleB=-90,rad=4")
        ax.text(x1 - 0.07, y1 - HEIGHT / 2 - 0.16, label, ha="right", va="center", fontsize=9.5, color=UP)


def skip(ax, start: tuple[float, float], end: tuple[float, float], channels: int) -> None:
    (x0, y0), (x1, y1) = start, end
    if y0 != y1 or x1 - x0 < 1.5 * COLUMN:
        arrow(ax, (x0, y0 + HEIGHT / 2), (x1, y1 + HEIGHT / 2), SKIP, "arc3,rad=-0.25", "--")
    else:
        arrow(ax, (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1), SKIP, line="--")
        ax.text((x0 + x1) / 2, y0 + 0.1, f"skip, {channels}", ha="center", va="center", fontsize=9.5, color=SKIP)


def arrow(ax, start, end, colour: str, bend: str = "arc3", line: str = "-") -> None:
    style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "color": colour, "linestyle": line}
    ax.annotate("", xy=end, xytext=start, arrowprops={**style, "connectionstyle": bend, "linewidth": 1.2})


def short(row: Row) -> str:
    """encoder_modules.0 → encoder 0; layers of a plain sequence, which have numbers for names, by what they are."""
    name = row.name.replace("_modules.", " ").replace("_module", "").replace("_", " ")
    return shorten(row.kind) if name.isdigit() else name


def shorten(kind: str) -> str:
    """MaxPool2d 2×2 stride 2 → MaxPool 2×2."""
    first, *rest = kind.split(", ")[0].split(" stride ")[0].split(" ")
    return " ".join([first.removesuffix("1d").removesuffix("2d").removesuffix("3d"), *rest])
