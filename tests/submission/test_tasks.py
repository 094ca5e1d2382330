"""The list of tasks agrees with the notebooks there are, and headings are read as a person reads them."""

import pytest

from cvf20.submission.tasks import SHEETS, TASKS, asked_of, ids_in, of_sheet
from cvf20.training.results import NOTEBOOKS


def test_every_task_belongs_to_a_sheet_and_to_notebooks_that_exist():
    assert {task.sheet for task in TASKS.values()} == set(SHEETS)
    for task in TASKS.values():
        assert task.title and task.notebooks and set(task.notebooks) <= set(NOTEBOOKS), task
    assert [len(of_sheet(sheet)) for sheet in SHEETS] == [11, 6, 9, 8]


def test_tasks_of_a_notebook_and_notebooks_of_a_task_are_the_same_relation():
    pairs = {(id, stem) for stem in NOTEBOOKS for id in asked_of(stem)}
    assert pairs == {(task.id, stem) for task in TASKS.values() for stem in task.notebooks}
    assert all("A-t" in asked_of(stem) for stem in NOTEBOOKS)
    assert asked_of("03_trial") == asked_of("notes") == ()


@pytest.mark.parametrize(
    ("heading", "ids"),
    [
        ("## C6 · UNet", ("C6",)),
        ("## A3b, A3c · Two losses", ("A3b", "A3c")),
        ("### B2 and C4: losses", ("B2", "C4")),
        ("## D1 / D6 – transfer", ("D1", "D6")),
        ("## A-t · Time", ("A-t",)),
        ("## D3", ("D3",)),
        ("# C6 · a title of the whole notebook", ()),
        ("## C60 · no task", ()),
        ("## C6b", ("C6b",)),
        ("## Summary of C6", ()),
        ("##C6 · no heading", ()),
        ("## B4 beats all", ()),
        ("text ## C6 · x", ()),
    ],
)
def test_ids_in_a_heading(heading, ids):
    assert ids_in(heading) == ids


def test_unknown_sheet_is_named():
    with pytest.raises(ValueError, match="'E'.*A, B, C, D"):
        of_sheet("E")
