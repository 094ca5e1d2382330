"""Every figure of the notebooks that is drawn more than once, and the one function that saves and shows a figure."""

import inspect
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from cvf20.labels import VOID
from cvf20.paths import out_dir
from cvf20.training import results

DPI = 100
# Okabe and Ito's colours, told apart by colour-blind eyes
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")

plt.rcParams.update(
    {
        "figure.dpi": DPI,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": plt.cycler(color=COLOURS),
        "legend.frameon": False,
    }
)


def show(fig: Figure, name: str, alt: str = "") -> None:
    """Save the figure as figures/<name>.png below $CVF20_OUT, display it and print its file's name.

    Pictures keep 256 colours, which halves their size: exactly those of flat areas, such as label maps and legends.
    name begins with the notebook's number, e.g. "03_unet_curves"; alt says in words what the picture shows
    """
    results.notebook_of(name)  # ValueError where no notebook would own the file
    path = out_dir() / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    fig.savefig(drawn, dpi=DPI)
    _to_256_colours(PIL.Image.open(drawn).convert("RGB")).save(path, optimize=True, dpi=(DPI, DPI))
    plt.close(fig)
    show_file(name, alt)


def _to_256_colours(picture: PIL.Image.Image, exact: int = 64, smallest: int = 32) -> PIL.Image.Image:
    """The picture in 256 colours: `exact` of its most frequent ones, `exact` that are far from all others, and a mixture.

    smallest: pixels of a colour that is worth keeping; a legend's patch has about a hundred
    """
    pixels = np.asarray(picture).reshape(-1, 3)
    codes, first, place, counts = np.unique(
        pixels @ (1 << 16, 1 << 8, 1), return_index=True, return_inverse=True, return_counts=True
    )
    flat = np.flatnonzero(counts >= smallest)
    colour = pixels[first[flat]].astype(int)
    kept = list(np.argsort(-counts[flat], kind="stable")[:exact])
    distance = np.abs(colour[:, None] - colour[kept]).max(2).min(1, initial=255)
    while len(kept) < min(2 * exact, len(flat)):  # each time the one that is furthest from all that are kept
        kept.append(distance.argmax())
        distance = np.minimum(distance, np.abs(colour - colour[kept[-1]]).max(1))
    kept = np.unique(flat[kept])
    index = np.zeros(len(codes), np.uint8)
    index[kept] = range(len(kept))
    drawn, colours = index[place], [channel for k in kept for channel in int(codes[k]).to_bytes(3)]
    rest = ~np.isin(place, kept)
    if rest.any():
        others = PIL.Image.fromarray(pixels[rest][None]).quantize(256 - len(kept))
        drawn[rest] = np.asarray(others)[0] + len(kept)
        colours += others.getpalette()
    result = PIL.Image.fromarray(drawn.reshape(picture.height, picture.width), "P")
    result.putpalette(colours)
    return result


def show_file(name: str, alt: str = "", folder: Path | None = None) -> None:
    """Display the picture figures/<name>.png that is already there, and print its file's name.

    folder: the one that holds figures/; None: $CVF20_OUT
    Raises FileNotFoundError, naming the notebook that draws it, where it is missing.
    """
    path = (folder or out_dir()) / "figures" / f"{name}.png"
    if not path.is_file():
        raise FileNotFoundError(f"figures/{name}.png is missing: notebook {results.notebook_of(name)} draws it")
    display(Image(path.read_bytes(), format="png", alt=alt or name), metadata={"image/png": {"alt": alt or name}})
    print(f"figures/{name}.png")


def show_table(rows: list[dict]) -> None:
    """Display rows with equal keys as a table."""
    display(Markdown(results.markdown_table(rows)))


def note(text: str) -> None:
    """Display a comment whose words or numbers come from the results."""
    display(Markdown(text))


def title(dataset, text: str) -> str:
    """`text`, with SYNTHETIC in front where the data set is a stand-in."""
    return f"SYNTHETIC: {text}" if dataset.synthetic else text


def colour_labels(labels, palette: np.ndarray) -> np.ndarray:
    """(H, W) labels → (H, W, 3) uint8 in the palette's colours, void black."""
    labels = np.asarray(labels).astype(np.int64)
    coloured = np.zeros((*labels.shape, 3), np.uint8)
    known = labels != VOID
    coloured[known] = np.asarray(palette)[labels[known]]
    return coloured


