"""One notebook, run by nbclient in a kernel of this interpreter, whatever kernel its metadata name."""

import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

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
        super().__init__(nb, manager, timeout=None, startup_timeout=180, record_timing=False)
        self.report, self.rest, self.begun, self.extra_arguments = report, "", None, ["--log-level=40"]
        self.on_cell_start = lambda cell, cell_index: setattr(self, "begun", cell)

    def output(self, outs, msg, display_id, cell_index):
        result = super().output(outs, msg, display_id, cell_index)
        if result and result.get("name") == "stdout":
            *lines, self.rest = (self.rest + result.text).split("\n")
            for line in lines:
                self.report(line.rsplit("\r", 1)[-1])
        return result


def execute(source: Path, target: Path, told: dict, folders: dict, quick: bool, report: Callable) -> None:
    """Run `source` in the working directory; `target` is what a person wrote there, metadata too, with the outputs.

    told: added to the environment; folders: what those of this machine are called in the outputs; report: gets every
    line that is printed. Whatever kernels, profiles and back ends the user has set up has no influence: MPLBACKEND=Agg,
    for one, would hide every figure. Raises NotebookError; the half-done notebook is then in `target`.
    """
    nb, written, rename, failure = read(source), read(source), renamer(folders), None
    if quick:
        places = [place for place, cell in enumerate(nb.cells, 1) if "parameters" in tags(cell)] or [0]
        nb.cells.insert(places[0], new_code_cell("quick = True", metadata={"tags": ["injected-parameters"]}))
    folder = target.parent.parent / ".jupyter"
    told = told | {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "IPYTHONDIR": str(folder / "ipython")}
    client = _Client(nb, report, folder)
    try:
        client.execute(env=os.environ | {"PYTHONHASHSEED": "0"} | told, cleanup_kc=True)
    except Exception as error:  # a failing cell, a kernel that died, a full disk: all end this notebook
        failure = error
    place = "before its first cell"
    if client.begun:
        given = [cell for cell in nb.cells if "injected-parameters" not in tags(cell)]
        place = f"cell {given.index(client.begun) + 1}" if client.begun in given else "in the parameters given to it"
        place += f", In [{client.begun.execution_count}]" if client.begun.get("execution_count") else ""
    nb.metadata = written.metadata | {"cvf20": {"rendered_from": fingerprint(written)}}
    for cell in [cell for cell in nb.cells if cell.cell_type == "code"]:
        shown = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
        cell.outputs = _renamed(_joined(shown), rename)
    target.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    if failure:
        known = isinstance(failure, CellExecutionError)
        reason = f"{failure.ename}: {failure.evalue}" if known else f"{type(failure).__name__}: {failure}"
        raise NotebookError(f"{source.stem}, {place}: {reason}") from failure


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
