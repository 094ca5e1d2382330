"""The hand-in as one HTML page that loads nothing, and as a PDF by exercise and task; both through pandoc."""

import copy
import re
import tempfile
from importlib import resources
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from cvf20.submission.merge import Section, is_set_up
from cvf20.submission.notebook import tags
from cvf20.submission.tasks import SHEETS, of_sheet

READER = "ipynb+implicit_figures"
MAX_LINES = 12  # of printed output in the PDF; the notebook holds all of it
LOG = re.compile(r"^\S{1,200}-seed\d{1,9}(?::|\s+epoch).*\n?", re.MULTILINE)
FIGURE = re.compile(r"^\s*`?(figures/[^\n`]{1,200}\.\w{3})`?\s*$", re.MULTILINE)
ENVIRONMENT = re.compile(
    r"(?<!\$)(?<!\$\n)^\\begin\{((?:align|equation|gather)\*?)\}(.{1,5000}?)\\end\{\1\}", re.M | re.S
)
IMG = re.compile(r"<img\b[^>]{0,2000}?\bsrc=[\"']([^\"']+)[\"'][^>]{0,2000}>", re.IGNORECASE)
ALT = r"\balt=[\"']([^\"']*)"
FOREIGN = re.compile(r"!\[([^\]\n]{0,2000})\]\(((?:https?:)?//)")
SAFE = """<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:">"""  # the browser fetches nothing


