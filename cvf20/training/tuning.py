"""Hyper-parameter search with Optuna: one journal file that several processes may work on, and the range test (D8)."""

import functools
import json
import math
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cvf20.training.devices import make_accelerator, same_random_state, seed_everything, to_device
from cvf20.training.validation import forward

optuna.logging.set_verbosity(optuna.logging.ERROR)

Space = dict[str, BaseDistribution]


def open_study(file: Path, space: Space) -> optuna.Study:
    """The study kept in a journal file, made if it is not there; its goal is the highest value.

    Several processes may open the same file; trials of a process of this machine that is gone are queued again. Raises
    ValueError where the file belongs to a search over another space, or is no journal.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    begins = file.read_bytes()[:10] if file.exists() else b""
    if begins not in (b"", b'{"op_code"'):
        raise ValueError(f"{file} is no study: it begins with {begins!r}")
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3)
    options = {"direction": "maximize", "pruner": pruner, "load_if_exists": True}
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(file))), study_name="search", **options
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"{file} is no study: {error}") from error
    described = {name: distribution_to_json(distribution) for name, distribution in space.items()}
    kept = study.user_attrs.get("space", described)
    if kept != described:
        differ = sorted(name for name in kept.keys() | described.keys() if kept.get(name) != described.get(name))
        raise ValueError(f"{file} holds a search over another space; these differ: {', '.join(differ)}")
    study.set_user_attr("space", described)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if not _is_alive(*trial.user_attrs.get("process", ("", 0))):
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

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("process", [socket.gethostname(), os.getpid()])
        parameters = {name: trial._suggest(name, distribution) for name, distribution in space.items()}
        try:
            value = evaluate(parameters, functools.partial(_report, trial))
            if not math.isfinite(value):
                raise FloatingPointError(f"the value is {value}")
        except (optuna.TrialPruned, FloatingPointError) as end:
            trial.set_user_attr("error", str(end))
            raise
        except BaseException:
            study.enqueue_trial(parameters)
            raise
        return value

    for parameters in first if not study.trials else ():
        study.enqueue_trial(parameters)
    while len(finished(study)) < trials:
        draws = 1_000 * seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=draws, n_startup_trials=8, multivariate=True)
        study.optimize(objective, n_trials=1, catch=(FloatingPointError,))


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that are complete, pruned or diverged, in order; not those that were taken up again by another one."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in trials if trial.state != TrialState.FAIL or "error" in trial.user_attrs]


def importance(study: optuna.Study, resamples: int = 30, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Share of each parameter in what separates the better half of the trials, with its standard deviation.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023) on `resamples` bootstrap samples of the complete trials.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 4:
        raise ValueError(f"importance wants at least 4 complete trials, the study has {len(complete)}")
    random, shares = np.random.default_rng(seed), []
    for _ in range(resamples):
        sample = optuna.create_study(direction="maximize")
        sample.add_trials([complete[i] for i in random.integers(len(complete), size=len(complete))])
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
        shares.append(optuna.importance.get_param_importances(sample, evaluator=evaluator))
    columns = {name: [share.get(name, 0.0) for share in shares] for name in complete[0].params}
    return {name: (float(np.mean(values)), float(np.std(values, ddof=1))) for name, values in columns.items()}


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
    rates, losses, batches = [], [], iter(())
    with same_random_state():
        seed_everything(seed)
        for step in range(steps):
            if (batch := next(batches, None)) is None:
                batches = iter(DataLoader(data, batch_size, shuffle=True))
                batch = next(batches)
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


def _report(trial: optuna.Trial, epoch: int, value: float) -> None:
    trial.report(value, epoch)
    if trial.should_prune():
        raise optuna.TrialPruned


def _is_alive(host: str, process: int) -> bool:
    """Whether a process still runs, as far as it can be told here."""
    if host and (host != socket.gethostname() or os.name != "posix"):
        return True
    try:
        return bool(host) and os.kill(process, 0) is None
    except OSError as error:
        return isinstance(error, PermissionError)  # it lives, as another user's
