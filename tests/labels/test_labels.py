"""Range, shape and void of labels, and instance label images. Types and wrong values: beside the losses and metrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from cvf20.labels import VOID, label_images, split_void
from cvf20.labels.instances import (
    instance_boxes,
    instance_masks,
    instance_numbers,
    instance_scores,
    renumber,
    separate_touching,
)

NUMBERS = st.sampled_from([0, 0, 1, 1, 2, VOID, 300, 70000])
images = arrays("int64", st.tuples(st.integers(0, 9), st.integers(1, 9)), elements=NUMBERS)
each = settings(max_examples=150, deadline=None)


def test_minus_one_is_no_255_and_other_shapes_are_no_images():
    """In torch int8's −1 equals 255, and uint8's 255 equals −1."""
    with pytest.raises(ValueError, match="target holds the label 255, wanted 0 to 1"):
        split_void(torch.tensor([255, 1], dtype=torch.uint8), 2, ignore_index=-1)
    labels, keep = split_void(torch.tensor([-1, 1], dtype=torch.int8), 2, ignore_index=-1)
    assert labels.tolist() == [0, 1] and keep.tolist() == [False, True]
    for shape in (4,), (2, 2, 3, 4):
        with pytest.raises(ValueError, match="x must be"):
            label_images(torch.zeros(shape), "x")


@each
@given(images.filter(np.size), st.sampled_from([VOID, None]))
def test_boxes_are_tight_and_scores_are_means(image, void):
    labels, probability = torch.from_numpy(image), torch.rand(image.shape)
    masks = instance_masks(labels, void)
    numbers = sorted(set(image.flat) - {0, void})
    assert instance_numbers(labels, void).tolist() == numbers
    boxes, scores = instance_boxes(masks), instance_scores(labels, probability, void)
    assert boxes.shape == (len(numbers), 4)
    for number, mask, box, score in zip(numbers, masks, boxes, scores, strict=True):
        assert mask.equal(labels == number) and score == pytest.approx(float(probability[mask].mean()))
        rows, columns = mask.nonzero().unbind(1)  # a box of one pixel has width 1
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@each
@given(images)
def test_renumbering_keeps_the_instances_and_closes_gaps(image):
    labels = torch.from_numpy(image)
    fresh = renumber(labels)
    assert torch.equal(instance_masks(fresh), instance_masks(labels, void=None)), "in a prediction 255 counts"
    assert instance_numbers(fresh).tolist() == list(range(1, len(instance_numbers(labels, void=None)) + 1))


def test_no_instance_is_numbered_like_void():
    fresh = renumber(torch.arange(400).reshape(20, 20))
    assert instance_numbers(fresh, void=None).tolist() == [n for n in range(1, 401) if n != VOID]


def separated_slowly(instances: np.ndarray) -> np.ndarray:
    """One cell, one neighbour, one component after the other."""
    area = {number: (instances == number).sum() for number in np.unique(instances)}
    foreground = instances != 0
    height, width = instances.shape
    for y, x in np.ndindex(height, width):
        for v, u in (y, x + 1), (y + 1, x):
            if v < height and u < width and 0 != instances[y, x] != instances[v, u] != 0:
                larger = (y, x) if area[instances[y, x]] >= area[instances[v, u]] else (v, u)
                foreground[larger] = False
    labels, count = ndimage.label(foreground)
    kept = np.zeros_like(foreground)
    for number in area:
        own = [k for k in range(1, count + 1) if number != 0 and (instances[labels == k] == number).all()]
        if own:
            kept |= labels == max(own, key=lambda k: ((labels == k).sum(), k))
    return kept.astype(np.uint8)


@each
@given(images)
def test_separate_touching_equals_its_slow_definition(instances):
    found = separate_touching(instances)
    assert found.dtype == np.uint8 and np.array_equal(found, separated_slowly(instances))
    components, count = ndimage.label(found)
    owners = [set(instances[components == k]) for k in range(1, count + 1)]
    assert all(len(owner) == 1 for owner in owners) and len(set().union(*owners)) == count, "a component per cell"
    assert np.array_equal(separate_touching(1000 * instances), found), "numbers do not matter"
