import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cvf20.labels import VOID
from cvf20.labels.instances import instance_boxes, instance_masks, instance_numbers, instance_scores, renumber

NUMBERS = st.sampled_from([0, 0, 3, 7, VOID, 300])
label_images = arrays("int64", st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=NUMBERS).map(torch.from_numpy)


@settings(max_examples=100, deadline=None)
@given(label_images)
def test_boxes_are_tight(labels):
    masks = instance_masks(labels)
    for mask, box in zip(masks, instance_boxes(masks), strict=True):
        rows, columns = mask.nonzero().unbind(1)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == [float(edge) for edge in expected]


def test_box_of_one_pixel_is_not_empty():
    labels = torch.zeros(5, 7, dtype=torch.int64)
    labels[2, 3] = 9
    assert instance_boxes(instance_masks(labels)).tolist() == [[3, 2, 4, 3]]
    assert instance_boxes(instance_masks(torch.zeros_like(labels))).shape == (0, 4)


@settings(max_examples=100, deadline=None)
@given(label_images)
def test_renumbering_keeps_the_instances_and_closes_gaps(labels):
    fresh = renumber(labels)
    assert torch.equal(instance_masks(fresh), instance_masks(labels, void=None)), "in a prediction 255 counts"
    assert instance_numbers(fresh).tolist() == list(range(1, len(instance_numbers(labels, void=None)) + 1))
    assert torch.equal(renumber(fresh), fresh)


def test_no_instance_is_numbered_like_void():
    labels = torch.arange(400).reshape(20, 20)
    fresh = renumber(labels)
    assert instance_numbers(fresh).tolist() == [n for n in range(1, 401) if n != VOID]
    assert len(instance_masks(fresh)) == 399


def test_scores_are_means():
    labels = torch.tensor([[0, 5, 5], [2, 2, VOID]])
    probability = torch.tensor([[0.9, 0.2, 0.4], [1.0, 0.5, 0.7]])
    assert instance_scores(labels, probability).tolist() == pytest.approx([0.75, 0.3])
    assert instance_scores(torch.zeros(2, 3, dtype=torch.int64), probability).shape == (0,)


def test_wrong_labels_are_named():
    with pytest.raises(ValueError, match="labels holds 0.5, wanted labels: whole numbers"):
        instance_numbers(torch.full((3, 3), 0.5))
