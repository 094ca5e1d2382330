"""Metrics beside torchmetrics and scikit-learn, on the same labels and scores; the values are compared, too."""

import json
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks.common import Row, child, compare, peak
from cvf20.metrics import average_precision, compute_confusion_matrix, iou, match_instances

IMAGES, SIZE, CLASSES = 72, (224, 288), 9
CELLS, SIDE = 900, 1024


def scenes(images: int = IMAGES, size: tuple[int, int] = SIZE, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Scores (N, K, H, W) in float32 and labels (N, H, W): regions, most of them found."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((images, classes, 7, 9), dtype=np.float32))
    truth = torch.nn.functional.interpolate(coarse, size, mode="bicubic")
    labels = truth.argmax(1)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    return (8 * truth).add_(noise).softmax(1), labels


def cells(number: int = CELLS, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Label images (1, side, side) of about `number` touching cells on a grid, predicted and true, a little apart."""
    columns = round(number**0.5)
    place = np.arange(side) * columns // side
    true = 1 + place[:, None] * columns + place
    shifted = np.roll(true, 2, (0, 1))
    foreground = ndimage.zoom(np.random.default_rng(0).random((columns, columns)), side / columns, order=1) > 0.1
    pair = [np.where(foreground[:side, :side], image, 0) for image in (shifted, true)]
    return tuple(torch.from_numpy(image)[None] for image in pair)


def panoptic_quality(prediction: Tensor, target: Tensor) -> float:
    """As torchmetrics wants it: (category, instance) per pixel; category 1 is a cell, 0 the background."""
    from torchmetrics.functional.detection import panoptic_quality

    pair = (torch.stack([(labels > 0).long(), labels], -1) for labels in (prediction, target))
    return float(panoptic_quality(*pair, things={1}, stuffs={0}, return_per_class=True)[0, 0])


MATCHERS = {
    "ours": lambda prediction, target: match_instances(prediction, target)["PQ"],
    "theirs": panoptic_quality,
}


def instance_rows() -> Iterator[Row]:
    pair = cells()
    found = {side: matcher(*pair) for side, matcher in MATCHERS.items()}
    title, against = f"`match_instances`, {CELLS} cells at {SIDE}²", "torchmetrics `panoptic_quality`"
    ours, theirs = (partial(matcher, *pair) for matcher in MATCHERS.values())
    yield compare(title, against, ours, theirs, ">= 20", {"PQ": found}, budget=20, least=3)
    grown = {side: json.loads(child("benchmarks.metrics", side)) for side in MATCHERS}
    limit = {"ours": grown["ours"], "theirs": grown["theirs"], "unit": "MB"}
    yield Row(f"{title}: memory in MB", "a limit of 100 MB", grown["ours"], "<= 100", **limit)


def confusion_rows(prediction: Tensor, labels: Tensor) -> Iterator[Row]:
    from sklearn.metrics import confusion_matrix, jaccard_score
    from torchmetrics import MetricCollection
    from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

    together = {"confusion": MulticlassConfusionMatrix(CLASSES), "iou": MulticlassJaccardIndex(CLASSES, average=None)}
    theirs = MetricCollection(together, compute_groups=[["confusion", "iou"]])  # counted once for both

    def torchmetrics() -> np.ndarray:
        theirs.reset()
        theirs.update(prediction, labels)
        return theirs.compute()["iou"].numpy()

    def scikit_learn() -> np.ndarray:
        flat = labels.flatten().numpy(), prediction.flatten().numpy()
        confusion_matrix(*flat)
        return jaccard_score(*flat, average=None)

    def ours() -> np.ndarray:
        return iou(compute_confusion_matrix(prediction, labels, CLASSES)).numpy()

    title = f"confusion matrix and IoU, {IMAGES}×{SIZE[0]}×{SIZE[1]}, {CLASSES} classes"
    for name, other, bound in (("torchmetrics", torchmetrics, ">= 15"), ("scikit-learn", scikit_learn, ">= 10")):
        difference = float(np.abs(ours() - other()).max())
        yield compare(title, name, ours, other, bound, {"largest_difference": difference}, least=3)


def ranking_row(scores: Tensor, labels: Tensor) -> Row:
    from sklearn.metrics import average_precision_score

    def theirs() -> np.ndarray:
        classes = scores.movedim(1, 0).flatten(1).numpy()
        return np.array([average_precision_score(labels.flatten().numpy() == k, s) for k, s in enumerate(classes)])

    ours = partial(average_precision, scores, labels, interpolated=False)
    difference = float(np.abs(ours().numpy() - theirs()).max())
    title, against = (
        f"average precision over all {scores.numel() // CLASSES:,} pixels, {CLASSES} classes",
        "scikit-learn",
    )
    if difference > 1e-4:
        raise AssertionError(f"average precision differs from scikit-learn's by {difference}")
    return compare(title, against, ours, theirs, ">= 4", {"largest_difference": difference}, least=3)


def rows() -> Iterator[Row]:
    yield from instance_rows()
    scores, labels = scenes()
    yield from confusion_rows(scores.argmax(1), labels)
    yield ranking_row(scores, labels)


if __name__ == "__main__":  # the memory of one matcher, in a process of its own
    small, pair = cells(4, 32), cells()
    MATCHERS[sys.argv[1]](*small)  # imports what it needs
    print(peak(partial(MATCHERS[sys.argv[1]], *pair)))
