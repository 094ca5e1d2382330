"""A grader's eye on notebooks, their figures and results: an error stops the notebook it is in, a note stops nothing."""

import ast
import base64
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from PIL import Image

from cvf20.submission.execute import WIDGET
from cvf20.submission.notebook import headings, is_older, number, read, stand_in, tags, texts
from cvf20.submission.publish import is_stand_in
from cvf20.submission.tasks import asked_of, ids_in
from cvf20.training.results import REQUIRED

MAX_BYTES = 3_000_000  # GitHub stops rendering somewhat above
NAMED = re.compile(r"\bfigures/([\w.*?+-]{1,200}\.(?:png|svg|jpg))")
PICTURE = re.compile(r"!\[[^\]\n]{0,2000}\]\(([^)\s]+)[^)\n]{0,500}\)|<img\b[^>]{0,2000}?\bsrc=[\"']([^\"']+)[\"']")
MACHINE_PATH = re.compile(
    r"(?<![\w.:/<~-])(?:file://)?(?:/(?:home|root|Users|work|workspace|tmp|opt|usr|mnt|var|srv|private)/"
    r"|[A-Za-z]:\\{1,2}Users\\)[^\s\"'<>)\]`]{0,200}"
)


@dataclass(frozen=True)
class Finding:
    """level: "error" or "note"; cell: counted from 1, None where it is the whole file."""

    level: str
    file: str
    cell: int | None
    what: str
    mend: str

    def __str__(self) -> str:
        place = self.file if self.cell is None else f"{self.file}, cell {self.cell}"
        return f"{self.level}: {place}: {self.what}. To mend: {self.mend}"


def check(paths: list[Path], figures: Path, results: Path, draft: bool = False) -> list[Finding]:
    """Findings in the notebooks `paths` and in those results whose numbers are theirs; errors come first.

    draft: that a run is quick, or on stand-ins, is not an error
    """
    findings = []
    for path in sorted(paths):
        findings += source_findings(path, ran=True)
        if not any(finding.what.startswith("found no notebook") for finding in findings):
            findings += output_findings(path, figures, results, draft)
    return sorted(findings, key=lambda finding: finding.level)


def source_findings(path: Path, ran: bool = False) -> list[Finding]:
    """What can be seen before the notebook runs; ran: figures that it may make itself have to be there."""
    try:
        nb = read(path)
    except (OSError, ValueError) as error:
        return [Finding("error", f"notebooks/{path.name}", None, f"found no notebook: {error}", "restore the file")]
    found = [*_code_findings(nb), *_picture_findings(nb, path.parent, ran), *_task_findings(nb, path.stem)]
    return [Finding(level, f"notebooks/{path.name}", *rest) for level, *rest in found]


def output_findings(path: Path, figures: Path, results: Path, draft: bool) -> list[Finding]:
    """What a run left in the notebook and in the results that have its number."""
    found = [*_run_findings(read(path), figures, draft), *_result_findings(path, results, draft)]
    return [Finding(level, f"notebooks/{path.name}", *rest) for level, *rest in found]


