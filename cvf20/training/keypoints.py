"""Trains the four models of the case study on drawn faces; the segmentation Learner knows masks, these are points."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, RandomSampler

from cvf20.datasets.keypoints import Faces, normalise, to_unit
from cvf20.training import results
from cvf20.training.devices import make_accelerator, same_random_state, seed_everything, to_device
from cvf20.training.outputs import forward
from cvf20.training.runs import cached

PASS_MARK = 100  # of the course's score
RECIPE = {"lr": 3e-3, "batch_size": 32}


def score(mse: float) -> float:
    """The course's score of a mean squared error over coordinates in [-1, 1]; 100 is an RMS error of 3.4 pixels."""
    return 1 / (2 * mse)


def fit_keypoints(model: nn.Module, train: Faces, steps: int = 240, seed: int = 0) -> list[float]:
    """Least squares on the key points for a number of AdamW steps in one cycle of the rate; returns every loss."""
    accelerator, lr, batch_size = make_accelerator(), RECIPE["lr"], RECIPE["batch_size"]
    optimizer = accelerator.prepare(torch.optim.AdamW(to_device(model, accelerator).train().parameters(), lr))
    schedule = OneCycleLR(optimizer.optimizer, lr, total_steps=steps, pct_start=0.1, cycle_momentum=False)
    order = RandomSampler(train, True, steps * batch_size, generator=torch.Generator().manual_seed(seed))
    losses = []
    for images, points in DataLoader(train, batch_size, sampler=order):
        predicted = forward(model, images.to(accelerator.device), accelerator)
        loss = mse_loss(predicted, points.to(accelerator.device))
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
    return losses


@torch.inference_mode()
def predict_keypoints(model: nn.Module, data: Faces) -> Tensor:
    """(N, 30) float32 coordinates in [-1, 1], computed in float32."""
    device = next(model.eval().parameters()).device
    return torch.cat([model(normalise(images).to(device)).cpu() for images in data.images.split(100)])


class CaseStudyRun(NamedTuple):
    """One trained model: its result as written to results/, the loss of every step, and (N, 30) predictions."""

    result: dict
    losses: list[float]
    predicted: Tensor


def run_case_study(
    builder: Callable[[], nn.Module], train: Faces, val: Faces, seed: int = 0, quick: bool = False, steps: int = 240
) -> CaseStudyRun:
    """Train `builder()` under `seed` and write its result, or load both while recipe, data and code are unchanged."""
    name, steps = f"03_case_study_{builder.__name__}", 3 if quick else steps

    def compute() -> dict:
        started = time.perf_counter()
        with same_random_state():
            seed_everything(seed)
            model = builder()
            found = {"losses": fit_keypoints(model, train, steps, seed), "parameters": results.parameters(model)}
        return found | {"seconds": time.perf_counter() - started, "predicted": predict_keypoints(model, val)}

    found = cached(name, compute, seed=seed, quick=quick, silent=True)
    mse = mse_loss(found["predicted"], to_unit(val.keypoints).flatten(1)).item()
    about = {"metrics": {"val": {"score": score(mse), "mse": mse}}, "quick": quick, "seconds": found["seconds"]}
    about |= {"recipe": {"model": builder.__name__, "steps": steps, **RECIPE}, "parameters": found["parameters"]}
    result = results.new_result(name, seed, train, **about)
    results.write_result(result)
    return CaseStudyRun(result, found["losses"], found["predicted"])
