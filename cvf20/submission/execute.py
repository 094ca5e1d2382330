"""One notebook, run by papermill in a kernel of this interpreter, whatever kernel its metadata name."""

import contextlib
import copy
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import nbformat
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from cvf20.submission.notebook import fingerprint, read, tags

WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(Exception):
    """A notebook that did not run to its end; says which, in which cell, and why."""


@contextlib.contextmanager
def kernel(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Within this context the kernel python3 is this very interpreter, with `environment` added to the process's own.

    Whatever kernels, IPython profiles and matplotlib back ends the user has set up has no influence: with
    MPLBACKEND=Agg, for one, every figure would be missing from the notebook, without an error.
    """
    own = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "IPYTHONDIR": str(folder / "ipython")}
    command = [sys.executable, "-m", "ipykernel_launcher", "--log-level=40", "-f", "{connection_file}"]
    spec = {"argv": command, "env": {"PYTHONHASHSEED": "0"} | own | environment, "language": "python"}
    spec["display_name"] = "Python 3"
    file = folder / "kernels" / "python3" / "kernel.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(spec), encoding="utf-8")
    with mock.patch.dict(os.environ, JUPYTER_PATH=str(folder), JUPYTER_RUNTIME_DIR=str(folder / "runtime")):
        yield


def execute(source: Path, target: Path, *, folders: dict[Path, str], parameters: dict, report: Callable) -> None:
    """Run `source` in the working directory and write it with its outputs to `target`; call within `kernel`.

    folders: what machine folders are called in the outputs; report: gets every line that the notebook prints
    What a person wrote, metadata too, is in `target` as in `source`; "cvf20" in the metadata says from which code.
    Raises NotebookError; the half-done notebook is then in `target`, as far as it could be written.
    """
    written, failure, place = read(source), None, "while it was saved"
    target.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(path).replace("{", "{{").replace("}", "}}") for path in (source, target)]  # papermill fills {names}
    chosen = dict(kernel_name="python3", language="python", progress_bar=False, stdout_file=_Lines(report))
    try:  # 180 seconds for a kernel to answer: a loaded machine imports slowly
        papermill.execute_notebook(*paths, parameters=parameters, start_timeout=180, **chosen)
    except Exception as error:  # a failing cell, a kernel that died, a full disk: all end this notebook
        failure = error
    try:
        nb = read(target)
        place = _where(nb)
        target.write_text(nbformat.writes(_clean(nb, written, renamer(folders))) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        failure = failure or error
    if failure:
        known = isinstance(failure, PapermillExecutionError)
        reason = f"{failure.ename}: {failure.evalue}" if known else f"{type(failure).__name__}: {failure}"
        raise NotebookError(f"{source.stem}, {place}: {reason}") from failure


def _where(nb: NotebookNode) -> str:
    """The cell that was at work last, counted from 1 as in the file a person edits: "cell 7, In [4]"."""
    cells = [cell for cell in nb.cells if not {"papermill-error-cell-tag", "injected-parameters"} & tags(cell)]
    begun = [place for place, cell in enumerate(cells, 1) if cell.metadata.get("papermill", {}).get("start_time")]
    count = cells[begun[-1] - 1].get("execution_count") if begun else None
    return (f"cell {begun[-1]}" + f", In [{count}]" * bool(count)) if begun else "before its first cell"


class _Lines:
    """A file-like object that hands on whole lines."""

    def __init__(self, report: Callable[[str], None]):
        self.report, self.rest = report, ""

    def write(self, text: str) -> None:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.report(line.rsplit("\r", 1)[-1])

    def flush(self) -> None:
        """Lines go out as they come."""


def _clean(nb: NotebookNode, written: NotebookNode, rename: Callable[[str], str]) -> NotebookNode:
    """`nb` without what belongs to the machine and the moment; its cells' and its own metadata are those `written`."""
    nb.cells = [cell for cell in nb.cells if "papermill-error-cell-tag" not in tags(cell)]
    nb.metadata = {**copy.deepcopy(written.metadata), "cvf20": {"rendered_from": fingerprint(written)}}
    nb.nbformat_minor = written.nbformat_minor
    own = [cell for cell in nb.cells if "injected-parameters" not in tags(cell)]
    for cell, before in zip(own, written.cells, strict=True):
        cell.pop("id", None)
        cell.update({key: copy.deepcopy(before[key]) for key in ("id", "metadata") if key in before})
    for cell in [cell for cell in nb.cells if cell.cell_type == "code"]:
        cell.outputs = _renamed(_joined([each for each in cell.outputs if WIDGET not in each.get("data", {})]), rename)
    return nb


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream become one; of a line that was overwritten (\\r) its last state stays."""
    result = []
    for output in outputs:
        if "text" in output and result and result[-1].get("name") == output.name:
            output.text = result.pop().text + output.text
        result.append(output)
    for output in [output for output in result if "text" in output]:
        output.text = re.sub(r"^[^\n]*\r(?!\n|$)", "", output.text.replace("\r\n", "\n"), flags=re.MULTILINE)
    return result


def _renamed(value, rename: Callable[[str], str]):
    """`value` with other words in it, pictures as they are."""
    if isinstance(value, dict):
        return NotebookNode({k: v if k.startswith("image/") else _renamed(v, rename) for k, v in value.items()})
    if isinstance(value, list):
        return [_renamed(item, rename) for item in value]
    return rename(value) if isinstance(value, str) else value


def renamer(folders: dict[Path, str]) -> Callable[[str], str]:
    """A function that calls the folders of this machine by other names, the innermost first; "": by none, but for "."."""
    here = {sys.prefix: "<python>", sys.base_prefix: "<python>", tempfile.gettempdir(): "<tmp>", Path.home(): "~"}
    known = [*folders.items(), *here.items()]
    names = {form(folder): name for form in (os.path.abspath, os.path.realpath) for folder, name in reversed(known)}
    longest_first = "|".join(re.escape(form) for form in sorted(names, key=len, reverse=True) if form != os.sep)
    pattern = re.compile(rf"(?<![\w.])({longest_first})(?:([/\\])|(?![\w.-]))")
    return lambda text: pattern.sub(lambda m: (names[m[1]] and names[m[1]] + (m[2] or "")) or "." * (not m[2]), text)
