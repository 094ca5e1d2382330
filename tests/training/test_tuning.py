"""Search: failed, pruned and interrupted trials, several processes on one study, and the range test."""

import multiprocessing
import os
import signal
import time

import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from tiny import Patches, tiny_unet

from cvf20.losses import cross_entropy_criterion
from cvf20.training.learner import Learner
from cvf20.training.tuning import finished, open_study, range_test, search, steepest

SPACE = {"x": FloatDistribution(-3.0, 3.0), "kind": CategoricalDistribution(["a", "b"])}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "search.journal"


def parabola(parameters, report):
    """Best at x = 1; reports the value in four steps."""
    value = -((parameters["x"] - 1) ** 2)
    for epoch in range(1, 5):
        report(epoch, value * (5 - epoch))
    return value


def states(study):
    return [trial.state.name for trial in finished(study)]


def test_it_finds_a_maximum(file):
    study = open_study(file, SPACE)
    search(study, SPACE, parabola, 30)
    assert abs(study.best_params["x"] - 1) < 0.2
    assert len(finished(study)) == 30
    assert "PRUNED" in states(study)


def test_what_is_queued_comes_first(file):
    study = open_study(file, SPACE)
    search(study, SPACE, parabola, 2, first=[{"x": 0.25, "kind": "b"}])
    assert study.trials[0].params == {"x": 0.25, "kind": "b"}


def test_an_interrupted_search_goes_on_as_it_would_have(tmp_path):
    """Stopped between two trials and opened again: the same trials as without the stop."""
    whole, halves = tmp_path / "whole.journal", tmp_path / "halves.journal"
    search(open_study(whole, SPACE), SPACE, parabola, 12)
    for trials in (5, 12):
        search(open_study(halves, SPACE), SPACE, parabola, trials)
    assert [t.params for t in open_study(whole, SPACE).trials] == [t.params for t in open_study(halves, SPACE).trials]


def test_a_diverged_trial_fails_and_the_search_goes_on(file):
    def diverges(parameters, report):
        if parameters["x"] < 0:
            raise FloatingPointError("loss is nan in epoch 1, batch 3, at learning rate 0.3")
        return parabola(parameters, report)

    study = open_study(file, SPACE)
    search(study, SPACE, diverges, 12)
    failed = [trial for trial in finished(study) if trial.state == TrialState.FAIL]
    assert len(finished(study)) == 12 and failed
    assert all("batch 3" in trial.user_attrs["error"] and trial.params["x"] < 0 for trial in failed)
    assert study.best_params["x"] >= 0


def test_a_value_that_is_no_number_is_a_failed_trial(file):
    values = iter([float("nan"), 1.0, float("inf")])
    study = open_study(file, SPACE)
    search(study, SPACE, lambda parameters, report: next(values), 3)
    assert states(study) == ["FAIL", "COMPLETE", "FAIL"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_another_error_is_not_swallowed_and_its_trial_not_lost(file, error):
    """As when a cell of a notebook is interrupted and run again: the process lives on."""

    def stops(parameters, report):
        raise error

    with pytest.raises(error):
        search(open_study(file, SPACE), SPACE, stops, 3, first=[{"x": 0.5, "kind": "b"}])
    study = open_study(file, SPACE)
    search(study, SPACE, parabola, 3)
    assert states(study) == ["COMPLETE"] * 3
    assert finished(study)[0].params == {"x": 0.5, "kind": "b"}


def dies(file):
    def die(parameters, report):
        report(1, 0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    search(open_study(file, SPACE), SPACE, die, 5, first=[{"x": 0.5, "kind": "a"}])


def works(file, seed):
    def slow(parameters, report):
        time.sleep(0.1)
        return parabola(parameters, report)

    search(open_study(file, SPACE), SPACE, slow, 12, seed=seed)


def start(function, *arguments):
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def test_a_killed_trial_is_taken_up_again(file):
    """kill -9 in the middle of a trial: its parameters are tried first, and no other trial is lost."""
    process = start(dies, file)
    process.join(120)
    assert process.exitcode == -9
    study = open_study(file, SPACE)
    assert finished(study) == []
    search(study, SPACE, parabola, 3)
    assert finished(study)[0].params == {"x": 0.5, "kind": "a"}
    assert states(study) == ["COMPLETE"] * 3


def test_two_processes_join_one_study(file):
    workers = [start(works, file, seed) for seed in (1, 2)]
    for worker in workers:
        worker.join(240)
    assert [worker.exitcode for worker in workers] == [0, 0]
    study = open_study(file, SPACE)
    by_process = {trial.user_attrs["process"] for trial in finished(study)}
    assert len(by_process) == 2
    assert 12 <= len(finished(study)) <= 13  # both may have begun their last one together
    assert sorted(trial.number for trial in study.trials) == list(range(len(study.trials)))


def test_a_study_of_another_space_is_refused(file):
    open_study(file, SPACE)
    other = {"x": FloatDistribution(-1.0, 3.0), "depth": CategoricalDistribution([3, 4])}
    with pytest.raises(ValueError, match=r"search\.journal.*depth, kind, x"):
        open_study(file, other)
    open_study(file, dict(reversed(SPACE.items())))  # the order does not matter


CALLS = []


def counted_loss(logits, target):
    CALLS.append(len(logits))
    return cross_entropy_criterion(logits, target)


def test_a_search_over_training_runs_is_cached(file, tmp_path, monkeypatch):
    """Each trial is a Learner: the second search loads all of them."""
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("CVF20_RUNS", str(tmp_path / "runs"))
    space = {"lr": FloatDistribution(1e-4, 1e-1, log=True)}

    def evaluate(parameters, report):
        choices = {"batch_size": 4, "epochs": 2, "precision": "fp32", "verbose": False}
        run = Learner(tiny_unet, counted_loss, Patches(8), Patches(4), parameters["lr"], name="04_trial", **choices)
        return run.fit(lambda row: report(row["epoch"], row["mIoU"]))["metrics"]["val"]["mIoU"]

    for name in ("first", "second"):
        study = open_study(tmp_path / name, space)
        search(study, space, evaluate, 5)
        assert bool(CALLS) == (name == "first")
        CALLS.clear()


def test_the_range_test_stops_where_the_loss_explodes():
    torch.manual_seed(0)
    rates, losses = range_test(
        tiny_unet(norm_type=None), cross_entropy_criterion, Patches(8), torch.optim.SGD, 1e-4, 1e6, steps=40
    )
    assert 5 < len(rates) < 40
    assert rates == sorted(rates) and rates[0] == pytest.approx(1e-4)
    assert rates[1] / rates[0] == pytest.approx((1e10) ** (1 / 39))
    assert max(losses) <= 4 * min(losses) * 1.0001 or losses.index(max(losses)) == 0
    assert rates[0] <= steepest(rates, losses) <= rates[-1]


def test_the_steepest_rate_is_where_the_loss_falls():
    """A loss that falls around 1e-2 only."""
    rates = [10 ** (-5 + 0.1 * k) for k in range(50)]
    losses = [1 / (1 + (rate / 1e-2) ** 2) for rate in rates]
    assert 3e-3 < steepest(rates, losses, smoothing=0.0) < 3e-2
