"""The list of tasks agrees with the notebooks there are, and headings are read as a person reads them."""

import time

import pytest

from cvf20.paths import project_dir
from cvf20.submission.notebook import SHEETS, TASKS, TIME, ids_in, of_sheet
from cvf20.training.results import NOTEBOOKS


def test_every_task_belongs_to_a_sheet_and_to_notebooks_that_exist():
    numbers = {stem[:2] for stem in NOTEBOOKS}
    assert {task.id[0] for task in TASKS.values()} == set(SHEETS)
    for task in TASKS.values():
        assert task.title and task.notebooks and set(task.notebooks) <= numbers, task
    assert [len(of_sheet(sheet)) for sheet in SHEETS] == [11, 6, 9, 8]
    assert set(TASKS[TIME].notebooks) == numbers


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
        ("## C6b", ()),
        ("## B3 My UNet", ("B3",)),
        ("## B3. x", ("B3",)),
        ("## Task B3", ("B3",)),
        ("## Tasks b3 and **C6**: x", ("B3",)),
        ("## **B3** (mine)", ("B3",)),
        ("## Summary of C6", ()),
        ("##C6 · no heading", ()),
        ("## A-team", ()),
        ("text ## C6 · x", ()),
    ],
)
def test_ids_in_a_heading(heading, ids):
    assert ids_in(heading) == ids


def test_unknown_sheet_is_named():
    with pytest.raises(ValueError, match="'E'.*A, B, C, D"):
        of_sheet("E")


def test_a_long_line_takes_no_time():
    start = time.perf_counter()
    for line in ("## " + "-" * 100_000, "## " + "B3," * 30_000, "## Task" + " " * 100_000):
        ids_in(line)
    assert time.perf_counter() - start < 1


def test_readme_says_where_each_task_is_answered():
    readme = (project_dir() / "README.md").read_text(encoding="utf-8")
    for task in TASKS.values():
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| {task.id} |")]
        assert task.id == TIME or all(f"notebooks/{number}_" in row for number in task.notebooks), task
