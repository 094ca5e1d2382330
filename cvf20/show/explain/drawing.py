"""Draws a network from its table: boxes per level, arrows for what runs down, up and across."""

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from cvf20.show.explain.table import Row, Table, times

WIDTH, HEIGHT, COLUMN, LEVEL = 1.3, 0.64, 1.55, 1.2  # of a box, and from box to box, in inches
DOWN, UP, SKIP, PLAIN = "tab:red", "tab:green", "0.45", "0.2"


def draw(table: Table, joins: list[tuple[int, int]], input_shape: tuple[int, ...], title: str) -> Figure:
    """Blocks from left to right, each as deep as its map is small; a U-Net becomes a U.

    joins: pairs of rows, (where a map was made, where it is joined again); row −1 is the input
    Boxes hold channels and size; what only changes the size is an arrow.
    """
    merges = {target for _, target in joins}
    boxes = [i for i, row in enumerate(table) if not row.resizes and (row.multiply_adds or i not in merges)]
    shapes = {-1: tuple(input_shape)} | {i: table[i].output for i in boxes}
    levels = level_of_sizes([shape[1:] for shape in shapes.values()])
    place = {i: (column * COLUMN, -levels[shapes[i][1:]] * LEVEL) for column, i in enumerate(shapes)}

    width, depth = (len(place) - 1) * COLUMN, max(levels.values()) * LEVEL
    fig = Figure(figsize=(width + 2.0, depth + 2.0), dpi=100, layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(-1.0, width + 1.0), ylim=(-depth - 0.8, 1.2))
    ax.set_axis_off()
    ax.text(width / 2, 0.95, title, ha="center", va="center", fontsize=14)

    for i, (x, y) in place.items():
        paint = {"facecolor": "white" if i < 0 else "#dce6f2", "edgecolor": PLAIN, "linewidth": 1}
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        ax.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06", **paint))
        name = "input" if i < 0 else short(table[i])
        channels, size = shapes[i][0], times(shapes[i][1:])
        ax.text(x, y + 0.17, name, ha="center", va="center", fontsize=9.5, color="0.35")
        ax.text(x, y - 0.08, f"{channels}" + (f" @ {size}" if size else ""), ha="center", va="center", fontsize=10.5)

    for here, there in zip(list(place), list(place)[1:], strict=False):
        between = [row for row in table[here + 1 : there] if row.resizes]
        connect(ax, place[here], place[there], between)
    for source, target in joins:
        start = max((i for i in place if i <= source), default=-1)
        end = min((i for i in place if i >= target and i > start), default=None)
        if end is not None:
            skip(ax, place[start], place[end], shapes[start][0])
    return fig


def level_of_sizes(sizes: list[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """0 for the largest maps; sizes that differ by less than a third (valid convolutions) share a level."""
    level, levels, last = 0, {}, None
    for size in sorted(set(sizes), key=lambda s: s[0] if s else 0, reverse=True):
        if last is not None and (not size or size[0] < 0.75 * last):
            level += 1
        last = size[0] if size else 0
        levels[size] = level
    return levels


def connect(ax, start: tuple[float, float], end: tuple[float, float], between: list[Row]) -> None:
    """Arrow to the next box: straight on a level, else an elbow with what changes the size beside it."""
    (x0, y0), (x1, y1) = start, end
    label = "\n".join(shorten(row.kind) for row in between)
    style = {"arrowstyle": "-|>", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    if y0 == y1:
        arrow(ax, (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1), PLAIN, style)
    elif y1 < y0:
        style["connectionstyle"] = "angle,angleA=-90,angleB=180,rad=4"
        arrow(ax, (x0, y0 - HEIGHT / 2), (x1 - WIDTH / 2, y1), DOWN, style)
        ax.text(x0 + 0.07, y0 - HEIGHT / 2 - 0.16, label, ha="left", va="center", fontsize=9.5, color=DOWN)
    else:
        style["connectionstyle"] = "angle,angleA=0,angleB=-90,rad=4"
        arrow(ax, (x0 + WIDTH / 2, y0), (x1, y1 - HEIGHT / 2), UP, style)
        ax.text(x1 - 0.07, y1 - HEIGHT / 2 - 0.16, label, ha="right", va="center", fontsize=9.5, color=UP)


def skip(ax, start: tuple[float, float], end: tuple[float, float], channels: int) -> None:
    (x0, y0), (x1, y1) = start, end
    style = {"arrowstyle": "-|>", "linewidth": 1, "linestyle": "--", "shrinkA": 0, "shrinkB": 0}
    near = x1 - x0 < 1.5 * COLUMN
    if y0 != y1 or near:
        style["connectionstyle"] = "arc3,rad=-0.25"
        arrow(ax, (x0, y0 + HEIGHT / 2), (x1, y1 + HEIGHT / 2), SKIP, style)
        return
    arrow(ax, (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1), SKIP, style)
    ax.text((x0 + x1) / 2, y0 + 0.1, f"skip, {channels}", ha="center", va="center", fontsize=9.5, color=SKIP)


def arrow(ax, start, end, color: str, style: dict) -> None:
    ax.annotate("", xy=end, xytext=start, arrowprops={**style, "color": color})


def short(row: Row) -> str:
    """encoder_modules.0 → encoder 0; layers of a plain sequence, which have numbers for names, by what they are."""
    name = row.name.replace("_modules.", " ").replace("_module", "").replace("_", " ")
    return shorten(row.kind) if name.isdigit() else name


def shorten(kind: str) -> str:
    """MaxPool2d 2×2 stride 2 → MaxPool 2×2."""
    first, *rest = kind.split(", ")[0].split(" stride ")[0].split(" ")
    return " ".join([first.removesuffix("1d").removesuffix("2d").removesuffix("3d"), *rest])
