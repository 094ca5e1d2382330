"""What running, checking and publishing must agree on about a notebook: its number, its parameters cell, its text."""

import re
import symtable
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

NUMBERED = re.compile(r"(\d\d)_")


def number(name: str) -> str | None:
    """ "03" of "03_unet.ipynb" or "03_unet_curves.png"; None for any other name."""
    match = NUMBERED.match(name)
    return match[1] if match else None


def read(path: Path) -> NotebookNode:
    """The notebook as nbformat 4. Raises ValueError, naming the file, where it is none."""
    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    except Exception as error:  # nbformat raises whatever its JSON parser and its schema do
        raise ValueError(f"{path.name}: found no notebook ({error}), wanted nbformat 4") from error


def sources(nb: NotebookNode) -> list[tuple[str, str]]:
    """What a person wrote: kind and source of every cell."""
    return [(cell.cell_type, cell.source) for cell in nb.cells]


def tagged(nb: NotebookNode, tag: str) -> list[NotebookNode]:
    return [cell for cell in nb.cells if tag in cell.metadata.get("tags", [])]


def texts(outputs: list[NotebookNode]) -> Iterator[str]:
    """Everything in a cell's outputs that is to be read: streams, and text, HTML or Markdown that was displayed."""
    for output in outputs:
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield "\n".join(output.traceback)
        else:
            yield from (value for kind, value in output.data.items() if kind.startswith("text/"))


def parameters_fault(nb: NotebookNode) -> str | None:
    """What is wrong with the parameters cell, or None: exactly one, tagged `parameters`, with quick = False and seed.

    Without it papermill puts its values above the notebook's own, which then win: a quick run would be a full one.
    """
    cells = tagged(nb, "parameters")
    if len(cells) != 1:
        return f"{len(cells)} cells are tagged 'parameters'"
    if not re.search(r"^quick\s*=\s*False\b", cells[0].source, re.M) or not re.search(
        r"^seed\s*=\s*\d", cells[0].source, re.M
    ):
        return "the cell tagged 'parameters' does not set 'quick = False' and 'seed'"
    return None


def assigned(code: str) -> set[str]:
    """Names that a cell sets at its top level; none where it is no plain Python."""
    try:
        table = symtable.symtable(code, "cell", "exec")
    except SyntaxError:
        return set()
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
