"""One notebook out of all: cover, contents, set-up, then the notebooks as they are, with their outputs."""

import base64
import copy
import mimetypes
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cvf20.submission.check import PICTURE
from cvf20.submission.colab import set_up
from cvf20.submission.notebook import TIME, headings, ids_in, number, of_sheet, read, tags


@dataclass
class Section:
    """What stands below one second-level heading, or before the first; ids: the tasks that its headings name."""

    stem: str
    title: str
    anchor: str
    ids: tuple[str, ...] = ()
    cells: list[NotebookNode] = field(default_factory=list)
    front: bool = False


def sections_of(paths: list[Path], sheet: str | None = None) -> list[Section]:
    """Those of all notebooks; of a sheet: of each that answers a task of it, what names its tasks, or none at all."""
    ids, result = {task.id for task in of_sheet(sheet)}, []
    for sections in (split(path) for path in sorted(paths)):
        if sheet is None or ids & {id for section in sections for id in section.ids} - {TIME}:
            result += [s for s in sections if sheet is None or not s.ids or ids & set(s.ids)]
    return result


def split(path: Path) -> list[Section]:
    """What stands before the first second-level heading, then a section for each cell that holds such headings."""
    cells, own = read(path).cells, number(path.name) or path.stem
    title = next((line for cell in cells for line in headings(cell)), path.stem).lstrip("# ").strip()
    sections = [Section(path.stem, title, f"part-{own}", front=True)]
    for cell in cells:
        if begins := [line for line in headings(cell) if line.startswith("## ")]:
            title = begins[0].lstrip("# ").strip()
            anchor = re.sub(r"\W+", "-", "-".join([own, *(ids_in(begins[0]) or [title])])).strip("-")
            taken = any(section.anchor == anchor for section in sections)
            sections.append(Section(path.stem, title, f"{anchor}-{len(sections)}" if taken else anchor))
        found = [id for line in headings(cell) for id in ids_in(line)]
        sections[-1].ids += tuple(id for id in found if id not in sections[-1].ids)
        sections[-1].cells.append(_with_pictures(copy.deepcopy(cell), path.parent))
    return sections


def _with_pictures(cell: NotebookNode, folder: Path) -> NotebookNode:
    """The cell with the picture files that its text shows as attachments: one notebook holds everything."""

    def attach(match: re.Match) -> str:
        name = match[1] or match[2]
        file, kind = folder / unquote(name), mimetypes.guess_type(name)[0] or "image/png"
        if ":" in name or not file.is_file():
            return match[0]
        key = f"{len(cell.setdefault('attachments', {}))}-{file.name.replace(' ', '-')}"
        cell.attachments[key] = {kind: base64.b64encode(file.read_bytes()).decode()}
        start, end = (place - match.start() for place in match.span(1 if match[1] else 2))
        return f"{match[0][:start]}attachment:{key}{match[0][end:]}"

    cell.source = PICTURE.sub(attach, cell.source) if cell.cell_type == "markdown" else cell.source
    return cell


def is_set_up(cell: NotebookNode) -> bool:
    bare = re.sub(r'^repository = ".*"', 'repository = ""', cell.source.strip(), flags=re.MULTILINE)
    return cell.cell_type == "code" and bare == set_up()


def merge(sections: list[Section], first: list[str], repository: str = "") -> NotebookNode:
    """The cells of the sections below cover and contents (`first`); the set-up, the same everywhere, stands once."""
    prepared = [new_code_cell(set_up(repository), metadata={"tags": ["set-up"]})]
    prepared += [c for s in sections for c in s.cells if is_set_up(c) and c.source == prepared[0].source]
    cells = [*map(new_markdown_cell, first), prepared[-1]]  # as it ran in a notebook, if it did
    for section in sections:
        own = [copy.deepcopy(cell) for cell in section.cells if not is_set_up(cell)]
        if not own or own[0].cell_type != "markdown":
            own.insert(0, new_markdown_cell(""))
        mark = f'<a id="{section.anchor}" name="{section.anchor}"></a>'  # Jupyter, Colab and VS Code all understand it
        own[0].source = f"{mark}\n\n{own[0].source}"
        for cell in [cell for cell in own if "hide-input" in tags(cell)]:
            cell.metadata["jupyter"] = {**cell.metadata.get("jupyter", {}), "source_hidden": True}
            cell.metadata["cellView"] = "form"  # Colab's way
        cells += own
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
