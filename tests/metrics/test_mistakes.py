"""Mistakes that were made on purpose are found, of the right kind and number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cvf20.metrics.topology import found_cells, wrong_pixels


def disc(row, column, radius, size=64):
    rows, columns = np.ogrid[:size, :size]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


COLONY = disc(30, 30, 8) | disc(30, 44, 3) | disc(10, 10, 4)


def test_a_perfect_prediction_finds_everything():
    rows = found_cells(COLONY, COLONY)
    assert len(rows) == 3 and all(row["found"] == 1 for row in rows)
    assert sum(row["area"] for row in rows) == COLONY.sum()
    assert sum(wrong_pixels(COLONY, COLONY).values()) == 0


def test_a_deleted_cell_is_missed_and_an_added_one_invented():
    prediction = (COLONY & ~disc(10, 10, 4)) | disc(55, 55, 3)
    kinds = wrong_pixels(prediction, COLONY)
    assert kinds == {
        "missed cell": disc(10, 10, 4).sum(),
        "invented cell": disc(55, 55, 3).sum(),
        "border": 0,
        "inside": 0,
    }
    assert sorted(row["found"] for row in found_cells(prediction, COLONY)) == [0, 1, 1]


def test_a_thinner_outline_and_a_hole_are_told_apart():
    hole, ring = disc(30, 30, 2), disc(30, 30, 8) & ~disc(30, 30, 7)
    kinds = wrong_pixels(COLONY & ~hole & ~ring, COLONY)
    assert kinds["border"] == ring.sum() and kinds["inside"] == hole.sum()


def test_the_rim_is_nearer_for_what_lies_outside():
    colony = sum(
        (disc(r, c, 5, 96) for r in (24, 36, 48, 60, 72) for c in (24, 36, 48, 60, 72)), np.zeros((96, 96), bool)
    )
    rows = found_cells(colony, colony)
    assert len(rows) == 25
    assert max(rows, key=lambda row: row["rim"]) is rows[12], "the one in the middle"
    assert min(row["rim"] for row in rows) == pytest.approx(6, abs=2)  # a cell's radius, and a step to the background


@given(arrays(bool, (12, 12), elements=st.booleans()), arrays(bool, (12, 12), elements=st.booleans()))
def test_kinds_add_up_to_all_wrong_pixels(prediction, target):
    kinds = wrong_pixels(prediction, target)
    assert sum(kinds.values()) == (prediction ^ target).sum()
    assert all(0 <= row["found"] <= 1 and row["area"] >= 1 for row in found_cells(prediction, target))
