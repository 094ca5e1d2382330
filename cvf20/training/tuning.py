"""Hyper-parameter search with Optuna, and the learning rate range test (D8)."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from cvf20.training.devices import make_accelerator, to_device
from cvf20.training.outputs import forward

optuna.logging.set_verbosity(optuna.logging.ERROR)


def search(
    space: dict[str, BaseDistribution],
    evaluate: Callable[[dict, Callable[[int, float], None]], float],
    trials: int,
    seed: int = 0,
    first: Iterable[dict] = (),
    storage: Path | None = None,
) -> optuna.Study:
    """Look for the parameters of the highest value; the study's `trials` are complete, pruned or failed (diverged).

    evaluate: (parameters, report) → value; it calls report(epoch, value) after every epoch, which ends the trial there
              when it is worse than the median of the others. A FloatingPointError, as `train` raises it when the
              loss is no number, or a value that is nan counts as a failed trial, and the search goes on.
    first:    parameters to try before others
    storage:  a file by which several searches share one study, until it has so many `trials` that ended; one of a
              process that is gone does not count. Not for processes of one launch, which train each trial together
    The same seed and values give the same trials. So a search that was stopped is resumed by calling it again, where
    `evaluate` trains with a Learner: finished trials are loaded, and the last one goes on where it was.
    """
    seed, place = (None, JournalStorage(JournalFileBackend(str(storage)))) if storage else (seed, None)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=8, multivariate=True)
    pruner = optuna.pruners.MedianPruner(4, n_warmup_steps=3)
    options = {"sampler": sampler, "pruner": pruner, "storage": place, "study_name": "search", "load_if_exists": True}
    study = optuna.create_study(direction="maximize", **options)
    for parameters in first:
        study.enqueue_trial(parameters, skip_if_exists=True)
    while sum(trial.state.is_finished() for trial in study.trials) < trials:
        trial = study.ask(space)
        try:
            study.tell(trial, evaluate(trial.params, partial(_report, trial)))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except FloatingPointError:
            study.tell(trial, state=TrialState.FAIL)
    return study


def _report(trial: optuna.Trial, epoch: int, value: float) -> None:
    trial.report(value, epoch)
    if trial.should_prune():
        raise optuna.TrialPruned


def range_test(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data,
    optimizer: Callable = torch.optim.Adam,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 60,
) -> tuple[list[float], list[float]]:
    """Learning rate range test (Smith 2017): raise the rate exponentially step by step; rates, and the loss at each.

    Ends early where the loss is no number or four times the lowest so far. Batches of four; changes the weights.
    """
    accelerator = make_accelerator()
    model = to_device(model, accelerator).train()
    updates = accelerator.prepare(optimizer(model.parameters(), lr=lowest))
    batches = DataLoader(data, 4, sampler=RandomSampler(data, num_samples=4 * steps))
    rates, losses = [], []
    for rate, batch in zip(np.geomspace(lowest, highest, steps).tolist(), batches, strict=True):
        images, target = (part.to(accelerator.device) for part in batch)
        updates.param_groups[0]["lr"] = rate
        value = loss(forward(model, images, accelerator), target)
        if not torch.isfinite(value) or value.item() > 4 * min(losses, default=torch.inf):
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