def page(nb: NotebookNode, title: str) -> str:
    """The notebook as a page: pictures inside, formulas as MathML, hidden code folded away."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "head.html").write_text(SAFE, encoding="utf-8")
        (Path(name) / "page.css").write_text(_style("page.css"), encoding="utf-8")
        options = ["--standalone", "--embed-resources", "--mathml", "--css=page.css", "--include-in-header=head.html"]
        cells = [flat(cell, fold=True) for cell in nb.cells]
        return _pandoc(cells, "html", [*options, f"--metadata=pagetitle:{title}", "--metadata=lang:en"], Path(name))


def report(parts: dict[str, list[Section]], first: str, title: str, course: str, sheet: str | None = None) -> bytes:
    """The PDF; first: Markdown of the cover. Raises ValueError, with what typst says, where it cannot be set."""
    import typst

    with tempfile.TemporaryDirectory() as name:
        folder, main = Path(name), Path(name) / "main.typ"
        (folder / "report.typ").write_text(_style("report.typ"), encoding="utf-8")
        (folder / "report.lua").write_text("function Div(it) return it.content end", encoding="utf-8")  # cells
        options = ["--standalone", "--template=report.typ", "--lua-filter=report.lua", "--extract-media=media"]
        options += [f"--variable=title:{title}", f"--variable=course:{course}"]
        main.write_text(_pandoc(ordered(parts, first, sheet), "typst", options, folder), encoding="utf-8")
        try:
            return typst.compile(main, root=folder, ignore_system_fonts=True, timestamp=0)
        except typst.TypstError as error:
            raise ValueError(f"report.pdf: typst says {error}") from error


def _style(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _pandoc(cells: list[NotebookNode], target: str, options: list[str], folder: Path) -> str:
    import pypandoc

    for place, cell in enumerate(cells):
        cell["id"] = f"c{place}"
    text = nbformat.writes(new_notebook(cells=cells))
    options = ["--wrap=none", "--quiet", *options]
    return pypandoc.convert_text(text, target, format=READER, extra_args=options, cworkdir=str(folder))


def flat(cell: NotebookNode, fold: bool) -> NotebookNode:
    """A cell with its outputs as one Markdown cell.

    fold: hidden code stays, folded away, and outputs are whole; otherwise both are left out, as from a PDF
    """
    if cell.cell_type != "code":
        text = cell.source if cell.cell_type == "markdown" else _fenced(cell.source, "text")
        return new_markdown_cell(_markdown(text), attachments=copy.deepcopy(cell.get("attachments", {})))
    pieces, attachments = [], {}
    code = _fenced(cell.source, "python") if cell.source.strip() else ""
    if "hide-input" in tags(cell):
        code = f"<details><summary>Code</summary>\n\n{code}\n\n</details>" if fold else ""
    outputs = copy.deepcopy(cell.outputs)
    for place, output in enumerate(outputs):
        data = output.get("data", {})
        if kind := next((kind for kind in ("image/svg+xml", "image/png", "image/jpeg") if kind in data), None):
            name = f"{place}.{kind[6:9].replace('jpe', 'jpg')}"
            attachments[name] = {kind: data[kind]}
            words = output.metadata.get(kind, {}).get("alt", "")
            pieces.append(f"![{_caption(words, outputs[place + 1 : place + 2])}](attachment:{name})")
        elif "text/markdown" in data or "text/latex" in data:
            pieces.append(_markdown(data.get("text/markdown") or data["text/latex"]))
        elif "text/html" in data and fold:
            pieces.append(data["text/html"])
        elif output.output_type == "error":
            pieces.append(_fenced(f"{output.ename}: {output.evalue}", "text"))
        elif text := output.get("text") or data.get("text/plain", ""):
            pieces.append(
                _fenced(text if fold else _shortened(text), "text") if fold or output.get("name") != "stderr" else ""
            )
    return new_markdown_cell("\n\n".join(piece for piece in [code, *pieces] if piece), attachments=attachments)


def _caption(words: str, following: list[NotebookNode]) -> str:
    """What stands below a picture: its words and its file, which the next output says; that output is then empty."""
    for output in following:
        said = output.get("data", {}).get("text/markdown", "").strip()
        if re.search(r"`figures/[^`]{1,200}`$", said):
            words, output.data = said, {}
        elif named := FIGURE.search(output.get("text", "")):
            words, output.text = f"{words} `{named[1]}`", FIGURE.sub("", output.text, count=1).strip("\n")
    words = " ".join(words.split())
    return words if words.count("[") == words.count("]") else re.sub(r"([\[\]])", r"\\\1", words)


def _markdown(text: str) -> str:
    """As Jupyter reads it: bare formula environments are formulas, <img> is a picture; what lies elsewhere is a link."""
    pieces = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    for place in range(0, len(pieces), 2):  # outside of listings
        piece = ENVIRONMENT.sub(r"$$\n\\begin{\1}\2\\end{\1}\n$$", pieces[place])
        piece = IMG.sub(lambda tag: f"![{(re.search(ALT, tag[0]) or ['', ''])[1]}]({tag[1]})", piece)
        pieces[place] = FOREIGN.sub(r"[picture: \1](\2", piece)
    return "".join(pieces)


def _fenced(text: str, language: str) -> str:
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


def _shortened(text: str) -> str:
    lines = LOG.sub("", text).strip("\n").split("\n")
    more = [f"… {len(lines) - MAX_LINES} more lines, in the notebook"] if len(lines) > MAX_LINES else []
    return "\n".join([*lines[:MAX_LINES], *more])


def ordered(parts: dict[str, list[Section]], first: str, sheet: str | None) -> list[NotebookNode]:
    """The cells in the order of sheets and tasks. Each section stands once, with it those beside it that name no task."""
    groups: list[tuple[Section, list[Section]]] = []
    ahead, beyond, printed = [], [], set()
    for sections in parts.values():
        named = [section for section in sections if section.ids]
        place = sections.index(named[0]) if named else len(sections)
        (ahead if sections[0].stem.endswith("_report") else beyond if not named else []).extend(sections[:place])
        opening = sections[:place] if named and not sections[0].stem.endswith("_report") else []
        for section in sections[place:]:
            if section.ids:
                groups.append((section, [*opening, section]))
                opening = []
            else:
                groups[-1][1].append(section)
    cells = [new_markdown_cell(first), new_markdown_cell(_fenced("#contents()", "{=typst}"))]
    cells += _chapter("Report", ahead) if ahead else []
    for letter in [sheet] if sheet else SHEETS:
        cells += _chapter(f"{letter} · {SHEETS[letter]}", [])
        for task in of_sheet(letter):
            for section, members in groups:
                if task.id in section.ids and section.anchor in printed:
                    cells.append(new_markdown_cell(f"**{task.id}** is answered above: *{section.title}*."))
                elif task.id in section.ids:
                    printed.add(section.anchor)
                    cells += [cell for each in members for cell in _printed(each)]
    return cells + (_chapter("Beyond the tasks", beyond) if beyond else [])


def _chapter(title: str, sections: list[Section]) -> list[NotebookNode]:
    return [new_markdown_cell(f"# {title}"), *(cell for section in sections for cell in _printed(section))]


def _printed(section: Section) -> list[NotebookNode]:
    """Without set-up and parameters; of the front, which has no heading of its own, without what only imports."""
    front = section.anchor.startswith("part-")
    own = [cell for cell in section.cells if not is_set_up(cell) and "parameters" not in tags(cell)]
    own = [cell for cell in own if cell.cell_type != "code" or cell.outputs or not front]
    cells = [flat(cell, fold=False) for cell in own]
    for cell in cells:
        cell.source = re.sub(r"^# ", "## ", cell.source) if front else cell.source
    return cells
