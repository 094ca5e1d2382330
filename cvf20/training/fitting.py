"""Trains the network of a Learner, epoch by epoch, so that it can be stopped anywhere and taken up again."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import accelerate
import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from cvf20.models.spec import spec_of
from cvf20.models.weights import read_state, unwrap
from cvf20.training import results
from cvf20.training.devices import seed_everything, to_device, training_loader
from cvf20.training.loop import train
from cvf20.training.network import load_state, state_of
from cvf20.training.validation import checked, forward, validate


def check(run) -> None:
    """What would end a run after its first epoch is an error before its first step."""
    images, target, *_ = next(iter(run.loader(run.valid_data)))
    network = to_device(run.network.built, run.accelerator).eval()
    with torch.inference_mode():
        images = images.to(run.accelerator.device)
        outputs = forward(network, images, run.accelerator, target.shape[2 - images.ndim :]).cpu()
    is_binary = outputs.shape[1] == 1
    names = (
        checked(run.metrics(outputs, target))
        if run.metrics
        else ("IoU", "IoU_per_image")
        if is_binary
        else ("mIoU", "accuracy")
    )
    monitored({**dict.fromkeys(names), "train_loss": 0, **({"loss": 0} if run.loss else {})}, run.settings.monitor)
    if any(not 0 <= index < len(run.valid_data) for index in run.snapshots):
        raise ValueError(f"snapshots={run.snapshots}: valid_data has {len(run.valid_data)} images")
    for data in (run.train_data, run.valid_data) if is_binary else ():
        masks = getattr(data, "masks", None) or (data[index][1] for index in range(min(64, len(data))))
        found = set()
        for mask in masks:
            if (found := found | set(torch.as_tensor(mask).unique().tolist())) - {0, 255}:
                break
        if found == {0, 255}:
            raise ValueError(
                "the masks hold 0 and 255 only, and 255 is void: map them to 0 and 1 first, e.g. mask // 255"
            )


def monitored(row: dict, monitor: str | None) -> str:
    """The name of the number that chooses the best epoch."""
    name = monitor or next((name for name in ("mIoU", "IoU") if name in row), None)
    if name not in row:
        raise ValueError(f"monitor={monitor!r}: expected one of {', '.join(row)}")
    return name


def train_network(run, on_row: Callable[[dict], None]) -> None:
    """Train from the beginning, or from where an earlier process was stopped; leaves a finished run in its folder."""
    settings, folder, accelerator = run.settings, run.folder, run.accelerator
    folder.mkdir(parents=True, exist_ok=True)
    seed_everything(run.seed)
    network = to_device(run.network.change(), accelerator)
    plain, average = unwrap(network), None
    if settings.average:
        average = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(settings.average), use_buffers=True)
    loader = training_loader(run.looked_at(run.train_data), settings.batch_size, run.seed, accelerator)
    optimizer = accelerator.prepare(settings.make_optimizer(plain))
    steps = settings.epochs * len(loader)
    scheduler = LambdaLR(optimizer.optimizer, lambda step: settings.rate(step, steps))
    parts = {"model": plain, "optimizer": optimizer, "scheduler": scheduler}
    parts |= {"average": average, "scaler": accelerator.scaler}
    parts = {key: part for key, part in parts.items() if part is not None}
    state = _resumed(folder / "last.pt", parts, accelerator.device)
    for row in state["rows"]:
        on_row(row)
    writer = None  # of several processes the first one writes
    if accelerator.is_main_process:
        writer = SummaryWriter(folder / "events", purge_step=len(state["rows"]) + 1)
    kept = average.module if average is not None else plain
    started = time.perf_counter() - state["seconds"]

    def after_epoch(row: dict) -> None:
        state["rows"].append(row)
        name = monitored(row, settings.monitor)
        if settings.better(name, row[name], state["best"]):
            state.update(best=row[name], best_epoch=row["epoch"])
        state["seconds"] = time.perf_counter() - started
        if writer is not None:
            _write_epoch(run, row, kept, state["best_epoch"], writer)
            save({key: part.state_dict() for key, part in parts.items()} | {"state": state}, folder / "last.pt")
        on_row(row)

    if accelerator.num_processes > 1:
        network = DistributedDataParallel(network, [accelerator.device] if accelerator.device.type == "cuda" else None)
    options = {"accelerator": accelerator, "scheduler": scheduler, "average": average, "metrics": run.metrics}
    options |= {"grad_clip": settings.grad_clip, "seed": run.seed, "first_epoch": len(state["rows"]) + 1}
    valid_loader = run.loader(run.valid_data)
    train(network, run.loss, loader, valid_loader, optimizer, settings.epochs, after_epoch=after_epoch, **options)
    accelerator.wait_for_everyone()
    load_state(plain, read_state(folder / "best.pt"))
    scores = validate(network, valid_loader, accelerator=accelerator, metrics=run.metrics)
    if writer is not None:
        writer.close()
        finish(run, state, scores)
    accelerator.wait_for_everyone()


def _resumed(file: Path, parts: dict, device: torch.device) -> dict:
    """Fill the parts with what an earlier process left, and return how far it came."""
    if not file.exists():
        return {"rows": [], "best_epoch": 0, "best": None, "seconds": 0.0}
    saved = torch.load(file, weights_only=True, map_location=device)
    for key, part in parts.items():
        part.load_state_dict(saved[key])
    return saved["state"]


def finish(run, state: dict, scores: dict) -> None:
    """Write the result of a run, from which on it counts as finished."""
    results.write_curves(state["rows"], run.folder / "curves.csv")
    network, precision = unwrap(run.network.built), run.accelerator.mixed_precision
    about = {"key": run.key, "best_epoch": state["best_epoch"], "seconds": state["seconds"], "recipe": run.recipe}
    about |= {"network": spec_of(network), "device": run.accelerator.device.type, "threads": torch.get_num_threads()}
    about |= {"precision": "fp32" if precision == "no" else precision, "parameters": results.parameters(network)}
    about |= {"trainable": results.parameters(network, trained=True), "metrics": {"val": scores}, "quick": run.quick}
    about["versions"] = {library.__name__: library.__version__ for library in (torch, torchvision, accelerate)}
    result = results.new_result(run.name, run.seed, run.train_data, **about)
    results.write_text(run.folder / "result.json", json.dumps(results.plain(result), indent=1))
    (run.folder / "last.pt").unlink()


@torch.inference_mode()
def _write_epoch(run, row: dict, model: nn.Module, best_epoch: int, writer: SummaryWriter) -> None:
    """Scalars, the weights if they are the best, and predictions of the images that are to be shown."""
    epoch = row["epoch"]
    for key, value in row.items():
        writer.add_scalar(key, value, epoch)
    if epoch == best_epoch:
        save(state_of(model), run.folder / "best.pt")
    for index in run.snapshots if epoch in run.snapshot_epochs else ():
        image, mask, *_ = run.valid_data[index]
        images = image[None].to(run.accelerator.device)
        scores = forward(model.eval(), images, run.accelerator, mask.shape[-2:])[0].cpu()
        labels = (scores[0] > 0 if len(scores) == 1 else scores.argmax(0)).to(torch.uint8).numpy()
        (run.folder / "predictions").mkdir(exist_ok=True)
        Image.fromarray(labels).save(run.folder / "predictions" / f"epoch{epoch:03d}_{index:04d}.png")
        if (palette := getattr(run.valid_data, "palette", None)) is not None:
            writer.add_image(f"prediction/{index}", np.asarray(palette)[labels], epoch, dataformats="HWC")


def save(value: dict, path: Path) -> None:
    """torch.save that leaves the previous file whole when killed."""
    temporary = path.with_suffix(".tmp")
    torch.save(value, temporary)
    temporary.replace(path)
