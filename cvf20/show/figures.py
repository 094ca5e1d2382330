"""The one way a figure gets into a notebook: saved, displayed, named, with its caption; and colours and legends."""

import io
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image as Picture

from cvf20.labels import VOID
from cvf20.paths import out_dir, project_dir

DPI = 100
LARGE = 200_000  # bytes of a PNG from which a notebook embeds a JPEG: with photographs it would grow to 5 MB and more
# Okabe and Ito's colours, told apart by colour-blind eyes; grey for their yellow, which vanishes on white
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#999999")
MISTAKES = {"invented": (213, 94, 0), "missed": (0, 114, 178)}

plt.rc("figure", dpi=DPI)
plt.rc("figure.constrained_layout", use=True)
plt.rc("font", size=9)
plt.rc("legend", fontsize=8, frameon=False)
plt.rc("axes", titlesize=9, prop_cycle=plt.cycler(color=COLOURS))
plt.rc("axes.spines", top=False, right=False)


def show(fig: Figure, name: str, caption: str = "") -> None:
    """Save the figure as figures/<name>.png below $CVF20_OUT and show it; caption: a sentence or two, what to see."""
    path = _file(name, out_dir())
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    fig.savefig(drawn, dpi=DPI)
    plt.close(fig)  # an open one would be drawn twice
    picture = Picture.open(drawn).convert("RGB")
    if picture.getcolors(256):  # a palette of its own colours, then, and half the size
        picture = picture.quantize(256)
    picture.save(part := path.with_name(f".{name}.{os.getpid()}.png"), optimize=True, dpi=(DPI, DPI))
    part.replace(path)  # whole, whoever else draws it
    show_file(name, caption)


def show_file(name: str, caption: str = "", folder: Path | None = None) -> None:
    """Show figures/<name>.png of `folder`, else of $CVF20_OUT, with caption and file; FileNotFoundError if missing."""
    path = _file(name, folder or out_dir())
    if not path.is_file():
        raise FileNotFoundError(f"{_place(path)} is missing: run the notebook that draws it")
    alt = caption.translate({ord(mark): None for mark in "*`"}) or name
    data, kind = path.read_bytes(), "png"
    if len(data) > LARGE:
        Picture.open(path).convert("RGB").save(small := io.BytesIO(), kind := "jpeg", quality=90, subsampling=0)
        data = small.getvalue()
    display(Image(data, format=kind, alt=alt))
    display(Markdown(f"{caption} `{_place(path)}`".strip()))


def _file(name: str, folder: Path) -> Path:
    if not name or set(name) & set("/\\"):
        raise ValueError(f"name {name!r}: wanted the name of a file in figures/, without a path")
    return folder / "figures" / f"{name}.png"


def _place(path: Path) -> str:
    """How a reader finds the file: from the project's folder, else in full."""
    return (path.relative_to(project_dir()) if path.is_relative_to(project_dir()) else path).as_posix()


def title(dataset, text: str) -> str:
    """`text`, with SYNTHETIC or SAMPLE in front where the data set is a stand-in or a few images of the real one."""
    kind = "SYNTHETIC: " if dataset.synthetic else "SAMPLE: " if getattr(dataset, "sample", False) else ""
    return kind + text


def legend(fig: Figure, colours: dict, columns: int | None = None) -> Figure:
    """Names and their colours, (r, g, b) up to 255 or matplotlib's, below the figure."""
    rgb = {name: c if isinstance(c, str) else np.asarray(c) / 255 for name, c in colours.items()}
    handles = [Patch(facecolor=c, edgecolor="0.5", linewidth=0.5, label=name) for name, c in rgb.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=columns or len(handles))
    return fig


def class_legend(fig: Figure, dataset, columns: int | None = None) -> Figure:
    """The data set's class colours below the figure, void among them where its masks hold some."""
    void = any(VOID in np.asarray(mask) for mask in getattr(dataset, "masks", ()))
    colours = dict(zip(dataset.classes, dataset.palette, strict=True)) | ({"void": (0, 0, 0)} if void else {})
    return legend(fig, colours, columns)
