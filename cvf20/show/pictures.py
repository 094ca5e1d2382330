"""Images, labels and mistakes as pictures (H, W, 3), and pictures beside each other."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from skimage.segmentation import find_boundaries

from cvf20.labels import VOID
from cvf20.show.figures import MISTAKES, class_legend, legend, title


def colour_labels(labels, palette: np.ndarray) -> np.ndarray:
    """(H, W) labels → (H, W, 3) uint8 in the palette's colours, void black."""
    colours = np.zeros((VOID + 1, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours[np.asarray(labels).astype(np.int64)]


def displayable(image, mean: Sequence[float] = (), std: Sequence[float] = ()) -> np.ndarray:
    """(C, H, W) image → (H, W, 3) for imshow; uint8 as it is, float after undoing the normalisation."""
    image = np.asarray(image)
    if image.dtype != np.uint8:
        image = image * np.reshape(std or 1.0, (-1, 1, 1)) + np.reshape(mean or 0.0, (-1, 1, 1))
        image = (image.clip(0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)


def heat(values, low: float | None = None, high: float | None = None) -> np.ndarray:
    """(H, W) numbers between low and high (their own range by default) as colours from dark blue to yellow."""
    values = np.asarray(values, dtype=float)
    return (255 * plt.get_cmap("viridis")(plt.Normalize(low, high, clip=True)(values))[..., :3]).astype(np.uint8)


def overlay(picture: np.ndarray, labels, palette: np.ndarray | None = None, strength: float = 0.45) -> np.ndarray:
    """Labels (H, W) laid over the picture, with full outlines; void shows the picture.

    palette: colours of the classes; None: labels number objects, each has a colour of its own, 0 shows the picture
    strength: of the colours inside the outlines; 0 draws the outlines alone
    """
    labels, picture = np.asarray(labels).astype(np.int64), np.asarray(picture, dtype=float)
    shown = labels != VOID
    if palette is None:
        shown &= labels != 0
        palette = 255 * hsv_to_rgb([(0.618 * k % 1, 0.9, 1) for k in range(labels.max() + 1)])
        picture = picture.mean(2, keepdims=True)
    colours = np.asarray(palette)[np.where(shown, labels, 0)]
    share = np.where(find_boundaries(labels, mode="inner"), 1.0, strength) * shown
    return (picture + share[..., None] * (colours - picture)).astype(np.uint8)


def mistakes(picture: np.ndarray, prediction, truth) -> np.ndarray:
    """The picture in pale grey, foreground that is invented or missed in the colours of MISTAKES; void is never wrong."""
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    drawn = np.repeat(128 + picture.mean(2, keepdims=True) / 2, 3, axis=2).astype(np.uint8)
    drawn[(truth == 0) & (prediction != 0)] = MISTAKES["invented"]
    drawn[(truth != 0) & (truth != VOID) & (prediction == 0)] = MISTAKES["missed"]
    return drawn


def grid(columns: Sequence[str], rows: Sequence, row_names: Sequence[str] = (), width: float = 9.5) -> Figure:
    """Pictures in rows and named columns; each (H, W, 3) or (H, W), of any size. Returns the figure."""
    heights = [max(np.divide(*np.shape(picture)[:2]) for picture in pictures) for pictures in rows]
    size = (width, width / len(columns) * sum(heights) + 0.3)
    fig, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False, height_ratios=heights)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for (r, c), axis in np.ndenumerate(axes):
        if c < len(rows[r]):
            axis.imshow(rows[r][c], cmap="gray", interpolation="nearest")
        axis.set(title="" if r else columns[c], ylabel=row_names[r] if len(row_names) and not c else "")
    return fig


def side_by_side(data, positions: Sequence[int], predictions: Mapping, text="", errors=False, width=9.5) -> Figure:
    """A data set's images, truth and predictions in columns, a row per position, with the legend of the classes.

    predictions: {column: labels (H, W) by position}, e.g. {"U-Net": {5: …, 25: …}, "epoch 1": [… as positions]}
    errors: draw what is wrong in each binary prediction (see `mistakes`) instead of its classes
    """
    rows = []
    for place, i in enumerate(positions):
        picture, truth = displayable(data.images[i]), data.masks[i]
        found = [labels[i] if isinstance(labels, Mapping) else labels[place] for labels in predictions.values()]
        drawn = [mistakes(picture, f, truth) if errors else colour_labels(f, data.palette) for f in found]
        rows.append([picture, colour_labels(truth, data.palette), *drawn])
    fig = grid(["image", "truth", *predictions], rows, width=width)
    if text:
        fig.suptitle(title(data, text))
    return legend(fig, MISTAKES) if errors else class_legend(fig, data)
