"""Hyper-parameter search with Optuna: one journal file that several processes may work on, and the range test (D8)."""

import math
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import psutil
import torch
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from cvf20.training.devices import make_accelerator, same_random_state, seed_everything, to_device
from cvf20.training.outputs import forward

optuna.logging.set_verbosity(optuna.logging.ERROR)
Space = dict[str, BaseDistribution]


def open_study(file: Path, space: Space) -> optuna.Study:
    """The study kept in a journal file, made if it is not there; its goal is the highest value.

    Several processes of this machine may open the same file; trials of one that is gone are queued again. Raises
    ValueError where the file belongs to a search over another space.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    pruner, storage = optuna.pruners.MedianPruner(4, n_warmup_steps=3), JournalStorage(JournalFileBackend(str(file)))
    options = {"direction": "maximize", "pruner": pruner, "load_if_exists": True}
    study = optuna.create_study(storage=storage, study_name="search", **options)
    described = {name: distribution_to_json(distribution) for name, distribution in space.items()}
    kept = study.user_attrs.get("space", described)
    if differ := sorted(name for name in kept | described if kept.get(name) != described.get(name)):
        raise ValueError(f"{file} holds a search over another space; these differ: {', '.join(differ)}")
    study.set_user_attr("space", described)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if not psutil.pid_exists(trial.user_attrs.get("process", -1)):
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
    return study


def search(
    study: optuna.Study,
    space: Space,
    evaluate: Callable[[dict, Callable[[int, float], None]], float],
    trials: int,
    seed: int = 0,
    first: Iterable[dict] = (),
) -> None:
    """Work on a study until it holds `trials` trials that are complete, pruned or diverged.

    evaluate: (parameters, report) → value; it calls report(epoch, value) after every epoch, which ends the trial there
              when it is worse than the median of the others. A FloatingPointError, as `train` raises it when the
              loss is no number, or a value that is none, counts as a failed trial, and the search goes on. Whatever
              else stops a trial, an interrupt too, passes through, and its parameters are queued again.
    seed:     trial k draws from (seed, k): a search stopped between two trials goes on as it would have. Processes
              that start together take different seeds, or they begin with the same parameters
    first:    parameters to try before others
    """
    for parameters in first if not study.trials else ():
        study.enqueue_trial(parameters)
    while len(finished(study)) < trials:
        draws = 1_000 * seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=draws, n_startup_trials=8, multivariate=True)
        trial = study.ask(space)
        trial.set_user_attr("process", os.getpid())
        try:
            if not math.isfinite(value := evaluate(trial.params, partial(_report, trial))):
                raise FloatingPointError(f"the value is {value}")
            study.tell(trial, value)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except FloatingPointError as error:
            trial.set_user_attr("error", str(error))
            study.tell(trial, state=TrialState.FAIL)
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
            raise


def _report(trial: optuna.Trial, epoch: int, value: float) -> None:
    trial.report(value, epoch)
    if trial.should_prune():
        raise optuna.TrialPruned


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that are complete, pruned or diverged, in order; not those that were taken up again by another one."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in trials if trial.state != TrialState.FAIL or "error" in trial.user_attrs]


def range_test(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data,
    optimizer: Callable = torch.optim.Adam,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 60,
    batch_size: int = 4,
    seed: int = 0,
) -> tuple[list[float], list[float]]:
    """Learning rate range test (Smith 2017): raise the rate exponentially step by step; rates, and the loss at each.

    Ends early where the loss is no number or four times the lowest so far. Changes the model's weights.
    """
    accelerator = make_accelerator()
    model = to_device(model, accelerator).train()
    updates = accelerator.prepare(optimizer(model.parameters(), lr=lowest))
    rates, losses = [], []
    with same_random_state():
        seed_everything(seed)
        shuffled = RandomSampler(data, replacement=False, num_samples=steps * batch_size)
        for step, batch in enumerate(DataLoader(data, batch_size, sampler=shuffled)):
            images, target = (part.to(accelerator.device) for part in batch)
            rate = updates.param_groups[0]["lr"] = lowest * (highest / lowest) ** (step / (steps - 1))
            value = loss(forward(model, images, accelerator), target)
            if not torch.isfinite(value) or (losses and value.item() > 4 * min(losses)):
                break
            accelerator.backward(value)
            updates.step()
            updates.zero_grad()
            rates.append(rate)
            losses.append(value.item())
    return rates, losses


def steepest(rates: list[float], losses: list[float], smoothing: float = 0.7) -> float:
    """The rate at which the smoothed loss falls fastest per decade: a start for the highest rate of a schedule."""
    smooth = [losses[0]]
    for value in losses[1:]:
        smooth.append(smoothing * smooth[-1] + (1 - smoothing) * value)
    slope = np.gradient(smooth, np.log10(rates))
    return rates[int(np.argmin(slope))]
