"""The hand-in as one HTML page that loads nothing, and as a PDF by exercise and task; both through pandoc."""

import copy
import re
import tempfile
from pathlib import Path

import nbformat
import pypandoc
import typst
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from cvf20.submission.merge import Section, is_set_up
from cvf20.submission.notebook import SHEETS, TEMPLATES, of_sheet, tags

MAX_LINES = 12  # of printed output in the PDF; the notebook holds all of it
LOG = re.compile(r"^\S{1,200}-seed\d{1,9}(?::|\s+epoch).*\n?", re.MULTILINE)
LISTING = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
BARE = re.compile(r"(?<!\$)(?<!\$\n)^\\begin\{((?:align|equation|gather)\*?)\}(.{1,5000}?)\\end\{\1\}", re.M | re.S)
IMG = re.compile(r"<img\b[^<>]{0,2000}?\bsrc=[\"']([^\"']+)[\"'][^>]{0,2000}>", re.IGNORECASE)
FOREIGN = re.compile(r"!\[([^\]\n]{0,2000})\]\(((?:https?:)?//)")
SAFE = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">"""


def page(nb: NotebookNode, title: str) -> str:
    """The notebook as a page: pictures inside, formulas as MathML, hidden code folded away; a browser fetches nothing."""
    options = ["--embed-resources", "--mathml", f"--css={TEMPLATES / 'page.css'}", f"--variable=header-includes:{SAFE}"]
    options += [f"--metadata=pagetitle:{title}", "--metadata=lang:en"]
    return _pandoc([flat(cell, fold=True) for cell in nb.cells], "html", TEMPLATES, options)


def report(sections: list[Section], first: str, title: str, course: str, sheet: str | None = None) -> bytes:
    """The PDF; first: Markdown of the cover. Raises ValueError, with what typst says, where it cannot be set."""
    options = [f"--template={TEMPLATES / 'report.typ'}", f"--lua-filter={TEMPLATES / 'report.lua'}"]
    options += ["--extract-media=media", f"--metadata=title:{title}", f"--metadata=course:{course}"]
    with tempfile.TemporaryDirectory() as folder:
        main = Path(folder) / "main.typ"
        main.write_text(_pandoc(ordered(sections, first, sheet), "typst", main.parent, options), encoding="utf-8")
        try:
            return typst.compile(main, root=folder, ignore_system_fonts=True, timestamp=0)
        except typst.TypstError as error:
            raise ValueError(f"report.pdf: typst says {error}") from error


def _pandoc(cells: list[NotebookNode], target: str, folder: Path, options: list[str]) -> str:
    for place, cell in enumerate(cells):
        cell["id"] = f"c{place}"
    nb, reader = nbformat.writes(new_notebook(cells=cells)), "ipynb+implicit_figures+raw_attribute"
    options = ["--standalone", "--wrap=none", "--quiet", *options]
    return pypandoc.convert_text(nb, target, reader, extra_args=options, cworkdir=str(folder))


def flat(cell: NotebookNode, fold: bool) -> NotebookNode:
    """A cell with its outputs as one Markdown cell.

    fold: hidden code stays, folded away, and outputs are whole; otherwise both are left out, as from a PDF
    """
    if cell.cell_type != "code":
        text = _markdown(cell.source) if cell.cell_type == "markdown" else _fenced(cell.source)
        return new_markdown_cell(text, attachments=copy.deepcopy(cell.get("attachments", {})))
    pieces, attachments = [_fenced(cell.source, "python")] if cell.source.strip() else [], {}
    if "hide-input" in tags(cell):
        pieces = ["<details><summary>Code</summary>", *pieces, "</details>"] if fold else []
    outputs = copy.deepcopy(cell.outputs)
    for place, output in enumerate(outputs):
        data = output.get("data", {})
        if kind := next((kind for kind in ("image/svg+xml", "image/png", "image/jpeg") if kind in data), None):
            words = _caption(output.metadata.get(kind, {}).get("alt", ""), outputs[place + 1 : place + 2])
            pieces.append(f"![{words}](attachment:{place}.{kind[6:9]})")
            attachments[f"{place}.{kind[6:9]}"] = {kind: data[kind]}
        elif "text/markdown" in data or "text/latex" in data:
            pieces.append(_markdown(data.get("text/markdown") or data["text/latex"]))
        elif "text/html" in data and fold:
            pieces.append(data["text/html"])
        elif text := output.get("text") or data.get("text/plain") or output.get("evalue", ""):
            if fold or output.get("name") != "stderr":
                pieces.append(_fenced(text if fold else _shortened(text)))
    return new_markdown_cell("\n\n".join(pieces), attachments=attachments)


def _caption(words: str, following: list[NotebookNode]) -> str:
    """What stands below a picture: what the next output says, if it ends with its file; that output is then empty."""
    for output in following:
        if (said := output.get("data", {}).get("text/markdown", "").strip()).endswith(".png`"):
            words, output.data = said, {}
    words = " ".join(words.split())
    return words if words.count("[") == words.count("]") else re.sub(r"([\[\]])", r"\\\1", words)


def _markdown(text: str) -> str:
    """As Jupyter reads it: bare formula environments are formulas, <img> is a picture; what lies elsewhere is a link."""
    pieces = LISTING.split(text)
    for place in range(0, len(pieces), 2):
        piece = IMG.sub(r"![](\1)", BARE.sub(r"$$\n\\begin{\1}\2\\end{\1}\n$$", pieces[place]))
        pieces[place] = FOREIGN.sub(r"[picture \1](\2", piece)
    return "".join(pieces)


def _fenced(text: str, language: str = "text") -> str:
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


def _shortened(text: str) -> str:
    lines = LOG.sub("", text).strip("\n").split("\n")
    more = [f"… {len(lines) - MAX_LINES} more lines, in the notebook"] if len(lines) > MAX_LINES else []
    return "\n".join([*lines[:MAX_LINES], *more])


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
    cells = [flat(cell, fold=False) for cell in own if not lean or cell.cell_type != "code" or cell.outputs]
    for cell in cells:
        cell.source = re.sub(r"^# ", "## ", cell.source)
    return cells
