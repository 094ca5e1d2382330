"""Search: failed, pruned and interrupted trials; and the range test."""

import json

import pytest
import torch
from launched import ONE, start, told
from optuna.distributions import CategoricalDistribution, FloatDistribution
from tiny import Patches, tiny_unet

from cvf20.losses import cross_entropy_criterion
from cvf20.training.learner import Learner
from cvf20.training.tuning import range_test, search, steepest

SPACE = {"x": FloatDistribution(-3.0, 3.0), "kind": CategoricalDistribution(["a", "b"])}


def parabola(parameters, report):
    """Best at x = 1; reports the value in four steps."""
    value = -((parameters["x"] - 1) ** 2)
    for epoch in range(1, 5):
        report(epoch, value * (5 - epoch))
    return value


def states(study):
    return [trial.state.name for trial in study.trials]


def test_it_finds_a_maximum_and_tries_first_what_is_asked_for():
    first = [{"x": -2.5, "kind": "b"}, {"x": 0.25, "kind": "a"}]
    study = search(SPACE, parabola, 30, first=first)
    assert [trial.params for trial in study.trials[:2]] == first
    assert abs(study.best_params["x"] - 1) < 0.2
    assert len(study.trials) == 30 and set(states(study)) == {"COMPLETE", "PRUNED"}


def test_a_diverged_trial_fails_and_the_search_goes_on():
    def diverges(parameters, report):
        if parameters["x"] < 0:
            raise FloatingPointError("loss is nan in epoch 1, batch 3, at learning rate 0.3")
        return float("nan") if parameters["x"] > 2 else parabola(parameters, report)

    study = search(SPACE, diverges, 12)
    outside = [not 0 <= trial.params["x"] <= 2 for trial in study.trials]
    assert [state == "FAIL" for state in states(study)] == outside and any(outside)
    assert 0 <= study.best_params["x"] <= 2


STEPS = []


def counted_loss(logits, target):
    STEPS.append(len(logits))
    return cross_entropy_criterion(logits, target)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_search_that_was_stopped_goes_on(tmp_path, monkeypatch, error):
    """Called again it makes the same trials; what was trained before is loaded, and the last run goes on."""
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("CVF20_RUNS", str(tmp_path / "runs"))
    space, told = {"lr": FloatDistribution(1e-4, 1e-1, log=True)}, []

    def run(stop_after):
        def evaluate(parameters, report):
            def tell(row):
                told.append((parameters["lr"], row["epoch"], row["mIoU"]))
                if len(told) == stop_after:
                    raise error
                report(row["epoch"], row["mIoU"])

            choices = {"batch_size": 4, "epochs": 2, "precision": "fp32", "verbose": False}
            run = Learner(tiny_unet, counted_loss, Patches(8), Patches(4), parameters["lr"], name="04_trial", **choices)
            return run.fit(tell)["metrics"]["val"]["mIoU"]

        told.clear(), STEPS.clear()
        study = search(space, evaluate, 3)
        return [trial.params for trial in study.trials], list(told), len(STEPS)

    with pytest.raises(error):
        run(stop_after=3)
    assert len(STEPS) == 3 * 3  # in each epoch two steps and one batch of validation
    trials, seen, steps = run(stop_after=None)
    assert len(trials) == 3 and len(seen) == 6 and steps == 3 * 3
    assert run(stop_after=None) == (trials, seen, 0)


SHARED = """
import json, sys, time
from optuna.distributions import FloatDistribution
from cvf20.training.tuning import search

def evaluate(parameters, report):
    made.append(parameters["x"])
    print(len(made), flush=True)
    time.sleep(600 if sys.argv[1] == "dies" and len(made) == 2 else 0.2)
    return -parameters["x"] ** 2

made = []
study = search({"x": FloatDistribution(-3.0, 3.0)}, evaluate, 10, first=[{"x": 2.5}], storage="study.journal")
print(json.dumps([made, [[trial.state.name, trial.params["x"]] for trial in study.trials]]))
"""


def test_two_searches_divide_the_trials_of_one_study_and_survive_a_death(tmp_path):
    """issue 18: a third is killed in its second trial, which does not count."""
    dies = start(tmp_path, ONE, SHARED, "dies")
    assert [dies.stdout.readline() for _ in "12"] == ["1\n", "2\n"]
    others = [start(tmp_path, ONE, SHARED, "lives") for _ in "ab"]
    assert others[0].stdout.readline() == "1\n"
    dies.kill()
    (a, trials), (b, more) = (json.loads(told(other).splitlines()[-1]) for other in others)
    ended = [x for state, x in max(trials, more, key=len) if state == "COMPLETE"]
    assert 10 <= len(ended) <= 11 and {*ended} <= {2.5, *a, *b}  # two may begin the last one at the same time
    assert trials[0] == ["COMPLETE", 2.5] and trials[1][0] == "RUNNING" and dies.wait() == -9
    assert len(a) > 1 and len(b) > 1 and len({*a, *b}) == len(a) + len(b)


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
