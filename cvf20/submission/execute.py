"""One notebook, run in a kernel of this interpreter, whatever kernel its metadata name; its runs by several processes."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from papermill.parameterize import parameterize_notebook

from cvf20.submission.notebook import fingerprint, read, tags


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
    """Run `source` in its project's folder; `target` is what a person wrote there, metadata too, with the outputs.

    told: added to the environment; folders: what those of this machine are called in the outputs; report: gets every
    line that is printed. Whatever kernels, profiles and back ends the user has set up has no influence: MPLBACKEND=Agg,
    for one, would hide every figure. Raises RuntimeError; the half-done notebook is then in `target`.
    """
    nb, place, failure = read(source), 0, None
    metadata = nb.metadata | {"cvf20": {"rendered_from": fingerprint(nb)}}
    if quick:
        for cell in nb.cells:
            cell.metadata.setdefault("tags", [])  # papermill wants these two
        nb.metadata["papermill"] = {}
        nb = parameterize_notebook(nb, {"quick": True}, kernel_name="python3", language="python")
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for cell in code:
        cell.execution_count, cell.outputs = None, []
    ours = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONHASHSEED": "0"}
    ours["IPYTHONDIR"] = str(target.parent.parent / ".ipython")
    client = _Client(nb, report)
    try:
        with client.setup_kernel(env=os.environ | ours | told, cwd=str(source.parent.parent), cleanup_kc=True):
            for k, cell in enumerate(nb.cells):
                place += "injected-parameters" not in tags(cell)
                client.execute_cell(cell, k)
    except Exception as error:  # a failing cell, a kernel that died, a full disk: all end this notebook
        failure = error
    nb.metadata, rename = metadata, renamer(folders)
    for output in [output for cell in code for output in cell.outputs]:
        if output.output_type == "stream":  # as a terminal shows it
            output.text = rename("\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in output.text.split("\n")))
        for kind in [kind for kind in output.get("data", {}) if kind.startswith("text/")]:
            output.data[kind] = rename(output.data[kind])
    target.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    if failure:
        known = isinstance(failure, CellExecutionError)
        reason = f"{failure.ename}: {failure.evalue}" if known else f"{type(failure).__name__}: {failure}"
        raise RuntimeError(f"{source.stem}, cell {place}: {reason}") from failure


def launch(launcher: str, source: Path, target: Path, told: dict, quick: bool, report: Callable) -> None:
    """Finish a notebook's runs in the processes that e.g. "torchrun --nproc_per_node 2" starts; others: see `execute`."""
    nb, words = read(source), shlex.split(launcher)
    for cell in nb.cells:
        cell.source += "\nquick = True" * (quick and "parameters" in tags(cell))
    target.write_text(nbformat.writes(nb), encoding="utf-8")
    told = {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"} | told
    told["IPYTHONDIR"] = str(target.parent.parent / ".ipython")
    told["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if "--cpu" in words:  # for which Accelerate wants MPI, though its way with GPUs serves processors as well
        words[words.index("--cpu")], told["ACCELERATE_USE_CPU"] = "--multi_gpu", "true"
    words += ["-m", "IPython", "--HistoryManager.enabled=False", "--colors=NoColor", str(target)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    with subprocess.Popen(words, cwd=source.parent.parent, env=os.environ | told, **options) as process:
        for line in process.stdout:
            report(line.rstrip())
    if process.returncode:
        raise RuntimeError(f"{source.stem}: {launcher} ended with exit code {process.returncode}; why is said above")


def renamer(folders: dict[Path, str]) -> Callable[[str], str]:
    """A function that calls these folders, and the home, by other names, the innermost first; "": by none, but for "."."""
    names = {str(folder): name for folder, name in ({Path.home(): "~"} | folders).items() if folder != folder.parent}
    longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w.])({longest_first})(?:([/\\])|(?![\w.-]))")

    def other(match: re.Match) -> str:
        name, separator = names[match[1]], match[2] or ""
        return name + separator if name else "" if separator else "."

    return lambda text: pattern.sub(other, text)