def _code_findings(nb: NotebookNode) -> Iterator[tuple]:
    """Cells that are no Python, and a quick run that would be a full one."""
    setting = r"^\s*quick\b[^=\n]*=\s*"
    code = [(place, cell) for place, cell in enumerate(nb.cells, start=1) if cell.cell_type == "code"]
    tagged = [cell for _, cell in code if "parameters" in tags(cell)]
    if len(tagged) > 1:
        yield "error", None, f"{len(tagged)} cells are tagged 'parameters'", "tag one"
    sets = any(re.search(setting + "False", cell.source, re.MULTILINE) for cell in tagged)
    if not sets and any(re.search(r"\bquick\b", cell.source) for _, cell in code):
        yield "error", None, "uses quick", "one cell tagged 'parameters' that sets quick = False"
    for place, cell in code:
        try:
            compile(TransformerManager().transform_cell(cell.source), "", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except (SyntaxError, ValueError) as error:
            yield "error", place, f"{type(error).__name__}: {error}", "correct it"
    for place, cell in enumerate(nb.cells, start=1):
        for name in MACHINE_PATH.findall(cell.source):
            yield "note", place, f"path of one machine: {name}", "build it from cvf20.paths"


def _picture_findings(nb: NotebookNode, folder: Path, ran: bool) -> Iterator[tuple]:
    """Pictures in the text that are not there, or lie in the network."""
    for place, cell in enumerate(nb.cells, start=1):
        for match in PICTURE.finditer(cell.source) if cell.cell_type == "markdown" else ():
            name = match[1] or match[2]
            if name.startswith(("http:", "https:", "//")):
                yield "note", place, f"shows {name}, which needs the network", "save it, and name the file instead"
            elif name.startswith("attachment:"):
                if name.removeprefix("attachment:") not in cell.get("attachments", {}):
                    yield "error", place, f"shows {name}, which is missing", "paste the picture again"
            elif not name.startswith("data:") and not (folder / name).is_file():
                level = "error" if ran or "figures/" not in name else "note"
                yield level, place, f"shows {name}, which is missing", "correct the name, or run what draws it"


def _task_findings(nb: NotebookNode, stem: str) -> Iterator[tuple]:
    """Tasks that the notebook has to answer and does not, and answers above which nothing says what was asked."""
    places: dict[str, int] = {}
    told: set[str] = set()
    for place, cell in enumerate(nb.cells, start=1):
        for _, heading in headings(cell.source) if cell.cell_type == "markdown" else ():
            places |= {id: place for id in ids_in(heading) if id not in places}
            told |= set(ids_in(heading)) if re.search(r"\basked\b", cell.source, re.IGNORECASE) else set()
    if lacking := [id for id in asked_of(stem) if id not in places]:
        yield "note", None, f"does not answer {', '.join(lacking)}", f"a heading '## {lacking[0]} · …', then the answer"
    if silent := [id for id in places if id not in told]:
        yield "note", places[silent[0]], f"does not say what {', '.join(silent)} asked", "a line '*Asked:* …'"


def _run_findings(nb: NotebookNode, figures: Path, draft: bool) -> Iterator[tuple]:
    """What a run left in a notebook."""
    older, expected = is_older(nb), 0
    if older:
        yield "note", None, "rendered from older sources", "run it again: ./run_all.sh and its number"
    if not draft and (words := stand_in(nb)):
        yield "error", None, f"made from a stand-in or a small sample: {words}", "run with the real data"
    for place, cell in enumerate(nb.cells, start=1):
        if cell.cell_type != "code" or not cell.source.strip() or "set-up" in tags(cell):
            continue
        expected += 1
        if not older and cell.execution_count != expected:
            level = "error" if cell.execution_count is None else "note"
            yield level, place, f"is In [{cell.execution_count or ' '}], its place is [{expected}]", "restart, run all"
        if not draft and "injected-parameters" in tags(cell):
            yield "error", place, "was run with other parameters than its own", "run it in full: ./run_all.sh"
        for output in cell.outputs:
            yield from ((level, place, *rest) for level, *rest in _faults_of(output))
        for name in set(NAMED.findall("\n".join(texts(cell.outputs)))) if not older else ():
            if not any(figures.glob(name)):
                yield "error", place, f"names figures/{name}, which is missing", "run the notebook again"


def _faults_of(output: NotebookNode) -> Iterator[tuple]:
    if output.output_type == "error":
        yield "error", f"{output.ename}: {output.evalue}", "mend the cell and run again"
    if WIDGET in output.get("data", {}):
        yield "note", "a widget shows nothing without a kernel", "print plain lines"
    if output.get("name") == "stderr" and (first := output.text.strip().split("\n")[0]):
        yield "note", f"warns: {first[:160]}", "see whether it matters"
    for text in texts([output]):
        for path in MACHINE_PATH.findall(text):
            yield "note", f"path of one machine in the output: {path}", "print it relative to the project"
    for kind in ("image/png", "image/jpeg"):
        if kind in output.get("data", {}) and is_blank(base64.b64decode(output.data[kind])):
            yield "note", "a picture is empty, or cannot be read", "draw something, or leave it out"


def is_blank(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return all(low == high for low, high in image.convert("RGB").getextrema())
    except (OSError, SyntaxError, ValueError):
        return True


def _result_findings(path: Path, results: Path, draft: bool) -> Iterator[tuple]:
    """What is wrong with the results of this notebook, and with its size."""
    if path.stat().st_size > MAX_BYTES:
        yield "note", None, f"{path.stat().st_size / 1e6:.1f} MB, more than GitHub renders", "fewer or smaller pictures"
    for file in sorted(results.glob("*.json")):
        if number(file.name) == number(path.name):
            result, why = read_result(file)
            if not why and not draft and (result["quick"] or is_stand_in(result)):
                why = "comes from a quick run, a stand-in or a small sample"
            if why:
                yield "error", None, f"results/{file.name} {why}", "run the notebook again, in full and on real data"


def read_result(file: Path) -> tuple[dict, str]:
    """The result in a file, and what is wrong with it; "" where nothing is."""
    try:
        result = json.loads(file.read_bytes())
    except ValueError as error:
        return {}, f"is no JSON ({error})"
    missing = [key for key in REQUIRED if not isinstance(result, dict) or key not in result]
    if missing:
        return {}, f"lacks {', '.join(missing)}"
    numbers = re.findall(r"[:\[,] (-?\d[\d.e+-]*)", json.dumps(result["metrics"]))
    return result, "" if any(math.isfinite(float(each)) for each in numbers) else "holds no number in its metrics"
