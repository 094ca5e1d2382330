"""Types, range and void of labels; border distances and components are held to brute force beside the losses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from cvf20.labels import VOID, check_integer, check_labels, label_images, split_void
from cvf20.labels.instances import consecutive, runs, separate_touching

TYPES = [
    getattr(torch, name) for name in "uint8 int16 int32 int64 uint16 uint32 float16 bfloat16 float32 float64".split()
]
images = arrays(
    "int64", st.tuples(st.integers(0, 9), st.integers(1, 9)), elements=st.sampled_from([0, 0, 1, 2, 255, 70000])
)
cells = arrays(
    "int64", st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 1, 2, 255, 300])
)


@pytest.mark.parametrize("dtype", TYPES)
def test_whole_numbers_of_any_type_are_labels(dtype):
    values = [0, 1, 4, VOID]
    labels = check_integer(torch.tensor(values).to(dtype), "labels")
    assert labels.dtype == torch.int64 and labels.tolist() == values
    known, keep = split_void(torch.tensor(values).to(dtype), 5)
    assert known.tolist() == [0, 1, 4, 0] and keep.tolist() == [True, True, True, False]


def test_bool_is_0_and_1():
    assert check_integer(torch.tensor([False, True]), "labels").tolist() == [0, 1]


@pytest.mark.parametrize("value", [0.5, torch.nan, torch.inf, -torch.inf])
def test_other_numbers_are_named(value):
    with pytest.raises(ValueError, match=f"target holds {value:g}, wanted labels: whole numbers"):
        split_void(torch.tensor([0.0, value, 1.0]), 2)


def test_minus_one_is_no_255():
    """In torch int8's −1 equals 255, and uint8's 255 equals −1."""
    with pytest.raises(ValueError, match="target holds the label -1, wanted 0 to 1"):
        split_void(torch.tensor([-1, 1], dtype=torch.int8), 2)
    with pytest.raises(ValueError, match="target holds the label 255, wanted 0 to 1"):
        split_void(torch.tensor([255, 1], dtype=torch.uint8), 2, ignore_index=-1)
    assert split_void(torch.tensor([-1, 1], dtype=torch.int8), 2, ignore_index=-1)[1].tolist() == [False, True]


def test_range_shape_and_type_are_named():
    with pytest.raises(ValueError, match="x holds the label 7, wanted 0 to 6"):
        check_labels(torch.tensor([7]), 7, "x")
    with pytest.raises(ValueError, match="x holds the label -2, wanted labels ≥ 0"):
        label_images(torch.tensor([[-2, 900]]), "x")
    for shape in ((2, 3, 4), (2, 1, 3, 4)):
        assert label_images(torch.zeros(shape), "x").shape == (2, 3, 4)
    assert label_images(torch.zeros(3, 4), "x").shape == (1, 3, 4)
    for shape in ((4,), (2, 2, 3, 4)):
        with pytest.raises(ValueError, match="x must be"):
            label_images(torch.zeros(shape), "x")


@settings(max_examples=200, deadline=None)
@given(images)
def test_consecutive_is_numpys_unique(image):
    numbers, position = consecutive(image)
    wanted, inverse = np.unique(image, return_inverse=True)
    assert np.array_equal(numbers, wanted) and np.array_equal(position, inverse.reshape(image.shape))
    (values, again), lengths = runs(image, -image)
    assert np.array_equal(np.repeat(values, lengths), image.ravel()) and np.array_equal(again, -values)


def separated_slowly(instances: np.ndarray) -> np.ndarray:
    """One cell, one neighbour, one component after the other."""
    area = {number: (instances == number).sum() for number in np.unique(instances)}
    rank = {number: k for k, number in enumerate(np.unique(instances))}
    foreground = instances != 0
    height, width = instances.shape
    for y, x in np.ndindex(height, width):
        for v, u in (y, x + 1), (y + 1, x):
            if v < height and u < width and 0 != instances[y, x] != instances[v, u] != 0:
                larger = (y, x) if area[instances[y, x]] >= area[instances[v, u]] else (v, u)
                foreground[larger] = False
    labels, count = ndimage.label(foreground)
    kept = np.zeros_like(foreground)
    for number in rank:
        own = [k for k in range(1, count + 1) if number != 0 and (instances[labels == k] == number).all()]
        if own:
            kept |= labels == max(own, key=lambda k: ((labels == k).sum(), k))
    return kept.astype(np.uint8)


@settings(max_examples=300, deadline=None)
@given(cells)
def test_separate_touching_equals_its_slow_definition(instances):
    found = separate_touching(instances)
    assert found.dtype == np.uint8 and np.array_equal(found, separated_slowly(instances))
    components, count = ndimage.label(found)
    owners = [set(instances[components == k]) for k in range(1, count + 1)]
    assert all(len(owner) == 1 for owner in owners) and len(set().union(*owners)) == count, "a component per cell"
    assert np.array_equal(separate_touching(1000 * instances), found), "numbers do not matter"
