"""topology_errors by its definitions in plain loops, on scenes that can be counted by eye, and its symmetries."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from tensors import draw_pair, masks, quick, seeds

from cvf20.labels import VOID
from cvf20.metrics import error_map, topology_errors, topology_scores
from cvf20.metrics.topology import STATES, object_images
from cvf20.metrics.topology import partition_errors as of_images


def partition_errors(prediction, target, instances=None, exclude_border=False):
    return of_images(object_images(prediction, target, instances), exclude_border)


def objects_of(mask: np.ndarray) -> list[np.ndarray]:
    labels, count = ndimage.label(mask)
    return [labels == i for i in range(1, count + 1)]


def holes_of(mask: np.ndarray) -> int:
    return ndimage.label(np.pad(~mask, 1, constant_values=True), np.ones((3, 3)))[1] - 1


def at_edge(mask: np.ndarray) -> bool:
    return mask.sum() > mask[1:-1, 1:-1].sum()


def errors_by_definition(prediction: torch.Tensor, target: torch.Tensor, exclude_border: bool) -> dict[str, int]:
    total = dict.fromkeys(("splits", "merges", "missed", "spurious", "betti0", "betti1", "cells"), 0)
    for p, t in zip(prediction.numpy(), target.numpy(), strict=True):
        components, cells = objects_of(p), objects_of(t)
        counted = [cell for cell in cells if not (exclude_border and at_edge(cell))]
        total["cells"] += len(counted)
        for component in components:
            total["merges"] += max(0, sum((component & c).sum() >= c.sum() / 2 for c in counted) - 1)
            if not (exclude_border and at_edge(component)):
                total["spurious"] += (component & t).sum() < component.sum() / 2
        for cell in counted:
            total["splits"] += max(0, sum((c & cell).sum() >= c.sum() / 2 for c in components) - 1)
            total["missed"] += (cell & p).sum() < cell.sum() / 2
        total["betti0"] += abs(len(components) - len(cells))
        total["betti1"] += abs(holes_of(p) - holes_of(t))
    return {name: int(count) for name, count in total.items()}


@quick
@given(seeds, st.booleans())
def test_errors_equal_their_definitions(seed, exclude_border):
    prediction, target = (labels > 0 for labels in draw_pair(seed, 3, 0, (3, 8, 9)))
    found = topology_errors(prediction, target, exclude_border=exclude_border)
    assert found == errors_by_definition(prediction, target, exclude_border)


def test_a_mask_is_a_mask_whatever_its_type():
    """The data sets' own masks are uint8 0 and 1: 8 cells, as with bool, not one per image."""
    target = (torch.arange(12) % 3 > 0).expand(3, 2, 12)  # four cells an image
    target = torch.cat([target[:2], target[2:] & False])
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float32):
        same = target.to(dtype)
        assert topology_errors(same, same)["cells"] == topology_errors(target, same)["cells"] == 8
        assert topology_errors(same, same, instances=True)["cells"] == 2, "one object, number 1, per image"
    with_void = target.byte()
    with_void[0, :, :3] = VOID
    assert topology_errors(target, with_void)["cells"] == 7


def test_instances_that_touch_are_apart_and_may_be_forced_either_way():
    instances = torch.tensor([[[7, 7, 3, 3, 0, 3]]])
    for choice in (None, True, False):  # numbers, numbers, components of what is not 0
        found = topology_errors(instances, instances, choice)
        assert (found["cells"], found["splits"], found["merges"]) == (2, 0, 0)
    mask = instances.clamp(max=1)
    assert [topology_errors(mask, mask, choice)["cells"] for choice in (None, True, False)] == [2, 1, 2]
    joined, parted = topology_errors(mask, instances), topology_errors(instances, mask)
    assert (joined["merges"], joined["betti0"], parted["splits"]) == (1, 1, 1)


