"""The set-up cell: it finds the package for a notebook, in Jupyter, VS Code and Colab, or says what to type."""

import json
from collections.abc import Iterable
from pathlib import Path

import nbformat

from cvf20.submission.notebook import TEMPLATES, read, tags
from cvf20.training.results import write_text


def set_up(repository: str = "") -> str:
    """The cell's source; repository: what is cloned where no copy of the package is near."""
    cell = (TEMPLATES / "set_up.txt").read_text(encoding="utf-8").strip()
    return cell.replace("REPOSITORY", json.dumps(repository))


def write_address(notebooks: Iterable[Path], repository: str) -> list[str]:
    """Put the address into the set-up cell of each notebook, and change nothing else; the names of those changed."""
    changed = []
    for path in notebooks:
        nb = read(path)
        old = [cell for cell in nb.cells if "set-up" in tags(cell) and cell.source != set_up(repository)]
        for cell in old:
            cell.source = set_up(repository)
        if old:
            write_text(path, nbformat.writes(nb) + "\n")
            changed.append(path.name)
    return changed
