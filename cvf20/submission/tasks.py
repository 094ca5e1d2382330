"""The tasks of the four exercises: which there are, which notebook answers them, and how a heading says that it does."""

import re
from dataclasses import dataclass
from importlib import resources

from cvf20.training.results import NOTEBOOKS

TIME = "A-t"  # asked of every notebook


@dataclass(frozen=True)
class Task:
    """id: as in the heading; notebooks: the stems that answer it."""

    id: str
    title: str
    notebooks: tuple[str, ...]

    @property
    def sheet(self) -> str:
        return self.id[0]


def _parse(line: str) -> Task:
    id, numbers, title = re.split(r"\s{2,}", line)
    return Task(id, title, tuple(stem for stem in NOTEBOOKS if numbers == "all" or stem[:2] in numbers.split()))


_LINES = resources.files(__package__).joinpath("tasks.txt").read_text(encoding="utf-8").splitlines()
SHEETS = dict(line.split("  ", 1) for line in _LINES if re.match(r"\w  ", line))
TASKS = {task.id: task for task in (_parse(line) for line in _LINES if re.match(r"\w[\d-]", line))}
_ID = rf"(?:{'|'.join(TASKS)})(?!\w)"
_HEADING = re.compile(
    rf"#{{2,4}}\s[\W_]*(?:(?:task|exercise|problem)s?\b[\W_]*)?({_ID}(?:\s*(?:,|·|/|\+|&|and)\s*{_ID})*)", re.IGNORECASE
)


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
    return tuple(task for task in TASKS.values() if sheet in (None, task.sheet))
