"""What can be wrong with one notebook, one figure, one result; each function yields (level, cell, what, how to mend)."""

import base64
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode
from PIL import Image

from cvf20.submission.clean import WIDGET
from cvf20.submission.notebook import assigned, number, parameters_fault, tagged, texts
from cvf20.submission.sections import headings
from cvf20.submission.tasks import asked_of, ids_in
from cvf20.training.results import REQUIRED

Fault = tuple[str, int | None, str, str]  # level, cell counted from 1 (None: the whole file), what, how to mend

MAX_BYTES = 3_000_000  # GitHub stops rendering somewhat above
MAX_DPI = 100
SYNTHETIC_BY_DESIGN = ("keypoints",)  # data sets that are drawn, not stand-ins for photographs
MACHINE_PATH = re.compile(
    r"(?:(?<![\w.:/<~-])|(?<=file://))"
    r"(?:/(?:home|root|Users|work|workspace|tmp|opt|usr|mnt|var|srv|private)/|[A-Za-z]:\\{1,2}Users\\)"
    r"[^\s\"'<>)\]]*"
)
WARNING = re.compile(r".*(?:Warning\b|\bWARNING\b).*")
SOURCE = re.compile(r"^```python$.*?^```$", re.MULTILINE | re.DOTALL)  # library code that a notebook shows
PARAMETER_TAGS = {"parameters", "injected-parameters"}
SHOWN = re.compile(r"\bshow\([^)]*?[\"'](\d\d_[\w{}.:-]*)[\"']")


def file_faults(path: Path) -> Iterator[Fault]:
    if path.stat().st_size > MAX_BYTES:
        size = path.stat().st_size / 1e6
        yield "error", None, f"{size:.1f} MB, more than GitHub renders", "fewer or smaller pictures, at most 3 MB"
    if number(path.name) is None:
        yield "error", None, "the name has no number", "call it NN_name.ipynb"


def source_faults(nb: NotebookNode) -> Iterator[Fault]:
    """What can be seen before a notebook runs."""
    name = nb.metadata.get("kernelspec", {}).get("name")
    if name != "python3":
        yield "error", None, f"kernel name {name!r}", "set metadata.kernelspec.name to 'python3'"
    if fault := parameters_fault(nb):
        yield "error", None, fault, "one cell tagged 'parameters' with quick = False and seed = 0"
    for place, cell in enumerate(nb.cells, start=1):
        for path in MACHINE_PATH.findall(cell.source):
            yield "error", place, f"path of one machine in the source: {path}", "build it from cvf20.paths"
        if cell.cell_type == "code" and not PARAMETER_TAGS & set(cell.metadata.get("tags", [])):
            for name in sorted({"quick", "seed"} & assigned(cell.source)):
                yield "error", place, f"assigns {name}, which the merged notebook's next part needs", "rename it"


def task_faults(nb: NotebookNode, stem: str) -> Iterator[Fault]:
    """Tasks that the notebook has to answer and does not, and answers above which nothing says what was asked."""
    places: dict[str, int] = {}
    told: set[str] = set()
    for place, cell in enumerate(nb.cells, start=1):
        marks = list(headings(cell.source)) if cell.cell_type == "markdown" else []
        lines = cell.source.split("\n")
        for (line, heading), (end, _) in zip(marks, [*marks[1:], (len(lines), "")], strict=False):
            places |= {id: place for id in ids_in(heading) if id not in places}
            if re.search(r"\basked\b", "\n".join(lines[line:end]), re.IGNORECASE):
                told.update(ids_in(heading))
    for id in asked_of(stem):
        if id not in places:
            yield "error", None, f"does not answer {id}", f"a heading '## {id} · …', and the answer below it"
    for id, place in places.items():
        if id not in told:
            yield "error", place, f"does not say what {id} asked", "a line '*Asked:* …' in own words under the heading"


