"""The tasks of the four exercises (tasks.txt): which notebook answers them, and how a heading says that it does."""

import re
from dataclasses import dataclass

from cvf20.submission.notebook import TEMPLATES
from cvf20.training.results import NOTEBOOKS

TIME = "A-t"  # asked of every notebook


@dataclass(frozen=True)
class Task:
    """id: as in the heading; notebooks: the stems that answer it."""

    id: str
    title: str
    notebooks: tuple[str, ...]


_LINES = (TEMPLATES / "tasks.txt").read_text(encoding="utf-8").splitlines()
_ROWS = [re.split(r"\s{2,}", line) for line in _LINES if re.match(r"[A-D]\S*  ", line)]
SHEETS = {row[0]: row[1] for row in _ROWS if len(row) == 2}
TASKS = {
    id: Task(id, title, tuple(stem for stem in NOTEBOOKS if numbers == "all" or stem[:2] in numbers.split()))
    for id, numbers, title in [row for row in _ROWS if len(row) == 3]
}
_ID = rf"(?:{'|'.join(TASKS)})(?!\w)"
_MORE = rf"(?:\s*(?:,|·|/|\+|&|and)\s*{_ID})*"
_HEADING = re.compile(rf"#{{2,4}}\s[\W_]*(?:(?:task|exercise|problem)s?\b[\W_]*)?({_ID}{_MORE})", re.IGNORECASE)


def ids_in(heading: str) -> tuple[str, ...]:
    """("A3b", "A3c") of "## A3b, A3c · Two losses" or "## Task A3b and A3c"; () where a line names no task."""
    match = _HEADING.match(heading)
    found = [id.lower() for id in re.findall(_ID, match[1], re.IGNORECASE)] if match else []
    return tuple(id for id in TASKS if id.lower() in found)


def asked_of(stem: str) -> tuple[str, ...]:
    """Ids that the notebook "03_unet" has to answer; none for a notebook that the house does not know."""
    return tuple(task.id for task in TASKS.values() if stem in task.notebooks)


def of_sheet(sheet: str | None) -> tuple[Task, ...]:
    """The sheet's tasks in the sheet's order; all tasks where `sheet` is None. Raises ValueError for an unknown one."""
    if sheet is not None and sheet not in SHEETS:
        raise ValueError(f"sheet: found {sheet!r}, wanted one of {', '.join(SHEETS)}")
    return tuple(task for task in TASKS.values() if sheet in (None, task.id[0]))
