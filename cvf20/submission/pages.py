"""The hand-in as one HTML page that loads nothing, and as a PDF by exercise and task; pandoc reads the notebook."""

import copy
import re
import tempfile
from pathlib import Path

import nbformat
import pypandoc
import typst
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from cvf20.submission.merge import Section
from cvf20.submission.notebook import SHEETS, TEMPLATES, is_set_up, of_sheet, tags

SAFE = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">"""


def page(nb: NotebookNode, title: str) -> str:
    """The notebook as a page: pictures inside, formulas as MathML, hidden code folded away; a browser fetches nothing."""
    options = ["--embed-resources", "--mathml", f"--css={TEMPLATES / 'page.css'}", f"--variable=header-includes:{SAFE}"]
    return _pandoc(nb.cells, "html", TEMPLATES, [*options, f"--metadata=pagetitle:{title}", "--metadata=lang:en"])


def report(sections: list[Section], first: str, title: str, course: str, sheet: str | None = None) -> bytes:
    """The PDF; first: Markdown of the cover. Raises ValueError, with what typst says, where it cannot be set."""
    options = [f"--template={TEMPLATES / 'report.typ'}", "--extract-media=media"]
    options += [f"--metadata=title:{title}", f"--metadata=course:{course}"]
    with tempfile.TemporaryDirectory() as folder:
        main = Path(folder) / "main.typ"
        main.write_text(_pandoc(ordered(sections, first, sheet), "typst", main.parent, options), encoding="utf-8")
        try:
            return typst.compile(main, root=folder, ignore_system_fonts=True, timestamp=0)
        except typst.TypstError as error:
            raise ValueError(f"report.pdf: typst says {error}") from error


def _pandoc(cells: list[NotebookNode], target: str, folder: Path, options: list[str]) -> str:
    """By the filter pages.lua, which says how a cell looks."""
    cells = [NotebookNode({**cell, "id": f"c{place}"}) for place, cell in enumerate(cells)]
    nb, reader = nbformat.writes(new_notebook(cells=cells)), "ipynb+implicit_figures+raw_attribute+raw_tex"
    options = ["--standalone", "--wrap=none", "--quiet", f"--lua-filter={TEMPLATES / 'pages.lua'}", *options]
    return pypandoc.convert_text(nb, target, reader, extra_args=options, cworkdir=str(folder))


def ordered(sections: list[Section], first: str, sheet: str | None) -> list[NotebookNode]:
    """The cells by sheet and task, each section once; what names no task comes last, in the order of the notebooks."""
    cells, printed = [new_markdown_cell(first), new_markdown_cell("```{=typst}\n#contents()\n```")], set()
    for letter in [sheet] if sheet else SHEETS:
        cells.append(new_markdown_cell(f"# {letter} · {SHEETS[letter]}"))
        for task in of_sheet(letter):
            for section in [section for section in sections if task.id in section.ids]:
                again = new_markdown_cell(f"**{task.id}** is answered above: *{section.title}*.")
                cells += [again] if section.anchor in printed else _printed(section)
                printed.add(section.anchor)
    cells.append(new_markdown_cell("# Beyond the tasks"))
    rest, answering = [s for s in sections if not s.ids], {s.stem for s in sections if s.ids}
    return cells + [cell for s in rest for cell in _printed(s, lean=s.front and s.stem in answering)]


def _printed(section: Section, lean: bool = False) -> list[NotebookNode]:
    """Without set-up and parameters; lean: without code that shows nothing, such as imports."""
    own = [cell for cell in section.cells if not is_set_up(cell) and "parameters" not in tags(cell)]
    cells = [copy.deepcopy(cell) for cell in own if not lean or cell.cell_type != "code" or cell.outputs]
    for cell in [cell for cell in cells if cell.cell_type == "markdown"]:
        cell.source = re.sub(r"^# ", "## ", cell.source)
    return cells
