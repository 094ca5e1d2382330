"""Notebooks that a launcher's processes train, and how many of them at a time."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from submission.projects import notebook

from cvf20.submission import run
from cvf20.submission.run import main

TRAINS = """
import os, sys
sys.path.insert(0, TESTS)
from tiny import Patches, tiny_unet
from cvf20.learner import Learner
from cvf20.losses import cross_entropy_criterion
from cvf20.show.figures import show
from cvf20.training.results import load_results
from cvf20.training.runs import cached
import matplotlib.pyplot as plt

class Real(Patches):
    synthetic = False

def build():
    return tiny_unet(norm_type="group")

run = Learner(build, cross_entropy_criterion, Real(8), Real(4), lr=1e-2, batch_size=4, epochs=2, name="03_tiny")
run.fit()
tested = run.test(Real(3))
"""
THEN = """
rank = cached("03_rank", lambda: [os.environ.get("RANK", "no launcher"), run.test(Real(4, seed=1))])[0]
print("quick is", quick, "and", len(load_results("03_tiny*")), "result, kept by process", rank)
show(plt.figure(figsize=(1, 1)), "03_empty", "Nothing.")
"""


@pytest.mark.parametrize(
    ("launcher", "options"),
    [("accelerate launch --num_processes 2 --cpu", []), ("torchrun --nproc_per_node 2", ["--quick"])],
)
def test_a_notebook_is_trained_by_two_processes_and_rendered_from_what_they_left(project, capsys, launcher, options):
    project.save("03_unet", notebook(TRAINS.replace("TESTS", repr(str(Path(__file__).parents[1]))), THEN))
    assert main(["--launch", launcher, *options, "03"], project.root) == 0
    root = project.root / "build/quick" if options else project.root
    result = json.loads((root / "results/03_tiny-seed0.json").read_text())
    assert result["processes"] == 2 and result["metrics"].keys() == {"val", "test"}
    first, second = (cell[0].text for cell in project.outputs("03_unet", f"{root / 'notebooks'}")[-2:])
    assert first.startswith("03_tiny-seed0: loaded from runs/")
    assert f"quick is {bool(options)} and 1 result, kept by process 0" in second
    printed = capsys.readouterr().out
    assert printed.count("03 | 03_tiny-seed0  epoch   1/2") == 2  # trained once, and told again when loaded


def test_a_notebook_that_fails_in_its_processes_fails(project, capsys):
    project.save("03_unet", notebook("import os\nassert os.environ['RANK'] == '0', 'the other one'"))
    assert main(["--launch", "torchrun --nproc_per_node 2", "03"], project.root) == 1
    printed = capsys.readouterr().out
    assert (
        "AssertionError: the other one" in printed and "torchrun --nproc_per_node 2 ended with exit code 1" in printed
    )


@pytest.mark.parametrize(("speeds", "jobs"), [((10, 6, 6), 2), ((10, 5, 5), 1)])
def test_two_notebooks_at_a_time_where_that_is_measured_to_be_faster(monkeypatch, capsys, speeds, jobs):
    measured, memory = iter(speeds), SimpleNamespace(available=24e9)
    monkeypatch.setattr(run.psutil, "virtual_memory", lambda: memory)
    pool = SimpleNamespace(map=lambda measure, threads: [next(measured) for _ in threads])
    monkeypatch.setattr(run, "ThreadPoolExecutor", lambda count: nullcontext(pool))
    monkeypatch.setattr(run.os, "cpu_count", lambda: 2)
    assert run.best_jobs() == jobs and "10.0 by one training on 2 cores" in capsys.readouterr().out
    memory.available = 8e9
    assert run.best_jobs() == 1
