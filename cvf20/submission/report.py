"""The hand-in as a PDF, by exercise and task: the notebooks' sections as Markdown, set by pandoc and typst."""

import base64
import hashlib
import io
import json
import re
import tempfile
from importlib import resources
from pathlib import Path

from nbformat import NotebookNode
from PIL import Image

from cvf20.submission import formulas
from cvf20.submission.cover import cover, unanswered
from cvf20.submission.group import Group
from cvf20.submission.sections import Section
from cvf20.submission.tasks import SHEETS, of_sheet

# one flat Markdown, as Jupyter reads it; raw typst for what Markdown cannot say
READER = "gfm+tex_math_dollars+raw_attribute-gfm_auto_identifiers"
MAX_LINES = 30  # of printed output; the notebook holds all of it
FIGURE = re.compile(r"^figures/\S+\.(?:png|svg)\n?", re.MULTILINE)
TEXT_WIDTH, MAX_HEIGHT = 17.0, 21.0  # cm
DPI = 125  # pictures of 950 pixels are then 19 cm wide and shrink a little


def report(parts: dict, group: Group, sheet: str | None = None, seconds: dict[str, float] | None = None) -> bytes:
    """The PDF. parts: from `merge.parts_of`; seconds: training time per notebook, for the cover

    Raises ValueError, with what typst says, where it cannot be set.
    """
    import typst

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        main = folder / "main.typ"
        text = to_typst(markdown(parts, group, sheet, seconds or {}, folder))
        style = resources.files(__package__).joinpath("report.typ").read_text(encoding="utf-8")
        names = ", ".join(_string(member["name"]) for member in group.members)
        head = (
            f"#let authors = ({names})\n#let title = {_string(group.title)}\n#let course = {_string(_course(group))}\n"
        )
        main.write_text(head + style + text, encoding="utf-8")
        try:
            return typst.compile(main, root=folder, ignore_system_fonts=True, timestamp=0)
        except typst.TypstError as error:
            raise ValueError(f"report.pdf: typst says {error}") from error


def to_typst(text: str) -> str:
    """Markdown as typst. Raises ValueError with a formula that pandoc cannot set."""
    import pypandoc

    formulas.mathml(_formulas(text))
    return pypandoc.convert_text(formulas.normalised(text), "typst", format=READER, extra_args=["--wrap=none"])


def _formulas(text: str) -> list[tuple[str, bool]]:
    found = []
    formulas.replace(text, lambda formula, display: found.append((formula, display)) or "")
    return found


def _course(group: Group) -> str:
    return group.course + (" · DRAFT" if group.draft else "")


def markdown(parts: dict, group: Group, sheet: str | None, seconds: dict[str, float], folder: Path) -> str:
    """The whole report; its pictures are written to `folder`."""
    first, rest = cover(group, sheet, seconds).split("\n", 1)
    pieces = [
        _raw(f"#cover({_string(first.lstrip('# '))})\n#set heading(outlined: false)"),
        rest,
        _raw("#set heading(outlined: true)\n#contents()"),
    ]
    printed: set[str] = set()
    for stem in [stem for stem in parts if stem.endswith("_report")]:
        pieces += ["# Report", *(_section(section, folder, listings=False) for section in parts[stem][2])]
        printed |= {section.anchor for section in parts[stem][2]}
    pieces.append("# Overview")
    for stem in [stem for stem in parts if not stem.endswith("_report")]:
        title, front, sections = parts[stem]
        pieces += [f"## {title}", _cells([cell for cell in front if cell.cell_type == "markdown"], folder, skip=1)]
        pieces += [_cells(section.cells, folder, skip=1) for section in sections if _is_summary(section)]
    sections = [section for _, _, those in parts.values() for section in those]
    for letter in SHEETS if sheet is None else [sheet]:
        pieces.append(f"# {letter} · {SHEETS[letter]}")
        if open_ids := unanswered(sections, letter):
            pieces.append(f"Not answered in this hand-in: {', '.join(open_ids)}.")
        for task in of_sheet(letter):
            for section in [section for section in sections if task.id in section.ids]:
                if section.anchor in printed:
                    pieces.append(_raw(f"#elsewhere({_string(task.id)}, {_string(section.title)}, <{section.anchor}>)"))
                    continue
                printed.add(section.anchor)
                pieces += [_section(each, folder) for each in _with_company(section, parts[section.stem][2])]
    return "\n\n".join(piece for piece in pieces if piece)


def _is_summary(section: Section) -> bool:
    return not section.ids and bool(re.match(r"summary|what was found", section.title, re.IGNORECASE))


