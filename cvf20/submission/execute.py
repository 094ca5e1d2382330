"""One notebook, run by papermill in this interpreter's own kernel."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import papermill
from nbformat import NotebookNode
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from cvf20.submission.clean import KERNEL, clean
from cvf20.submission.notebook import read

INLINE = "module://matplotlib_inline.backend_inline"
START_SECONDS = 180  # for a kernel to answer: a loaded machine imports slowly


class NotebookError(Exception):
    """A notebook that did not run to its end; says which, in which cell, and why."""


class _Engine(NBClientEngine):
    """papermill's own engine, which also hands out the notebook in memory: the file on disk may be what failed."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, running=None, **kwargs):
        running.append(nb_man.nb)
        super().execute_managed_notebook(nb_man, kernel_name, **kwargs)


papermill_engines.register("cvf20", _Engine)


@contextlib.contextmanager
def kernel(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Within this context the kernel python3 is this very interpreter, with `environment` added to the process's own.

    folder: where its description and its connection files are kept
    Whatever kernels, IPython profiles and matplotlib back ends the user has set up has no influence: with
    MPLBACKEND=Agg, for one, every figure would be missing from the notebook, without an error.
    """
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "--log-level=40", "-f", "{connection_file}"],
        "env": {"MPLBACKEND": INLINE, "IPYTHONDIR": str(folder / "ipython"), "PYTHONHASHSEED": "0", **environment},
        **{key: KERNEL[key] for key in ("display_name", "language")},
    }
    file = folder / "kernels" / KERNEL["name"] / "kernel.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(spec), encoding="utf-8")
    changed = {"JUPYTER_PATH": str(folder), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def execute(source: Path, target: Path, *, folders: dict[Path, str], parameters: dict, report: Callable) -> None:
    """Run `source` in the working directory and write it with its outputs, cleaned, to `target`; call within `kernel`.

    folders:    what machine folders are called in the outputs, see `clean`
    parameters: values for the parameters cell; none leaves the notebook's cells as they are
    report:     gets every line that the notebook prints, while it runs
    Raises NotebookError; the half-done notebook is then in `target`, as far as it could be written.
    """
    running: list[NotebookNode] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    failure = None
    try:
        papermill.execute_notebook(
            _literal(source),
            _literal(target),
            parameters=parameters,
            engine_name="cvf20",
            kernel_name=KERNEL["name"],
            language=KERNEL["language"],
            progress_bar=False,
            stdout_file=_Lines(report),
            start_timeout=START_SECONDS,
            running=running,
        )
    except Exception as error:  # a failing cell, a kernel that died, a full disk: all end this notebook
        failure = NotebookError(f"{source.stem}, {where(running, read(source))}: {_reason(error)}")
        failure.__cause__ = error
    try:
        if target.exists():
            rewrite(target, clean(read(target), folders))
    except (OSError, ValueError) as error:
        failure = failure or NotebookError(f"{source.stem}, after its last cell: {type(error).__name__}: {error}")
    if failure:
        raise failure


def rewrite(path: Path, nb: NotebookNode) -> None:
    """Write the whole notebook or leave the file as it is."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    temporary.replace(path)


def where(running: list[NotebookNode], source: NotebookNode) -> str:
    """The cell that was at work, counted from 1 as in the file a person edits: "cell 7, In [4]"."""
    begun = [cell for nb in running for cell in nb.cells if cell.metadata.get("papermill", {}).get("start_time")]
    if not begun:
        return "before its first cell"
    failed = [cell for cell in begun if cell.metadata.papermill.get("status") == "failed"]
    cell = (failed or begun)[-1]
    if "injected-parameters" in cell.metadata.get("tags", []):
        return "in the parameters given to it"
    ids = [each.get("id") for each in source.cells]
    place = ids.index(cell.id) + 1 if cell.get("id") in ids else running[0].cells.index(cell) + 1
    return f"cell {place}" + (f", In [{cell.execution_count}]" if cell.get("execution_count") else "")


def _reason(error: Exception) -> str:
    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    return f"{type(error).__name__}: {error}"


def _literal(path: Path) -> str:
    """papermill fills {placeholders} in paths; a folder may really be called so."""
    return str(path).replace("{", "{{").replace("}", "}}")


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
