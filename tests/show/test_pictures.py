"""Colours and rows say what the tensors hold."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from cvf20.labels import VOID
from cvf20.show import MISTAKES, colour_labels, displayable, mistakes, overlay, side_by_side

PALETTE = np.array([(10, 20, 30), (200, 100, 50)], np.uint8)


def test_labels_get_their_colours_and_void_is_black():
    coloured = colour_labels(torch.tensor([[0, 1], [VOID, 1]]), PALETTE)
    assert coloured.dtype == np.uint8
    assert coloured.tolist() == [[[10, 20, 30], [200, 100, 50]], [[0, 0, 0], [200, 100, 50]]]


def test_displayable_undoes_the_normalisation():
    image = torch.randint(0, 256, (3, 4, 5), dtype=torch.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.3)
    normalised = (image / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    channels_last = image.permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(displayable(image), channels_last)
    assert np.abs(displayable(normalised, mean, std).astype(int) - channels_last).max() <= 1
    assert displayable(image[:1]).shape == (4, 5, 3)


def test_an_overlay_of_objects_leaves_background_and_void():
    picture = np.full((9, 9, 3), 100, np.uint8)
    labels = torch.zeros(9, 9, dtype=torch.uint8)
    labels[1:6, 1:6], labels[8] = 3, VOID
    drawn, outlines = overlay(picture, labels), overlay(picture, labels, strength=0)
    same = (drawn == picture).all(-1)
    assert same[labels.numpy() != 3].all() and not same[labels.numpy() == 3].any()
    assert (outlines[2:5, 2:5] == 100).all() and (outlines[1, 1] != 100).any()
    assert (outlines[1, 1] == drawn[1, 1]).all(), "the outline has its full colour"


def test_mistakes_are_told_apart_and_void_is_none():
    truth, found = np.array([[0, 0, 1, 1, VOID]]), np.array([[0, 1, 0, 1, 1]])
    picture = np.full((1, 5, 3), 100, np.uint8)
    right = [178] * 3
    wanted = [right, list(MISTAKES["invented"]), list(MISTAKES["missed"]), right, right]
    assert mistakes(picture, found, truth)[0].tolist() == wanted


@pytest.mark.parametrize("errors", [False, True])
def test_side_by_side_shows_image_truth_and_every_prediction(errors):
    images = torch.randint(0, 256, (3, 3, 4, 5), dtype=torch.uint8)
    masks = torch.randint(0, 2, (3, 4, 5), dtype=torch.uint8)
    data = SimpleNamespace(images=images, masks=masks, palette=PALETTE, classes=("no", "yes"), synthetic=True)
    wrong = 1 - masks
    fig = side_by_side(data, [2, 0], {"a": {0: masks[0], 2: masks[2]}, "b": [wrong[2], wrong[0]]}, "frames", errors)
    drawn = [axis.images[0].get_array() for axis in fig.axes]
    assert [axis.get_title() for axis in fig.axes[:4]] == ["image", "truth", "a", "b"]
    np.testing.assert_array_equal(drawn[4], displayable(images[0]))
    np.testing.assert_array_equal(drawn[5], colour_labels(masks[0], PALETTE))
    other = mistakes(displayable(images[0]), wrong[0], masks[0]) if errors else colour_labels(wrong[0], PALETTE)
    np.testing.assert_array_equal(drawn[7], other)
    assert [t.get_text() for t in fig.legends[0].texts] == (["invented", "missed"] if errors else ["no", "yes"])
    assert fig.get_suptitle() == "SYNTHETIC: frames"
    plt.close(fig)
