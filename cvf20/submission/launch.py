"""Training in several processes: ./run_all.sh --launch 'accelerate launch --num_processes 2 --cpu' 03.

The launcher starts this file once per process, and each runs the cells; together they train what the notebook then loads.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from cvf20.submission.notebook import read, tags
from cvf20.training.devices import processes


def launch(launcher: str, source: Path, told: dict, quick: bool, report: Callable[[str], None]) -> None:
    """Finish the runs of a notebook in the launcher's processes; arguments: see `execute`. Raises RuntimeError."""
    words, told = shlex.split(launcher), {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"} | told
    told["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if (
        "--cpu" in words
    ):  # Accelerate's own way to several processes without a GPU wants MPI; its way with GPUs does not
        words[words.index("--cpu")], told["ACCELERATE_USE_CPU"] = "--multi_gpu", "true"
    words += ["-m", __name__, str(source), "quick" if quick else ""]
    options = {"cwd": source.parent.parent, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(words, env=os.environ | told, **options) as process:
        for line in process.stdout:
            report(line.rstrip())
    if process.returncode:
        raise RuntimeError(
            f"{source.stem}: {launcher} ended with exit code {process.returncode}, for what is said above"
        )


def main(source: str, quick: str) -> None:
    """Run the code cells of a notebook; the main process prints what is printed, nobody shows what is displayed."""
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    shell.display_pub.publish = shell.showtraceback = lambda *_, **__: None
    if not processes().is_main_process:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 — to the end
    for cell in read(Path(source)).cells:
        if cell.cell_type == "code":
            shell.run_cell(cell.source, silent=True).raise_error()
        if quick and "parameters" in tags(cell):
            shell.run_cell("quick = True", silent=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