def test_the_255th_component_is_not_void():
    target = torch.zeros(1, 40, 60, dtype=torch.bool)
    target[:, ::2, ::2] = True
    errors = topology_errors(target, target)
    assert errors["cells"] == 600 and errors["missed"] == errors["spurious"] == 0
    instances = torch.arange(1, 401).reshape(1, 20, 20)
    assert topology_errors(instances, instances)["cells"] == 399, "in an instance image it is"


def test_void_is_no_cell():
    prediction, target = torch.tensor([[[7, 7, 0, 3, 3, 9]]]), torch.tensor([[[4, 4, 0, VOID, VOID, VOID]]])
    assert {name: count for name, count in topology_errors(prediction, target).items() if count} == {"cells": 1}
    assert error_map(prediction, target).tolist() == [[[STATES.index("right")] * 2 + [0] * 4]]
    assert partition_errors(prediction, target) == {"VI": 0, "ARE": 0}


EMPTY = "...................."
TARGET = masks(EMPTY, *[".###.###..#####.###."] * 3, EMPTY)
PREDICTION = masks(EMPTY, ".###.###..##.##...#.", ".#######..##.##.....", ".###.###..##.##.....", EMPTY)


def test_error_map_paints_each_cell_with_its_state():
    picture = error_map(PREDICTION, TARGET)[0]
    names = [STATES[state] for state in picture[2, [0, 2, 6, 12, 17]].tolist()]
    assert names == ["background", "merged", "merged", "split", "missed"]
    assert (picture[(TARGET[0] == 0)] == 0).all()
    invented = PREDICTION.clone()
    invented[0, 4, 19] = True
    assert STATES[error_map(invented, TARGET)[0, 4, 19]] == "spurious"
    assert set(error_map(TARGET, TARGET).unique().tolist()) == {0, STATES.index("right")}


def test_partition_errors_of_known_partitions():
    two, one = masks("##.##"), masks("#####")
    assert partition_errors(two, two) == {"VI": 0, "ARE": 0}
    merged = partition_errors(one, two)
    assert merged["VI"] == pytest.approx(1), "one bit is missing: which of the two equal cells"
    # pairs of pixels in one cell: 2; in one component: 6; of these in one cell: 2; ARE = 1 − 2·2 / (2 + 6)
    assert merged["ARE"] == pytest.approx(0.5)
    assert partition_errors(two, one)["VI"] == pytest.approx(2 * 0.4 * math.log2(5 / 2) + 0.2 * math.log2(5))
    nothing = partition_errors(two, two, exclude_border=True)
    assert all(math.isnan(score) for score in nothing.values())
    both = partition_errors(torch.cat([one, one]), torch.cat([two, two & False]))
    assert both == merged, "images without cells do not count"


def test_scores_of_logits():
    logits, target = torch.where(PREDICTION, 2.0, -2.0).unsqueeze(1), TARGET.long()
    scores = topology_scores(logits, target)
    assert [scores[name] for name in ("merges", "splits", "missed", "right")] == [25, 25, 25, 0]
    assert scores["IoU"] == pytest.approx((PREDICTION & TARGET).sum() / (PREDICTION | TARGET).sum())
    assert scores | partition_errors(PREDICTION, TARGET) == scores
    assert topology_scores(4.0 * target.unsqueeze(1) - 2, target)["right"] == 100
    halves = topology_scores(logits, target.masked_fill(torch.arange(20) >= 9, VOID))
    assert halves["merges"] == 50 and halves["splits"] == halves["missed"] == halves["spurious"] == 0
    nothing = topology_scores(logits, torch.full_like(target, VOID))
    assert all(math.isnan(nothing[name]) for name in ("merges", "right", "VI", "IoU"))
    assert topology_scores(torch.full_like(logits, torch.nan), target)["missed"] == 100
    with pytest.raises(ValueError, match="label 2, wanted 0 to 1"):
        topology_scores(logits, 2 * target)