def output_faults(nb: NotebookNode, draft: bool) -> Iterator[Fault]:
    tentative = "note" if draft else "error"
    if tagged(nb, "injected-parameters"):
        yield tentative, None, "was run with other parameters than its own", "run it in full: ./run_all.sh"
    expected = 0
    for place, cell in enumerate(nb.cells, start=1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        expected += 1
        count = cell.execution_count
        if count is None:
            yield "error", place, "was not executed", "run the whole notebook"
        elif count != expected:
            yield "error", place, f"was executed as In [{count}], its place is [{expected}]", "restart and run all"
        pictures = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
        for shown in SHOWN.findall(cell.source):
            if count is not None and not pictures:
                yield "error", place, f"shows {shown}, but holds no picture", "run with matplotlib's inline back end"
        for picture in pictures:
            if fault := _picture_fault(base64.b64decode(picture)):
                yield "error", place, f"picture {fault}", "draw something, or leave it out"
        for output in cell.outputs:
            yield from _faults_of(output, place, tentative)
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            if "image/png" in output.get("data", {}) and re.fullmatch(r"\s*|\d\d_\w*", alt):
                yield "error", place, "picture without alternative text", "show(fig, name, caption='what to see')"


def _faults_of(output: NotebookNode, place: int, tentative: str) -> Iterator[Fault]:
    if output.output_type == "error":
        yield "error", place, f"{output.ename}: {output.evalue}", "mend the cell and run again"
    data = output.get("data", {})
    if WIDGET in data or re.match(r"(HBox|VBox|FloatProgress|IntProgress|Output)\(", data.get("text/plain", "")):
        yield "error", place, "widget, which shows nothing without a kernel", "print plain lines"
    for text in texts([output]):
        for warning in WARNING.findall(text) if output.get("name") == "stderr" else []:
            if "SYNTHETIC" not in warning:  # that one is found below
                yield "error", place, f"warning: {warning.strip()[:160]}", "remove its cause"
        for path in MACHINE_PATH.findall(text):
            yield "error", place, f"path of one machine in the output: {path}", "print it relative to the project"
        if mark := re.search(r"SYNTHETIC(?! by design).{0,60}", SOURCE.sub("", text)):
            yield tentative, place, f"made from a stand-in: {mark[0]}", "run with the real data (data/README.md)"


def _picture_fault(content: bytes) -> str | None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            extrema = image.convert("RGB").getextrema()
    except (OSError, SyntaxError, ValueError) as error:
        return f"cannot be read ({error})"
    return "is empty, all of one colour" if all(low == high for low, high in extrema) else None


def figure_faults(path: Path) -> Iterator[Fault]:
    if path.suffix != ".png":
        return
    if fault := _picture_fault(path.read_bytes()):
        yield "error", None, fault, "draw it again, or remove it"
        return
    with Image.open(path) as image:
        dpi = max(image.info.get("dpi", (0, 0)))
    if dpi > MAX_DPI + 0.5:
        yield "error", None, f"{dpi:.0f} dpi", f"save it with at most {MAX_DPI} dpi"


def result_faults(path: Path, draft: bool) -> Iterator[Fault]:
    if path.suffix != ".json":
        return
    try:
        result = json.loads(path.read_bytes())
    except ValueError as error:
        yield "error", None, f"is no JSON ({error})", "run its notebook again"
        return
    missing = [key for key in REQUIRED if key not in result] if isinstance(result, dict) else list(REQUIRED)
    if missing:
        yield "error", None, f"lacks {', '.join(missing)}", "write it with cvf20.results.write_result"
        return
    wanted = f"{result['name']}-seed{result['seed']}.json"
    if path.name != wanted:
        yield "error", None, f"its content is that of {wanted}", "name it so"
    if number(str(result["notebook"])) != number(path.name):
        yield "error", None, f"says that {result['notebook']} made it", "let name and notebook begin with one number"
    if not any(isinstance(value, int | float) and math.isfinite(value) for value in _leaves(result["metrics"])):
        yield "error", None, "holds no number in its metrics", "run its notebook again"
    tentative = "note" if draft else "error"
    if result["quick"]:
        yield tentative, None, "comes from a quick run", "run it in full: ./run_all.sh"
    if result["synthetic"] and result["data"] in SYNTHETIC_BY_DESIGN:
        yield "note", None, f"{result['data']} is SYNTHETIC by design", "nothing; the notebook says so"
    elif result["synthetic"]:
        yield tentative, None, "is SYNTHETIC", "run with the real data (data/README.md)"


def read_result(path: Path) -> dict | None:
    """What a result file holds, None where `result_faults` finds an error in it."""
    if any(level == "error" for level, *_ in result_faults(path, draft=True)):
        return None
    return json.loads(path.read_bytes())


def _leaves(value) -> Iterator:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value
