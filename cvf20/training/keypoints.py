"""Trains the four models of the case study on drawn faces; the segmentation Learner knows masks, these are points."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from cvf20.datasets.keypoints import Faces, normalise, to_unit
from cvf20.training import results
from cvf20.training.devices import make_accelerator, same_random_state, seed_everything
from cvf20.training.runs import cached

PASS_MARK = 100  # of the course's score


def score(mse: float) -> float:
    """The course's score of a mean squared error over coordinates in [-1, 1]; 100 is an RMS error of 3.4 pixels."""
    return 1 / (2 * mse)


def fit_keypoints(
    model: nn.Module, train: Faces, *, steps: int = 240, lr: float = 3e-3, batch_size: int = 32, seed: int = 0
) -> list[float]:
    """Least squares on the key points for a fixed number of AdamW steps (short warm-up, cosine); returns every loss."""
    accelerator = make_accelerator()
    model.to(accelerator.device, memory_format=torch.channels_last).train()
    optimizer = accelerator.prepare(torch.optim.AdamW(model.parameters(), lr))
    warm_up = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer.optimizer, lambda step: min((step + 1) / warm_up, (1 + math.cos(math.pi * step / steps)) / 2)
    )
    order = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        picked = torch.randint(len(train), (batch_size,), generator=order)
        with accelerator.autocast():
            predicted = model(normalise(train.images[picked]).to(accelerator.device))
        loss = mse_loss(predicted.float(), to_unit(train.keypoints[picked]).flatten(1).to(accelerator.device))
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


@torch.inference_mode()
def predict_keypoints(model: nn.Module, data: Faces) -> Tensor:
    """(N, 30) float32 coordinates in [-1, 1], computed in float32."""
    device = next(model.parameters()).device
    model.eval()
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
    recipe = {"model": builder.__name__, "steps": 3 if quick else steps, "lr": 3e-3, "batch_size": 32}
    name = f"03_case_study_{builder.__name__}"
    found = cached(name, _train_and_predict, builder, train, val, recipe, seed, seed=seed, quick=quick, silent=True)
    mse = mse_loss(found["predicted"], to_unit(val.keypoints).flatten(1)).item()
    about = {name: found[name] for name in ("seconds", "parameters", "device", "versions")}
    metrics = {"val": {"score": score(mse), "mse": mse}}
    result = results.new_result(name, seed, train, metrics=metrics, recipe=recipe, quick=quick, **about)
    results.write_result(result)
    return CaseStudyRun(result, found["losses"], found["predicted"])


def _train_and_predict(builder: Callable[[], nn.Module], train: Faces, val: Faces, recipe: dict, seed: int) -> dict:
    started = time.perf_counter()
    with same_random_state():
        seed_everything(seed)
        model = builder()
        options = {name: recipe[name] for name in ("steps", "lr", "batch_size")}
        losses = fit_keypoints(model, train, seed=seed, **options)
    return {
        "losses": losses,
        "seconds": time.perf_counter() - started,
        "predicted": predict_keypoints(model, val),
        "parameters": results.parameters(model),
        "device": next(model.parameters()).device.type,
        "versions": {"torch": torch.__version__},
    }
