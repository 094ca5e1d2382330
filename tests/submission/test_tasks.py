"""The list of tasks agrees with the notebooks there are, and headings are read as a person reads them."""

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


HEADINGS = {
    "C6": "## C6 · UNet|### C6|## C6. x|## C6 My UNet|## Task C6|## **c6** (mine)|## Exercise C6: x",
    "A3b A3c": "## A3b, A3c · Two losses|## Tasks A3b and A3c|#### A3b/A3c – x",
    "A-t": "## A-t · Time",
    "": "# C6 · of the whole notebook|## C60 · x|## C6b|## A-team|## Summary of C6|##C6|x ## C6 · x",
}


@pytest.mark.parametrize(
    ("ids", "heading"), [(ids, each) for ids, headings in HEADINGS.items() for each in headings.split("|")]
)
def test_ids_in_a_heading(ids, heading):
    assert ids_in(heading) == tuple(ids.split())


def test_readme_says_where_each_task_is_answered():
    readme = (project_dir() / "README.md").read_text(encoding="utf-8")
    for task in TASKS.values():
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| {task.id} |")]
        assert task.id == TIME or all(f"notebooks/{number}_" in row for number in task.notebooks), task
