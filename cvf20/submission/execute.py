"""One notebook, run in a kernel of this interpreter, whatever kernel its metadata name."""

import os
import re
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
    """Reports what is printed while it is printed, and keeps what follows upon each other in one output."""

    def __init__(self, nb: NotebookNode, report: Callable[[str], None]):
        only_this = KernelSpecManager(kernel_dirs=[])  # none of the user's kernels: the one of this interpreter
        manager = AsyncKernelManager(kernel_spec_manager=only_this)
        super().__init__(nb, manager, timeout=None, startup_timeout=180, record_timing=False)
        self.report, self.extra_arguments = report, ["--log-level=40"]

    def output(self, outs, msg, display_id, cell_index):
        out = super().output(outs, msg, display_id, cell_index)
        if out and out.output_type == "stream":
            for line in out.text.splitlines() if out.name == "stdout" else ():
                self.report(line)
            if len(outs) > 1 and outs[-2].get("name") == out.name:
                outs[-2].text += outs.pop().text
        return out


def execute(source: Path, target: Path, told: dict, folders: dict, quick: bool, report: Callable) -> None:
    """Run `source` in the working directory; `target` is what a person wrote there, metadata too, with the outputs.

    told: added to the environment; folders: what those of this machine are called in the outputs; report: gets every
    line that is printed. Whatever kernels, profiles and back ends the user has set up has no influence: MPLBACKEND=Agg,
    for one, would hide every figure. Raises NotebookError; the half-done notebook is then in `target`.
    """
    nb, place = read(source), "before its first cell"
    metadata = nb.metadata | {"cvf20": {"rendered_from": fingerprint(nb)}}
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for cell in code:
        cell.execution_count, cell.outputs = None, []
    if quick:
        given = new_code_cell("quick = True", metadata={"tags": ["injected-parameters"]})
        nb.cells[:] = [each for cell in nb.cells for each in ([cell, given] if "parameters" in tags(cell) else [cell])]
    ours = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONHASHSEED": "0"}
    ours["IPYTHONDIR"] = str(target.parent.parent / ".ipython")
    client, failure = _Client(nb, report), None
    try:
        with client.setup_kernel(env=os.environ | ours | told, cleanup_kc=True):
            for k, cell in enumerate(nb.cells):
                place = f"cell {sum('injected-parameters' not in tags(other) for other in nb.cells[: k + 1])}"
                client.execute_cell(cell, k)
    except Exception as error:  # a failing cell, a kernel that died, a full disk: all end this notebook
        failure = error
    nb.metadata = metadata
    for cell in code:
        for stream in [output for output in cell.outputs if output.output_type == "stream"]:  # as a terminal shows it
            stream.text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in stream.text.split("\n"))
        cell.outputs = _renamed(cell.outputs, renamer(folders))
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
    """A function that calls these folders, and the home, by other names, the innermost first; "": by none, but for "."."""
    names = {str(folder): name for folder, name in ({Path.home(): "~"} | folders).items() if folder != folder.parent}
    longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w.])({longest_first})(?:([/\\])|(?![\w.-]))")
    return lambda text: pattern.sub(lambda m: (names[m[1]] and names[m[1]] + (m[2] or "")) or "." * (not m[2]), text)
