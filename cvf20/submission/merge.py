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
from cvf20.submission.notebook import TIME, headings, ids_in, is_set_up, number, of_sheet, read, set_up, tags


@dataclass
class Section:
    """What stands below one second-level heading, or before the first (`front`)."""

    stem: str
    title: str
    anchor: str
    front: bool = False
    cells: list[NotebookNode] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The tasks that its headings name."""
        return list(dict.fromkeys(id for cell in self.cells for line in headings(cell) for id in ids_in(line)))


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
            sections.append(Section(path.stem, begins[0].lstrip("# ").strip(), f"part-{own}-{len(sections)}"))
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
        before, _, after = match[0].rpartition(name)
        return f"{before}attachment:{key}{after}"

    cell.source = PICTURE.sub(attach, cell.source) if cell.cell_type == "markdown" else cell.source
    return cell


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
