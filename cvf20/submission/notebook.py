"""What running, checking and merging agree on: the tasks (templates/tasks.txt), and how a notebook is read and set up."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import jinja2
import nbformat
from nbformat import NotebookNode

from cvf20.training.results import NOTEBOOKS, write_text

TEMPLATES = Path(__file__).parent / "templates"
TIME = "A-t"  # asked of every notebook


class Task(NamedTuple):
    """id: as in the heading; notebooks: numbers of those that answer it."""

    id: str
    notebooks: list[str]
    title: str


_ROWS = [re.split(r"\s{2,}", line) for line in (TEMPLATES / "tasks.txt").read_text(encoding="utf-8").splitlines()]
SHEETS = dict(row for row in _ROWS if len(row) == 2)
TASKS = {row[0]: Task(row[0], row[1].split(), row[2]) for row in _ROWS if len(row) == 3}
_ID = rf"(?:{'|'.join(TASKS)})(?!\w)"
_MORE = rf"(?:\s*(?:,|·|/|\+|&|and)\s*{_ID})*"
_ANSWER = re.compile(rf"#{{2,4}}\s[\W_]*(?:(?:task|exercise|problem)s?\b[\W_]*)?({_ID}{_MORE})", re.IGNORECASE)
_STAND_IN = re.compile(r"SYNTHETIC(?! by design)|SAMPLE:|\(sample\)|a small real sample")
_FENCED = re.compile(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1", re.MULTILINE | re.DOTALL)
_LISTING = re.compile(r"^```python$.*?^```$", re.MULTILINE | re.DOTALL)  # library code that a notebook shows


def ids_in(heading: str) -> tuple[str, ...]:
    """("A3b", "A3c") of "## A3b, A3c · Two losses" or "## Task A3b and A3c"; () where a line names no task."""
    match = _ANSWER.match(heading)
    found = [id.lower() for id in re.findall(_ID, match[1], re.IGNORECASE)] if match else []
    return tuple(id for id in TASKS if id.lower() in found)


def of_sheet(sheet: str | None) -> list[Task]:
    """The sheet's tasks in the sheet's order; all tasks where `sheet` is None."""
    return [task for task in TASKS.values() if sheet in (None, task.id[0])]


def render(name: str, **known) -> str:
    """A template with what is known; {{ text | cell }} is on one line and without a bare |, which would end the cell."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = lambda text: re.sub(r"(?<!\\)\|", r"\|", " ".join(text.split()))
    return environment.get_template(name).render(**known)


def number(name: str) -> str | None:
    """ "03" of "03_unet.ipynb" or "03_unet_curves.png"; None for any other name."""
    return name[:2] if re.match(r"\d\d_", name) else None


def find_notebooks(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """number → notebook, of all there are; and a line for each that is left out, with what to do about it."""
    found, left_out = {}, []  # the house's own come first, then the shortest names
    paths = sorted(folder.glob("*.ipynb"), key=lambda path: (path.stem not in NOTEBOOKS, len(path.stem), path.stem))
    for path in paths:
        own = number(path.name)
        if own is None or own in found:
            why = f"{found[own].name} has its number" if own else "its name begins with no number"
            left_out.append(f"{path.name} is left out: {why}; give it one of its own, such as 10_mine.ipynb")
        else:
            found[own] = path
    return dict(sorted(found.items())), left_out


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def fingerprint(nb: NotebookNode) -> str:
    """Names the code of a notebook; its texts and the address in its set-up cell may change without a new run."""
    code = [c.source for c in nb.cells if c.cell_type == "code" and not tags(c) & {"injected-parameters", "set-up"}]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def texts(cell: NotebookNode) -> list[str]:
    """Everything in a cell's outputs that is to be read: streams, and text, HTML or Markdown that was displayed."""
    shown = [output.get("data", {"text/plain": output.get("text", "")}) for output in cell.get("outputs", ())]
    return [text for data in shown for kind, text in data.items() if kind.startswith("text/")]


def uses_stand_in(nb: NotebookNode) -> bool:
    """Whether an output says that data was drawn, or is a small sample."""
    return any(_STAND_IN.search(_LISTING.sub("", text)) for cell in nb.cells for text in texts(cell))


def headings(cell: NotebookNode) -> list[str]:
    """The lines that are Markdown headings, outside of code fences."""
    source = cell.source if cell.cell_type == "markdown" else ""
    return re.findall(r"^#{1,6}[ \t].*", _FENCED.sub("", source), re.MULTILINE)


def set_up(repository: str = "") -> str:
    """The set-up cell, which finds the package; repository: what is cloned where no copy of the package is near."""
    cell = (TEMPLATES / "set_up.txt").read_text(encoding="utf-8").strip()
    return cell.replace("REPOSITORY", json.dumps(repository))


def is_set_up(cell: NotebookNode) -> bool:
    bare = re.sub(r'^repository = ".*"', 'repository = ""', cell.source.strip(), flags=re.MULTILINE)
    return cell.cell_type == "code" and bare == set_up()


def write_address(notebooks: Iterable[Path], repository: str) -> list[str]:
    """Put the address into the set-up cell of each notebook, and change nothing else; the names of those changed."""
    changed = []
    for path in notebooks:
        nb, wanted = read(path), set_up(repository)
        for cell in [cell for cell in nb.cells if "set-up" in tags(cell) and cell.source != wanted]:
            cell.source = wanted
            write_text(path, nbformat.writes(nb) + "\n")
            changed.append(path.name)
    return changed
