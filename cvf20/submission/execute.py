"""One notebook, run by papermill in a kernel of this interpreter, whatever kernel its metadata name."""

import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from papermill.engines import Engine, papermill_engines

from cvf20.submission.notebook import fingerprint, read, tags

WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(Exception):
    """Says which notebook did not run to its end, in which cell, and why."""


class _Client(NotebookClient):
    """Hands on the lines that are printed while they are printed, and knows the last cell that was begun."""

    def __init__(self, nb: NotebookNode, report: Callable[[str], None], folder: Path):
        only_this = KernelSpecManager(kernel_dirs=[])  # none of the user's kernels: the one of this interpreter
        (folder / "ipython").mkdir(parents=True, exist_ok=True)
        manager = AsyncKernelManager(kernel_spec_manager=only_this, connection_file=f"{folder}/{id(nb)}.json")
        super().__init__(nb, manager, timeout=None, startup_timeout=180, record_timing=False, coalesce_streams=True)
        self.report, self.rest, self.begun, self.extra_arguments = report, "", None, ["--log-level=40"]
        self.on_cell_start = lambda cell, cell_index: setattr(self, "begun", cell)

    def output(self, outs, msg, display_id, cell_index):
        result = super().output(outs, msg, display_id, cell_index)
        if result and result.get("name") == "stdout":
            *lines, self.rest = (self.rest + result.text).split("\n")
            for line in lines:
                self.report(line.rsplit("\r", 1)[-1])
        return result


class _Engine(Engine):
    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, run=None, **kwargs):
        run(nb_man.nb)  # with the client above


papermill_engines.register("cvf20", _Engine)


def execute(source: Path, target: Path, told: dict, folders: dict, quick: bool, report: Callable) -> None:
    """Run `source` in the working directory; `target` is what a person wrote there, metadata too, with the outputs.

    told: added to the environment; folders: what those of this machine are called in the outputs; report: gets every
    line that is printed. Whatever kernels, profiles and back ends the user has set up has no influence: MPLBACKEND=Agg,
    for one, would hide every figure. Raises NotebookError; the half-done notebook is then in `target`.
    """
    written, folder, clients, failure = read(source), target.parent.parent / ".jupyter", [], None
    told = told | {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "IPYTHONDIR": str(folder / "ipython")}

    def run(nb: NotebookNode) -> None:
        clients.append(_Client(nb, report, folder))
        clients[0].execute(env=os.environ | {"PYTHONHASHSEED": "0"} | told, cleanup_kc=True)

    ours = dict(engine_name="cvf20", kernel_name="python3", language="python", progress_bar=False, run=run)
    try:
        papermill.execute_notebook(nbformat.from_dict(written), None, {"quick": True} if quick else {}, **ours)
    except Exception as error:  # a failing cell, a kernel that died, a full disk: all end this notebook
        failure = error
    nb, begun = (clients[0].nb, clients[0].begun) if clients else (written, None)
    given, place = [cell for cell in nb.cells if "injected-parameters" not in tags(cell)], "before its first cell"
    if begun:
        place = f"cell {given.index(begun) + 1}" if begun in given else "in the parameters given to it"
    nb.metadata = written.metadata | {"cvf20": {"rendered_from": fingerprint(written)}}
    for cell in nb.cells:
        for key in {"papermill", *(["tags"] if not cell.metadata.get("tags") else [])}:
            cell.metadata.pop(key, None)
    for cell in [cell for cell in nb.cells if cell.cell_type == "code"]:
        shown = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
        cell.outputs = _renamed(shown, renamer(folders))
    target.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    if failure:
        known = isinstance(failure, CellExecutionError)
        reason = f"{failure.ename}: {failure.evalue}" if known else f"{type(failure).__name__}: {failure}"
        raise NotebookError(f"{source.stem}, {place}: {reason}") from failure


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
