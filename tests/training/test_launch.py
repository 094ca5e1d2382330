"""Processes that are killed: a training goes on with another number of them, a shared search without the dead one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SEARCH = """
import json, os, sys, time
from pathlib import Path
from optuna.distributions import FloatDistribution
from cvf20.training.tuning import search

name, made = sys.argv[1], []

def evaluate(parameters, report):
    made.append(parameters["x"])
    print(len(made), flush=True)
    time.sleep(600 if name == "dies" and len(made) == 2 else 0.2)
    return -((parameters["x"] - 1) ** 2)

study = search({"x": FloatDistribution(-3.0, 3.0)}, evaluate, 10, first=[{"x": 2.5}], storage=Path("study.journal"))
print(json.dumps([made, [trial.params["x"] for trial in study.trials], {trial.state.name for trial in study.trials} == {"COMPLETE"}]))
"""
TRAIN = """
import json, os, signal
from functools import partial
from tiny import Patches, tiny_unet
from cvf20.learner import Learner
from cvf20.losses import cross_entropy_criterion

def killed(row):
    print("epoch", row["epoch"], flush=True)
    if row["epoch"] == 2 and os.environ.get("RANK", "0") == os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)

run = Learner(partial(tiny_unet, norm_type="group"), cross_entropy_criterion, Patches(18), Patches(5), lr=1e-2,
              batch_size=4, epochs=4, name="02_same", precision="fp32", verbose=False)
result = run.fit(killed)
if os.environ.get("RANK", "0") == "0":
    print(json.dumps([result["processes"], result["metrics"]["val"], run.curves["train_loss"]]))
"""
ONE = [sys.executable]
TWO = [str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu", "--num_processes", "2"]


def start(folder, command, script, *words, **changes):
    """The script in a process of its own, or in those that a launcher starts; its numbers of threads are ones."""
    here = Path(__file__).parents[1]
    (folder / "script.py").write_text(script)
    changes |= {"CVF20_OUT": str(folder / "out"), "CVF20_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1"}
    changes |= {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]), "ACCELERATE_USE_CPU": "true"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": folder}
    return subprocess.Popen([*command, "script.py", *words], env=os.environ | changes, **options)


def told(process):
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0, printed
    return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return told(start(tmp_path_factory.mktemp("one"), ONE, TRAIN))


@pytest.mark.parametrize(("first", "second", "dies"), [(TWO, ONE, "1"), (ONE, TWO, "0")])
def test_a_killed_worker_ends_the_job_and_others_go_on(tmp_path, undisturbed, first, second, dies):
    """issue 18: what one process left is read by two, and the other way round; metrics are equal, losses to 1e-3."""
    killed = start(tmp_path, first, TRAIN, KILLED=dies)
    printed = killed.communicate(timeout=300)[0]
    assert killed.returncode and (first == ONE or "SIGKILL" in printed), printed
    going_on = start(tmp_path, second, TRAIN)
    processes, metrics, losses = told(going_on)
    assert processes == (1 if second == ONE else 2) and metrics == undisturbed[1]
    assert losses == pytest.approx(undisturbed[2], abs=1e-3)


def test_two_searches_divide_the_trials_of_one_study_and_survive_a_death(tmp_path):
    """issue 18: one is killed in its second trial, which another makes: ten trials, each counted once."""
    (tmp_path / "alone").mkdir()
    alone = start(tmp_path / "alone", ONE, SEARCH, "alone")
    dies = start(tmp_path, ONE, SEARCH, "dies")
    assert [dies.stdout.readline() for _ in "12"] == ["1\n", "2\n"]
    others = [start(tmp_path, ONE, SEARCH, name) for name in "ab"]
    assert others[0].stdout.readline() == "1\n"
    dies.kill()
    (a, trials, done), (b, *same) = map(told, others)
    assert done and same == [trials, done] and len(trials) == len(set(trials)) == 10
    assert sorted(a + b) == sorted(trials[1:]) and a and b  # the first was the dead one's; its second was made again
    assert trials[0] == 2.5 and dies.wait() == -9
    made, trials_alone, _ = told(alone)
    assert made == trials_alone and trials_alone[:8] == trials[:8]  # drawn by seed and number, whoever makes them