def _with_company(section: Section, siblings: list[Section]) -> list[Section]:
    """The section, with those beside it that answer no task: the ones just before it, at the end also those behind it."""
    place = siblings.index(section)
    first, last = place, place + 1
    while first > 0 and not siblings[first - 1].ids:
        first -= 1
    if not any(later.ids for later in siblings[last:]):
        last = len(siblings)
    return [each for each in siblings[first:last] if not _is_summary(each)]


def _section(section: Section, folder: Path, listings: bool = True) -> str:
    title = f"{section.title} ({section.stem})" if section.sums_up and section.ids else section.title
    return "\n\n".join(
        [
            f"## {title}",
            _raw(f"#from({_string(section.stem)}) <{section.anchor}>"),
            _cells(section.cells, folder, 1, listings),
        ]
    )


def _cells(cells: list[NotebookNode], folder: Path, skip: int = 0, listings: bool = True) -> str:
    """The cells as Markdown; skip: 1 leaves out the first cell's first line, which is a heading.

    listings: with their code; the report's own code only gathers what others have computed
    """
    pieces = []
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            pieces.append(cell.source.split("\n", 1)[1] if place < skip and "\n" in cell.source else cell.source)
            if place < skip and "\n" not in cell.source:
                pieces.pop()
        elif cell.cell_type == "code" and cell.source.strip():
            listing = [_fenced(cell.source, "python")] if listings and not _only_comments(cell.outputs) else []
            pieces += [*listing, *_outputs(cell.outputs, folder)]
    return "\n\n".join(pieces)


def _only_comments(outputs: list[NotebookNode]) -> bool:
    """Whether a cell does nothing but write sentences: its code is then in the notebook, and not in the report."""
    texts = [output.get("data", {}).get("text/markdown") for output in outputs]
    return bool(texts) and all(text and not re.search(r"^(?:```|\|)", text, re.MULTILINE) for text in texts)


def _outputs(outputs: list[NotebookNode], folder: Path) -> list[str]:
    pieces = []
    for place, output in enumerate(outputs):
        data = output.get("data", {})
        if output.output_type == "stream":
            if text := FIGURE.sub("", output.text).strip("\n"):  # names stand below their figures
                pieces.append(_fenced(_shortened(text), "text"))
        elif output.output_type == "error":
            pieces.append(_fenced(f"{output.ename}: {output.evalue}", "text"))
        elif kind := next((kind for kind in ("image/svg+xml", "image/png", "image/jpeg") if kind in data), None):
            later = "".join(each.text for each in outputs[place + 1 :] if each.output_type == "stream")
            named = FIGURE.search(later)
            pieces.append(_figure(data[kind], kind, output.metadata, named[0].strip() if named else "", folder))
        elif "text/markdown" in data:
            pieces.append(data["text/markdown"])
        elif "text/html" in data:
            pieces.append(_from_html(data["text/html"]))
        elif "text/latex" in data:
            pieces.append(data["text/latex"])
        elif "text/plain" in data:
            pieces.append(_fenced(_shortened(data["text/plain"]), "text"))
    return pieces


def _figure(content: str, kind: str, metadata: dict, name: str, folder: Path) -> str:
    """The picture, its words below it, as wide as it deserves and never higher than a page."""
    data = content.encode() if kind == "image/svg+xml" else base64.b64decode(content)
    suffix = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}[kind]
    file = f"{hashlib.sha256(data).hexdigest()[:16]}.{suffix}"
    (folder / file).write_bytes(data)
    width = TEXT_WIDTH
    if suffix != "svg":
        with Image.open(io.BytesIO(data)) as image:
            natural = [pixels / DPI * 2.54 for pixels in image.size]
        width = natural[0] * min(1.0, TEXT_WIDTH / natural[0], MAX_HEIGHT / natural[1])
    alt = str(metadata.get(kind, {}).get("alt") or name)
    return _raw(f"#picture({_string(file)}, {width:.2f}cm, {_string(alt)}, {_string(name)})")


def _from_html(content: str) -> str:
    import pypandoc

    return pypandoc.convert_text(content, "gfm", format="html", extra_args=["--wrap=none"])


def _fenced(text: str, language: str) -> str:
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


def _shortened(text: str) -> str:
    lines = text.split("\n")
    if len(lines) <= MAX_LINES:
        return text
    begin, end = lines[: MAX_LINES // 2], lines[-MAX_LINES // 2 :]
    return "\n".join([*begin, f"… {len(lines) - MAX_LINES} more lines, in the notebook …", *end])


def _raw(text: str) -> str:
    return _fenced(text, "{=typst}")


def _string(text: str) -> str:
    """A typst string; its escapes are JSON's, but for \\u."""
    return json.dumps(text, ensure_ascii=False)
