"""Notebooks that a launcher's processes train, and how many of them at a time."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from submission.projects import notebook

from cvf20.submission import run
from cvf20.submission.run import main

TRAINS = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import matplotlib.pyplot as plt
from tiny import Patches, tiny_unet
from cvf20.learner import Learner
from cvf20.losses import cross_entropy_criterion
from cvf20.show.figures import show
from cvf20.training.runs import cached

Patches.synthetic = False
run = Learner(tiny_unet, cross_entropy_criterion, Patches(8), Patches(4), batch_size=4, epochs=2, name="03_tiny")
run.fit()
print("quick is", quick, "and kept by process", cached("03_rank", lambda: [os.environ.get("RANK"), run.test(Patches())])[0])
show(plt.figure(figsize=(1, 1)), "03_empty", "Nothing.")
"""
TWICE = [("accelerate launch --num_processes 2 --cpu", []), ("torchrun --nproc_per_node 2", ["--quick"])]


@pytest.mark.parametrize(("launcher", "options"), TWICE)
def test_a_notebook_is_trained_by_two_processes_and_rendered_from_what_they_left(project, capsys, launcher, options):
    project.save("03_unet", notebook(TRAINS))
    assert main(["--launch", launcher, *options, "03"], project.root) == 0
    root = project.root / "build/quick" if options else project.root
    assert json.loads((root / "results/03_tiny-seed0.json").read_text())["processes"] == 2
    shown = project.outputs("03_unet", f"{root / 'notebooks'}")[-1][0].text
    assert (
        shown.startswith("03_tiny-seed0: loaded from runs/")
        and f"quick is {bool(options)} and kept by process 0" in shown
    )
    assert capsys.readouterr().out.count("03 | 03_tiny-seed0  epoch   1/2") == 2  # when it is trained, and when loaded


def test_a_notebook_that_fails_in_one_process_fails(project, capsys):
    project.save("03_unet", notebook("import os\nassert os.environ['RANK'] == '0', 'the other one'"))
    assert main(["--launch", "torchrun --nproc_per_node 2", "03"], project.root) == 1
    printed = capsys.readouterr().out
    assert "Error: the other one" in printed and "torchrun --nproc_per_node 2 ended with exit code 1" in printed


@pytest.mark.parametrize(("speeds", "memory", "jobs"), [((10, 6, 6), 2e10, 2), ((10, 5, 5), 2e10, 1), ((), 8e9, 1)])
def test_two_notebooks_at_a_time_where_that_is_measured_to_be_faster(monkeypatch, speeds, memory, jobs):
    measured = iter(80 / speed for speed in speeds)
    pool = SimpleNamespace(map=lambda measure, setups: [next(measured) for _ in setups])
    monkeypatch.setattr(run, "ThreadPoolExecutor", lambda count: nullcontext(pool))
    monkeypatch.setattr(run.psutil, "virtual_memory", lambda: SimpleNamespace(available=memory))
    monkeypatch.setattr(run.os, "cpu_count", lambda: 2)
    assert run.best_jobs() == jobs
