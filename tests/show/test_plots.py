"""Curves, bars, points and matrices hold the numbers they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cvf20.show import bars, curves, heatmap

RUN = {"epoch": [1, 2], "train_loss": [3, 2], "loss": [3, 2.5], "mIoU": [0.1, 0.2]}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_seeds_become_their_mean_and_a_band():
    fig = curves({"seeds": [RUN, {**RUN, "mIoU": [0.3, 0.4]}]}, ["mIoU"])
    (axis,) = fig.axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [0.2, 0.3])
    assert axis.collections[0].get_paths()[0].get_extents().y0 == 0.1


def test_bars_of_seeds_have_error_bars_and_nan_leaves_a_gap():
    (axis,) = bars({"a": [[1, 3], [2, 2]]}, ["x", "y"], "score").axes
    assert [patch.get_height() for patch in axis.patches] == [2, 2]
    assert [len(c.get_segments()) for c in axis.collections] == [2]
    (axis,) = bars({"a": [1, float("nan")]}, ["x", "y"], "score").axes
    assert [text.get_text() for text in axis.texts] == ["–"]


def test_heatmap_writes_its_numbers_in_a_colour_that_can_be_read():
    axis = plt.figure().add_subplot()
    heatmap(axis, [[0, 1]], ["row"], ["a", "b"], "{:.1f}", cmap="gray")
    assert [text.get_text() for text in axis.texts] == ["0.0", "1.0"]
    assert [text.get_color() for text in axis.texts] == ["white", "black"]
