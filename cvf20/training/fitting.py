"""Trains the network of a Learner, epoch by epoch, so that it can be stopped anywhere and taken up again."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial

import accelerate
import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Dataset
from torch.utils.tensorboard import SummaryWriter

from cvf20.labels import VOID
from cvf20.models.spec import spec_of
from cvf20.models.weights import read_state, unwrap
from cvf20.training import results
from cvf20.training.devices import to_device, training_loader
from cvf20.training.loop import train, validate
from cvf20.training.network import load_state, state_of
from cvf20.training.outputs import forward, labels_of, probabilities


def check(run) -> None:
    """What would end a run after its first epoch is an error before its first step."""
    network, batch = to_device(run.network.built, run.accelerator), next(iter(run.loader(run.valid_data)))
    row = validate(network, [batch], accelerator=run.accelerator, metrics=run.metrics, ranked=False)
    run.settings.choose(row | {"train_loss": 0} | ({"loss": 0} if run.loss else {}), None)
    if any(not 0 <= index < len(run.valid_data) for index in run.snapshots):
        raise ValueError(f"snapshots={run.snapshots}: valid_data has {len(run.valid_data)} images")
    for data in (run.train_data, run.valid_data):
        if all(labels <= {0, VOID} for labels in _labels(data)) and any(VOID in labels for labels in _labels(data)):
            raise ValueError("the masks hold 0 and 255 only, and 255 is void: map them to 0 and 1, e.g. mask // 255")


def _labels(data: Dataset) -> Iterator[set]:
    """What the mask of each item holds."""
    return (set(data[index][1].unique().tolist()) for index in range(len(data)))


def train_network(run, on_row: Callable[[dict], None]) -> None:
    """Train from the beginning, or from where an earlier process was stopped; leaves a finished run in its folder."""
    check(run)
    settings, folder, accelerator = run.settings, run.folder, run.accelerator
    folder.mkdir(parents=True, exist_ok=True)
    network, average = to_device(run.network.built, accelerator), None
    plain = unwrap(network)
    if settings.average:
        average = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(settings.average), use_buffers=True)
    loader = training_loader(run.looked_at(run.train_data), settings.batch_size, run.seed, accelerator)
    optimizer = accelerator.prepare(settings.make_optimizer(plain))
    scheduler = settings.make_schedule(optimizer.optimizer, settings.epochs * len(loader))
    parts = {"model": plain, "optimizer": optimizer, "scheduler": scheduler, "average": average}
    parts = {key: part for key, part in (parts | {"scaler": accelerator.scaler}).items() if part is not None}
    state = {"rows": [], "best_epoch": 0, "best": None, "seconds": 0.0}
    if (folder / "last.pt").exists():  # what an earlier process left
        saved = torch.load(folder / "last.pt", weights_only=True, map_location=accelerator.device.type)
        state = saved["state"]
        for key, part in parts.items():
            part.load_state_dict(saved[key])
    for row in state["rows"]:
        on_row(row)
    started, first = time.perf_counter() - state["seconds"], len(state["rows"]) + 1
    writer = SummaryWriter(folder / "events", purge_step=first) if accelerator.is_main_process else None

    def after_epoch(row: dict) -> None:
        state["rows"].append(row)
        if (value := settings.choose(row, state["best"])) is not None:
            state.update(best=value, best_epoch=row["epoch"])
        state["seconds"] = time.perf_counter() - started
        if writer is not None:
            write_epoch(run, row, plain if average is None else average.module, state["best_epoch"], writer)
            saved = {key: part.state_dict() for key, part in parts.items()} | {"state": state}
            results.replace(folder / "last.pt", partial(torch.save, saved))
        on_row(row)

    if accelerator.num_processes > 1:
        network = DistributedDataParallel(network, [accelerator.device] if accelerator.device.type == "cuda" else None)
    options, valid_loader = {"accelerator": accelerator, "metrics": run.metrics}, run.loader(run.valid_data)
    step = {"scheduler": scheduler, "average": average, "grad_clip": settings.grad_clip, "seed": run.seed}
    progress = {"first_epoch": first, "after_epoch": after_epoch}
    train(network, run.loss, loader, valid_loader, optimizer, settings.epochs, **step, **progress, **options)
    accelerator.wait_for_everyone()
    load_state(plain, read_state(folder / "best.pt"))
    scores = validate(plain, valid_loader, **options)
    if writer is not None:
        writer.close()
        finish(run, state, scores)
    accelerator.wait_for_everyone()


@torch.inference_mode()
def write_epoch(run, row: dict, model: nn.Module, best_epoch: int, writer: SummaryWriter) -> None:
    """Scalars, the weights if they are the best, and predictions of the images that are to be shown."""
    for key, value in row.items():
        writer.add_scalar(key, value, epoch := row["epoch"])
    if epoch == best_epoch:
        results.replace(run.folder / "best.pt", partial(torch.save, state_of(model)))
    for index in run.snapshots if epoch in run.snapshot_epochs else ():
        image, mask, *_ = run.valid_data[index]
        outputs = forward(model.eval(), image[None].to(run.accelerator.device), run.accelerator, mask.shape[-2:])
        labels = labels_of(probabilities(outputs, model))[0].byte().cpu().numpy()
        (run.folder / "result").mkdir(exist_ok=True)
        Image.fromarray(labels).save(run.folder / "result" / f"epoch{epoch:03d}_{index:04d}.png")
        if (palette := getattr(run.valid_data, "palette", None)) is not None:
            writer.add_image(f"prediction/{index}", np.asarray(palette)[labels], epoch, dataformats="HWC")


def finish(run, state: dict, scores: dict) -> None:
    """Write the result of a run, from which on it counts as finished."""
    results.write_curves(state["rows"], run.folder / "result.csv")
    network, precision = unwrap(run.network.built), run.accelerator.mixed_precision
    about = {
        "metrics": {"val": scores},
        "recipe": {"model": type(network).__name__} | run.recipe,
        "seconds": state["seconds"],
        "quick": run.quick,
        "key": run.key,
        "best_epoch": state["best_epoch"],
        "network": spec_of(network),
        "parameters": results.parameters(network),
        "trainable": results.parameters(network, trained=True),
        "device": run.accelerator.device.type,
        "processes": run.accelerator.num_processes,
        "precision": "fp32" if precision == "no" else precision,
        "versions": {library.__name__: library.__version__ for library in (torch, torchvision, accelerate)},
    }
    result = results.plain(results.new_result(run.name, run.seed, run.train_data, **about))
    results.write_text(run.folder / "result.json", json.dumps(result, indent=1))
    (run.folder / "last.pt").unlink()
