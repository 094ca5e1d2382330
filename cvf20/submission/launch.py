"""How a run uses the machine: trainings in several processes (`run_all.sh --launch`), notebooks side by side (`--jobs`)."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import torch

from cvf20.models import UNet
from cvf20.submission.notebook import read, tags
from cvf20.training.devices import make_accelerator


def launch(launcher: str, source: Path, target: Path, told: dict, quick: bool, report: Callable) -> None:
    """Finish a notebook's runs in the processes that e.g. "torchrun --nproc_per_node 2" starts; others: see `execute`."""
    nb, words = read(source), shlex.split(launcher)
    for cell in nb.cells if quick else ():
        cell.source += "\nquick = True" * ("parameters" in tags(cell))
    nbformat.write(nb, target)
    told = {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "IPYTHONDIR": str(target.parent.parent / ".ipython")} | told
    told["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if "--cpu" in words:  # for which Accelerate wants MPI, though its way with GPUs serves processors as well
        words[words.index("--cpu")], told["ACCELERATE_USE_CPU"] = "--multi_gpu", "true"
    words += ["-m", "IPython", "--HistoryManager.enabled=False", "--colors=NoColor", str(target)]
    options = {"cwd": source.parent.parent, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(words, env=os.environ | told, **options) as process:
        for line in process.stdout:
            report(line.rstrip())
    if process.returncode:
        raise RuntimeError(f"{source.stem}: {launcher} ended with exit code {process.returncode}; why is said above")


def best_jobs(report: Callable[[str], None], memory: float = 16e9) -> int:
    """2 notebooks at a time where two trainings, each on half the cores, do more than one on all: measured; else 1."""
    cores = os.cpu_count() or 1
    if (
        cores < 2
        or torch.accelerator.is_available()
        or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < memory
    ):
        return 1

    def images_per_second(threads: int) -> float:
        torch.set_num_threads(threads)  # of this thread alone
        model, images, steps, started = UNet(4, 3, 9, 16), torch.rand(8, 3, 112, 144), 0, time.perf_counter()
        while time.perf_counter() < started + 3:
            with make_accelerator().autocast():
                model(images).sum().backward()
            steps += 1
        return steps * len(images) / (time.perf_counter() - started)

    with ThreadPoolExecutor(2) as pool:
        alone, *both = *pool.map(images_per_second, [cores]), *pool.map(images_per_second, [cores // 2] * 2)
    report(f"images/s: {alone:.1f} by one training on {cores} cores, {sum(both):.1f} by two on {cores // 2} each")
    return 1 + (sum(both) > 1.1 * alone)
