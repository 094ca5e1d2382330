"""One notebook out of all: a cover, contents, one set-up, then the parts with their outputs."""

import copy
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cvf20.submission.clean import KERNEL
from cvf20.submission.colab import set_up
from cvf20.submission.cover import contents, contents_by_sheet, cover, part_anchor
from cvf20.submission.group import Group
from cvf20.submission.notebook import number, read
from cvf20.submission.sections import Section, chosen, headings, split
from cvf20.submission.tasks import of_sheet

PARAMETERS = "quick = False\nseed = 0"
BLANK = re.compile(r"_{4}(?: \(fill in\))?")  # the notebooks' place for hours, which stand on the cover

KEPT = "os|shutil|subprocess|sys|Path|repository|found|quick|seed"  # the names of set-up and parameters
NEW_PART = f"""# a new part: forget the names of the one before, but not the parameters
%reset_selective -f ^(?!({KEPT})$)"""


def parts_of(paths: list[Path], sheet: str | None = None) -> dict[str, tuple[str, list[NotebookNode], list[Section]]]:
    """stem → (title, front cells without set-up and parameters, sections) of every notebook that has to do with the sheet.

    Of a single sheet only its own sections stay, and those that they build on.
    """
    ids = {task.id for task in of_sheet(sheet)}
    parts = {}
    for path in sorted(paths):
        front, sections = split(read(path), path.stem)
        if sheet is not None:
            sections = chosen(front, sections, ids)
        if sections:
            title = next(
                (line for cell in front if cell.cell_type == "markdown" for _, line in headings(cell.source)), ""
            )
            front = [cell for cell in front if not _is_set_up(cell)]
            for section in sections:
                section.cells = [cell for cell in section.cells if not _is_set_up(cell)]
            parts[path.stem] = (title.lstrip("# ").strip() or path.stem, front, sections)
    return parts


def _is_set_up(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and ("google.colab" in cell.source or "parameters" in cell.metadata.get("tags", []))


def merge(parts: dict, group: Group, sheet: str | None = None, seconds: dict[str, float] | None = None) -> NotebookNode:
    """The hand-in's notebook, valid by nbformat, cell ids unique, executed cells counted from 1.

    parts: from `parts_of`; seconds: training time per notebook, for the cover
    """
    sections = [section for _, _, those in parts.values() for section in those]
    summary = {stem: (title, those) for stem, (title, _, those) in parts.items()}
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    cells = [
        new_markdown_cell(cover(group, sheet, seconds or {})),
        new_markdown_cell(contents(summary)),
        new_markdown_cell(contents_by_sheet(sections, sheet)),
        new_code_cell(set_up(group.repository)),
        parameters,
    ]
    for place, cell in enumerate(cells):
        cell["id"] = f"cover-{place}"
    executed = set(map(id, cells[3:]))
    for stem, (_, front, those) in parts.items():
        anchors = {id(section.cells[0]): section.anchor for section in those}
        part = [*front, *(cell for section in those for cell in section.cells)]
        if part[0].cell_type != "markdown":
            part.insert(0, new_markdown_cell(f"# {summary[stem][0]}"))
        anchors.setdefault(id(part[0]), part_anchor(stem))
        copies = [_anchored(cell, anchors.get(id(cell))) for cell in part]
        if stem != next(iter(parts)):
            copies.insert(1, new_code_cell(NEW_PART))
            executed.add(id(copies[1]))
        for place, cell in enumerate(copies):
            cell["id"] = f"{number(stem) or stem}-{place:03d}"
        cells += copies
    _count(cells, executed)
    nb = new_notebook(cells=cells, metadata={"kernelspec": dict(KERNEL), "language_info": {"name": "python"}})
    nbformat.validate(nb)
    return nb


def _anchored(cell: NotebookNode, anchor: str | None) -> NotebookNode:
    """A copy; with a place to link to, which Jupyter, Colab and VS Code all understand, above its text."""
    cell = copy.deepcopy(cell)
    if anchor:
        cell.source = f'<a id="{anchor}" name="{anchor}"></a>\n\n{cell.source}'
    for output in cell.get("outputs", []):
        for kind, text in output.get("data", {}).items():
            if kind in ("text/markdown", "text/plain") and isinstance(text, str):
                output.data[kind] = BLANK.sub("see cover", text)
    return cell


def _count(cells: list[NotebookNode], executed: set[int]) -> None:
    """Number what was executed from 1, as if run in one go."""
    count = 0
    for cell in cells:
        if cell.cell_type == "code" and cell.source.strip():
            count += 1
            if cell.execution_count is not None or id(cell) in executed:
                cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = cell.execution_count
