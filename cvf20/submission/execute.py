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

import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from cvf20.submission.notebook import fingerprint, read, tags, write

WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(Exception):
    """A notebook that did not run to its end; says which, in which cell, and why."""


@contextlib.contextmanager
def kernel(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Within this context the kernel python3 is this very interpreter, with `environment` added to the process's own.

    folder: where its description and its connection files are kept
    Whatever kernels, IPython profiles and matplotlib back ends the user has set up has no influence: with
    MPLBACKEND=Agg, for one, every figure would be missing from the notebook, without an error.
    """
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "IPYTHONDIR": str(folder / "ipython")}
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "--log-level=40", "-f", "{connection_file}"],
        "env": {"PYTHONHASHSEED": "0", **inline, **environment},
        "display_name": "Python 3",
        "language": "python",
    }
    file = folder / "kernels" / "python3" / "kernel.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(spec), encoding="utf-8")
    with mock.patch.dict(os.environ, JUPYTER_PATH=str(folder), JUPYTER_RUNTIME_DIR=str(folder / "runtime")):
        yield


def execute(source: Path, target: Path, *, folders: dict[Path, str], parameters: dict, report: Callable) -> None:
    """Run `source` in the working directory and write it with its outputs to `target`; call within `kernel`.

    folders:    what machine folders are called in the outputs, see `renamer`
    parameters: values for the parameters cell; none leaves the notebook's cells as they are
    report:     gets every line that the notebook prints, while it runs
    What a person wrote, metadata too, is in `target` as in `source`; "cvf20" in the metadata says from which code.
    Raises NotebookError; the half-done notebook is then in `target`, as far as it could be written.
    """
    written, failure = read(source), None
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (source, target)),  # papermill fills {names}
            parameters=parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            stdout_file=_Lines(report),
            start_timeout=180,  # seconds for a kernel to answer: a loaded machine imports slowly
        )
    except Exception as error:  # a failing cell, a kernel that died, a full disk: all end this notebook
        failure = error
    place = "while it was saved"
    try:
        nb = read(target)
        place = _where(nb) if failure else place
        write(target, _clean(nb, written, renamer(folders)))
    except (OSError, ValueError) as error:
        failure = failure or error
    if isinstance(failure, PapermillExecutionError):
        raise NotebookError(f"{source.stem}, {place}: {failure.ename}: {failure.evalue}") from failure
    if failure:
        raise NotebookError(f"{source.stem}, {place}: {type(failure).__name__}: {failure}") from failure


def _where(nb: NotebookNode) -> str:
    """The cell that was at work, counted from 1 as in the file a person edits: "cell 7, In [4]"."""
    cells = [cell for cell in nb.cells if not {"papermill-error-cell-tag", "injected-parameters"} & tags(cell)]
    begun = [place for place, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
    failed = [place for place in begun if cells[place].metadata.papermill.get("status") == "failed"] or begun
    if not failed:
        return "before its first cell"
    count = cells[failed[-1]].get("execution_count")
    return f"cell {failed[-1] + 1}" + (f", In [{count}]" if count else "")


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
        cell.metadata = copy.deepcopy(before.metadata)
        cell.pop("id", None)
        cell.update({"id": before.id} if "id" in before else {})
    for cell in nb.cells:
        if cell.cell_type == "code":
            shown = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            cell.outputs = _renamed(_joined(shown), rename)
    return nb


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream become one; of a line that was overwritten (\\r) its last state stays."""
    result = []
    for output in outputs:
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    for output in result:
        if output.output_type == "stream":
            lines = output.text.replace("\r\n", "\n").split("\n")
            output.text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)
    return result


def _renamed(value, rename: Callable[[str], str]):
    """`value` with other words in it, pictures as they are."""
    if isinstance(value, dict):
        return NotebookNode({k: v if k.startswith("image/") else _renamed(v, rename) for k, v in value.items()})
    if isinstance(value, list):
        return [_renamed(item, rename) for item in value]
    return rename(value) if isinstance(value, str) else value


def renamer(folders: dict[Path, str]) -> Callable[[str], str]:
    """A function that calls the folders of this machine by other names, the innermost first.

    With the project's folder named "", what lies in it is called figures/a.png.
    """
    here = {sys.prefix: "<python>", sys.base_prefix: "<python>", tempfile.gettempdir(): "<tmp>", Path.home(): "~"}
    names = {}
    for folder, name in (*folders.items(), *here.items()):
        for form in {os.path.abspath(folder), os.path.realpath(folder)} - {os.sep}:
            names.setdefault(form, name)
    longest_first = "|".join(re.escape(form) for form in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.])({longest_first})(?:([/\\])|(?![\w.-]))")

    def called(match: re.Match) -> str:
        name = names[match[1]]
        return name + (match[2] or "") if name else "" if match[2] else "."

    return lambda text: pattern.sub(called, text)
