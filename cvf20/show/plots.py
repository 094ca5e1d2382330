"""Curves, bars, points and matrices that several notebooks draw."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from cvf20.show.figures import COLOURS


def curves(runs: dict, columns: Sequence[str] = ("loss", "mIoU")) -> Figure:
    """Learning curves: one panel per column, one colour per name; the training loss is dashed beside the loss.

    runs: {name: a run's curves, or a list of them (seeds): their mean, with a band from lowest to highest}
    """
    words = {"train_loss": "training loss", "lr": "learning rate", "loss": "loss"}  # others are validation's
    fig, axes = plt.subplots(1, len(columns), figsize=(min(4.6 * len(columns), 10), 3.2), squeeze=False)
    for axis, column in zip(axes[0], columns, strict=True):
        for k, (name, seeds) in enumerate(runs.items()):
            seeds = [seeds] if isinstance(seeds, dict) else seeds
            colour, epochs = COLOURS[k % len(COLOURS)], seeds[0]["epoch"]
            both = {"train_loss": (f"{name}, training", "--"), "loss": (f"{name}, validation", "-")}
            lines = both if column == "loss" and "train_loss" in seeds[0] else {column: (name, "-")}
            for each, (label, style) in lines.items():
                values = np.array([run[each] for run in seeds])
                axis.plot(epochs, values.mean(0), style, color=colour, label=label)
                axis.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
        axis.set(xlabel="epoch", ylabel=words.get(column, "validation " + column.replace("_", " ")))
        axis.legend()
    return fig


def bars(values: dict, groups: Sequence[str], ylabel: str, width: float = 8.0) -> Figure:
    """Grouped bars: for every key of `values` one bar in every group; nan leaves a gap with a dash.

    values: {name: one number per group, or one list per group (seeds): mean and standard deviation}
    """
    fig, axis = plt.subplots(figsize=(width, 3.0))
    step = 0.8 / len(values)
    for i, (name, heights) in enumerate(values.items()):
        x = np.arange(len(groups)) + (i - (len(values) - 1) / 2) * step
        means = np.array([np.mean(seeds) for seeds in heights])
        spread = [np.std(seeds, ddof=1) if np.size(seeds) > 1 else np.nan for seeds in heights]
        axis.bar(x, means, step, yerr=spread, error_kw={"linewidth": 0.8}, label=name)
        for place in x[np.isnan(means)]:
            axis.text(place, 0, "–", ha="center", va="bottom")
    axis.set_xticks(range(len(groups)), groups, rotation=30, ha="right")
    axis.set_ylabel(ylabel)
    if len(values) > 1:
        axis.legend()
    return fig


def points(axis, values: dict[str, Sequence[float]], xlabel: str) -> None:
    """A line per name, a point per seed, a bar at their mean; names from top to bottom."""
    for k, (name, seeds) in enumerate(values.items()):
        axis.plot(seeds, [k] * len(seeds), "o", color=COLOURS[k % len(COLOURS)], markersize=4, alpha=0.7, label=name)
        axis.plot(np.mean(seeds), k, "|", color="black", markersize=14)
    axis.set_yticks(range(len(values)), list(values))
    axis.set(xlabel=xlabel, ylim=(len(values) - 0.5, -0.5))
    axis.grid(axis="x", alpha=0.3)


def heatmap(axis, values, rows: Sequence, columns: Sequence, form: str = "{:.2f}", texts=None, **options):
    """A matrix (R, C) as colours, in its cells numbers or `texts`; options go to imshow. Returns the image."""
    values = np.asarray(values, dtype=float)
    image = axis.imshow(values, **{"cmap": "Blues", "aspect": "auto"} | options)
    for (r, c), value in np.ndenumerate(values):
        light = np.dot(image.cmap(image.norm(value))[:3], (0.299, 0.587, 0.114)) > 0.5
        text = texts[r][c] if texts is not None else "–" if np.isnan(value) else form.format(value)
        axis.text(c, r, text, ha="center", va="center", fontsize=8, color="black" if light else "white")
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.spines[:].set_visible(False)
    return image


def confusion_figure(confusion, classes: Sequence[str]) -> Figure:
    """(K, K) counts as shares of each true class, in percent."""
    shares = 100 * np.asarray(confusion) / np.maximum(np.sum(np.asarray(confusion), 1, keepdims=True), 1)
    size = 0.55 * len(classes) + 1.6
    fig, axis = plt.subplots(figsize=(size + 0.8, size))
    image = heatmap(axis, shares, classes, classes, "{:.0f}", vmin=0, vmax=100, aspect="equal")
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.tick_params(axis="x", rotation=45)
    fig.colorbar(image, label="% of the true class's pixels", shrink=0.8)
    return fig
