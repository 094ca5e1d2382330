"""What running, checking and merging agree on about a notebook: its number, its code, its headings, its words."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from cvf20.training.results import NOTEBOOKS

STAND_IN = re.compile(r"SYNTHETIC(?! by design)|SAMPLE:|\(sample\)")
_NUMBERED = re.compile(r"(\d\d)_")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_LISTING = re.compile(r"^```python$.*?^```$", re.MULTILINE | re.DOTALL)


def number(name: str) -> str | None:
    """ "03" of "03_unet.ipynb" or "03_unet_curves.png"; None for any other name."""
    match = _NUMBERED.match(name)
    return match[1] if match else None


def find_notebooks(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """number → notebook, of all there are; and a line for each that is left out, with what to do about it."""
    found, left_out = {}, []
    for path in sorted(
        folder.glob("*.ipynb"), key=lambda path: (path.stem not in NOTEBOOKS, len(path.stem), path.stem)
    ):
        own = number(path.name)
        if own is None or own in found:
            why = f"{found[own].name} has its number" if own else "its name begins with no number"
            left_out.append(f"{path.name} is left out: {why}; give it one of its own, such as 10_mine.ipynb")
        else:
            found[own] = path
    return dict(sorted(found.items())), left_out


def read(path: Path) -> NotebookNode:
    """The notebook as nbformat 4. Raises ValueError, naming the file, where it is none."""
    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    except Exception as error:  # nbformat raises whatever its JSON parser and its schema do
        raise ValueError(f"{path.name}: found no notebook ({error}), wanted nbformat 4") from error


def write(path: Path, nb: NotebookNode) -> None:
    """The whole notebook, or the file stays as it is."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    temporary.replace(path)


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def fingerprint(nb: NotebookNode) -> str:
    """Names the code of a notebook: whoever has another code has another one. Texts may change without a new run."""
    code = [c.source for c in nb.cells if c.cell_type == "code" and "injected-parameters" not in tags(c)]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def is_older(nb: NotebookNode) -> bool:
    """Whether the outputs were made by another code than the one that stands there, as far as the notebook knows."""
    return nb.metadata.get("cvf20", {}).get("rendered_from") != fingerprint(nb)


def texts(outputs: list[NotebookNode]) -> Iterator[str]:
    """Everything in a cell's outputs that is to be read: streams, and text, HTML or Markdown that was displayed."""
    for output in outputs:
        if output.output_type == "stream":
            yield output.text
        elif output.output_type != "error":
            yield from (
                text for kind, text in output.data.items() if kind.startswith("text/") and isinstance(text, str)
            )


def stand_in(nb: NotebookNode) -> str:
    """The first words in the outputs that say that data was drawn, or a small sample; "" where all of it was real."""
    for cell in nb.cells:
        for text in texts(cell.get("outputs", [])):
            text = _LISTING.sub("", text)  # library code that a notebook shows
            if found := STAND_IN.search(text):
                return text[found.start() : found.start() + 60].split("\n")[0]
    return ""


def headings(source: str) -> Iterator[tuple[int, str]]:
    """(line number from 0, line) of every Markdown heading outside code fences."""
    fence = ""
    for place, line in enumerate(source.split("\n")):
        if mark := _FENCE.match(line):
            fence = mark[1] if not fence else "" if mark[1].startswith(fence) else fence
        elif not fence and re.match(r"#{1,6}\s", line):
            yield place, line