def displayable(image, mean: Sequence[float] = (), std: Sequence[float] = ()) -> np.ndarray:
    """(C, H, W) image → (H, W, 3) for imshow; uint8 as it is, float after undoing the normalisation."""
    image = np.asarray(image)
    if image.dtype != np.uint8:
        image = image * np.reshape(std or 1.0, (-1, 1, 1)) + np.reshape(mean or 0.0, (-1, 1, 1))
        image = (image.clip(0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)


def grid(
    columns: Sequence[str], rows: Sequence[Sequence[np.ndarray]], row_names: Sequence[str] = (), width: float = 9.5
):
    """Pictures in rows and named columns; each picture (H, W, 3). Returns the figure."""
    height, breadth = np.asarray(rows[0][0]).shape[:2]
    panel = width / len(columns)
    size = (width, panel * height / breadth * len(rows) + 0.3)
    fig, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False)
    for r, pictures in enumerate(rows):
        for c, picture in enumerate(pictures):
            axes[r, c].imshow(picture, cmap="gray", interpolation="nearest")
            axes[r, c].set(xticks=[], yticks=[])
            axes[r, c].spines[:].set_visible(False)
            if r == 0:
                axes[r, c].set_title(columns[c])
        if len(row_names):
            axes[r, 0].set_ylabel(row_names[r])
    return fig


def class_legend(fig: Figure, dataset, columns: int | None = None) -> Figure:
    """The data set's class colours below the figure."""
    handles = [Patch(color=np.asarray(c) / 255, label=n) for c, n in zip(dataset.palette, dataset.classes, strict=True)]
    fig.legend(handles=handles, loc="outside lower center", ncols=columns or len(handles), fontsize=8)
    return fig


def curves(runs: dict[str, dict[str, list[float]]], columns: Sequence[str] = ("loss", "mIoU")):
    """Learning curves: one panel per column, one colour per run; the training loss is dashed beside the loss."""
    fig, axes = plt.subplots(1, len(columns), figsize=(4.6 * len(columns), 3.2), squeeze=False)
    for axis, column in zip(axes[0], columns, strict=True):
        for colour, (name, run) in zip(COLOURS, runs.items(), strict=False):
            if column == "loss":
                axis.plot(run["epoch"], run["train_loss"], "--", color=colour, label=f"{name}, training")
                axis.plot(run["epoch"], run["loss"], color=colour, label=f"{name}, validation")
            else:
                axis.plot(run["epoch"], run[column], color=colour, label=name)
        axis.set(xlabel="epoch", ylabel=column if column != "loss" else "loss")
        axis.legend(fontsize=8)
    return fig


def confusion_figure(confusion, classes: Sequence[str]):
    """(K, K) counts as shares of each true class, in percent."""
    confusion = np.asarray(confusion, dtype=float)
    shares = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    size = 0.55 * len(classes) + 1.6
    fig, axis = plt.subplots(figsize=(size + 0.8, size))
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(shares.shape):
        colour = "white" if shares[row, column] > 55 else "black"
        axis.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=7, color=colour)
    ticks = range(len(classes))
    axis.set(xticks=ticks, yticks=ticks, xlabel="predicted class", ylabel="true class")
    axis.set_xticklabels(classes, rotation=45, ha="right")
    axis.set_yticklabels(classes)
    fig.colorbar(image, label="% of the true class's pixels", shrink=0.8)
    return fig


def bars(values: dict[str, Sequence[float]], groups: Sequence[str], ylabel: str, width: float = 8.0):
    """Grouped bars: for every key of `values` one bar in every group."""
    fig, axis = plt.subplots(figsize=(width, 3.0))
    step = 0.8 / len(values)
    for i, (name, heights) in enumerate(values.items()):
        axis.bar(np.arange(len(groups)) + (i - (len(values) - 1) / 2) * step, heights, step, label=name)
    axis.set_xticks(range(len(groups)), groups, rotation=30, ha="right")
    axis.set_ylabel(ylabel)
    if len(values) > 1:
        axis.legend()
    return fig


def show_source(*objects) -> None:
    """Display the source of library functions or classes, so that the notebook is complete without the package."""
    display(Markdown("```python\n" + "\n\n".join(inspect.getsource(item).rstrip() for item in objects) + "\n```"))
