"""One notebook out of all: cover, contents, set-up, then the notebooks as they are, with their outputs."""

import base64
import copy
import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cvf20.submission.check import PICTURE
from cvf20.submission.colab import set_up
from cvf20.submission.notebook import headings, number, read, tags
from cvf20.submission.tasks import ids_in, of_sheet


@dataclass
class Section:
    """What stands below one second-level heading; ids: the tasks that its headings name. The front has no heading."""

    stem: str
    title: str
    anchor: str
    ids: tuple[str, ...] = ()
    cells: list[NotebookNode] = field(default_factory=list)


def parts_of(paths: list[Path], sheet: str | None = None) -> dict[str, list[Section]]:
    """stem → its sections, the first of them the front, of every notebook that has to do with the sheet.

    Of a single sheet those sections stay that name one of its tasks, and with them those that name none at all.
    """
    ids, parts = {task.id for task in of_sheet(sheet)}, {}
    for path in sorted(paths):
        sections = split(read(path), path)
        answers = {id for section in sections for id in section.ids} - {"A-t"}
        if sheet is None or answers & ids:
            parts[path.stem] = [s for s in sections if sheet is None or not s.ids or ids & set(s.ids)]
    return parts


def split(nb: NotebookNode, path: Path) -> list[Section]:
    """Front and sections. A Markdown cell with several second-level headings is cut apart."""
    own, taken = number(path.name) or path.stem, set()
    titles = [line for cell in nb.cells if cell.cell_type == "markdown" for _, line in headings(cell.source)]
    sections = [Section(path.stem, next(iter(titles), path.stem).lstrip("# ").strip(), f"part-{own}")]
    for cell in _cut(nb.cells):
        cell = _with_pictures(copy.deepcopy(cell), path.parent)
        found = list(headings(cell.source)) if cell.cell_type == "markdown" else []
        if found and found[0][1].startswith("## "):
            title = found[0][1].lstrip("# ").strip()
            anchor = base = re.sub(r"\W+", "-", "-".join([own, *(ids_in(found[0][1]) or [title])])).strip("-")
            while anchor in taken:
                anchor = f"{base}-{len(taken)}"
            taken.add(anchor)
            sections.append(Section(path.stem, title, anchor))
        sections[-1].ids += tuple(id for _, line in found for id in ids_in(line) if id not in sections[-1].ids)
        sections[-1].cells.append(cell)
    return sections


def _cut(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    for cell in cells:
        found = headings(cell.source) if cell.cell_type == "markdown" else ()
        places = [place for place, line in found if line.startswith("## ") and place]
        lines = cell.source.split("\n")
        pieces = ["\n".join(lines[i:j]) for i, j in zip([0, *places], [*places, len(lines)], strict=True)]
        yield from (NotebookNode({**cell, "source": piece.strip("\n")}) if places else cell for piece in pieces)


def _with_pictures(cell: NotebookNode, folder: Path) -> NotebookNode:
    """The cell with the picture files that its text shows as attachments: one notebook holds everything."""

    def attach(match: re.Match) -> str:
        name = match[1] or match[2]
        file, kind = folder / unquote(name), mimetypes.guess_type(name)[0] or "image/png"
        if ":" in name or not file.is_file():
            return match[0]
        key = f"{len(cell.get('attachments', {}))}-{file.name.replace(' ', '-')}"
        cell.setdefault("attachments", {})[key] = {kind: base64.b64encode(file.read_bytes()).decode()}
        start, end = (place - match.start() for place in match.span(1 if match[1] else 2))
        return f"{match[0][:start]}attachment:{key}{match[0][end:]}"

    if cell.cell_type == "markdown":
        cell.source = PICTURE.sub(attach, cell.source)
    return cell


def is_set_up(cell: NotebookNode) -> bool:
    bare = re.sub(r'^repository = ".*"', 'repository = ""', cell.source.strip(), flags=re.MULTILINE)
    return cell.cell_type == "code" and ("set-up" in tags(cell) or bare == set_up())


def merge(parts: dict[str, list[Section]], first: list[str], repository: str = "") -> NotebookNode:
    """The hand-in's notebook; first: Markdown of cover and contents; repository: what the set-up may clone.

    Cells are those of the parts; only the set-up, which is the same everywhere, stands once.
    """
    sections = [section for those in parts.values() for section in those]
    prepared = [new_code_cell(set_up(repository), metadata={"tags": ["set-up"]})]
    prepared += [cell for section in sections for cell in section.cells if is_set_up(cell)]
    executed = [cell for cell in prepared if cell.source == prepared[0].source]
    cells = [*map(new_markdown_cell, first), copy.deepcopy(executed[-1])]
    for place, cell in enumerate(cells):
        cell["id"] = f"cover-{place}"
    for section in sections:
        own = [copy.deepcopy(cell) for cell in section.cells if not is_set_up(cell)]
        if not own or own[0].cell_type != "markdown":
            own.insert(0, new_markdown_cell(f"# {section.title}"))
        mark = f'<a id="{section.anchor}" name="{section.anchor}"></a>'  # Jupyter, Colab and VS Code all understand it
        own[0].source = f"{mark}\n\n{own[0].source}"
        for cell in own:
            cell["id"] = f"part{number(section.stem) or section.stem}-{len(cells)}"
            if "hide-input" in tags(cell):
                cell.metadata["jupyter"] = {**cell.metadata.get("jupyter", {}), "source_hidden": True}
                cell.metadata["cellView"] = "form"  # Colab's way
            cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
