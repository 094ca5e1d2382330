"""Trains the four models of the case study on drawn faces; the segmentation Learner knows masks, these are points."""

import json
import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from cvf20.datasets.keypoints import Faces, normalise, to_unit
from cvf20.paths import runs_dir
from cvf20.training import results
from cvf20.training.fingerprint import fingerprint
from cvf20.training.loop import make_accelerator, seed_everything

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
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    warm_up = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, (1 + math.cos(math.pi * step / steps)) / 2)
    )
    order = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        picked = torch.randint(len(train), (batch_size,), generator=order)
        with accelerator.autocast():
            predicted = model(normalise(train.images[picked]).to(accelerator.device))
        loss = mse_loss(predicted.float(), to_unit(train.keypoints[picked]).flatten(1).to(accelerator.device))
        optimizer.zero_grad()
        loss.backward()
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


@dataclass
class CaseStudyRun:
    """One trained model: its result as written to results/, and the loss of every step."""

    model: nn.Module
    result: dict
    losses: list[float]


def run_case_study(
    builder: type[nn.Module], train: Faces, val: Faces, seed: int = 0, quick: bool = False, steps: int = 240
) -> CaseStudyRun:
    """Train `builder()` under `seed` and write its result, or load the run if recipe, data and code are unchanged."""
    recipe = {"model": builder.__name__, "steps": 3 if quick else steps, "lr": 3e-3, "batch_size": 32}
    data = [train.sha256, val.sha256]
    name = f"03_case_study_{builder.__name__}"
    digest = fingerprint({**recipe, "seed": seed, "data": data, "quick": quick}, [builder, fit_keypoints, Faces])
    file = runs_dir() / f"{name}-seed{seed}-{digest[:12]}.pt"
    seed_everything(seed)
    model = builder()
    if file.exists():
        saved = torch.load(file, weights_only=True)
        model.load_state_dict(saved["weights"])
        result, losses = json.loads(saved["result"]), saved["losses"]
    else:
        started = time.perf_counter()
        options = {key: recipe[key] for key in ("steps", "lr", "batch_size")}
        losses = fit_keypoints(model, train, seed=seed, **options)
        seconds = time.perf_counter() - started
        mse = mse_loss(predict_keypoints(model, val), to_unit(val.keypoints).flatten(1)).item()
        result = results.new_result(
            name,
            seed,
            train,
            metrics={"val": {"score": score(mse), "mse": mse}},
            recipe=recipe,
            seconds=seconds,
            quick=quick,
            parameters=results.parameters(model),
            device=next(model.parameters()).device.type,
            versions={"torch": torch.__version__},
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".tmp")
        torch.save({"weights": model.cpu().state_dict(), "result": json.dumps(result), "losses": losses}, partial)
        partial.replace(file)
    results.write_result(result)
    return CaseStudyRun(model, result, losses)
