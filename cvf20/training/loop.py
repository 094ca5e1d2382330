"""The training loop. Fast by default: channels_last memory, and half precision where processor or GPU has it."""

import time
from collections import defaultdict
from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from cvf20.models.weights import unwrap
from cvf20.training.devices import has_bf16, make_accelerator, seed_everything, share_statistics
from cvf20.training.validation import Loss, channels_last, evaluate_model, forward, probabilities, validate

__all__ = ["evaluate_model", "forward", "has_bf16", "make_accelerator", "probabilities", "seed_everything"]
__all__ += ["compute_losses", "train", "validate"]


def train(
    model: nn.Module,
    loss: Loss,
    train_loader: DataLoader,
    valid_loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    accelerator: Accelerator,
    scheduler=None,
    average: AveragedModel | None = None,
    grad_clip: float | None = None,
    metrics: Callable[[Tensor, Tensor], dict[str, float]] | None = None,
    seed: int = 0,
    first_epoch: int = 1,
    after_epoch: Callable[[dict], bool | None] = lambda row: None,
) -> None:
    """Train for `epochs` epochs; after each one validate and hand a row of numbers to `after_epoch`.

    loss, metrics: see `compute_losses`, `validate`; set_progress(share of training done) of a loss is called per batch
    scheduler:   stepped once per batch
    average:     running mean of the weights, validated in place of the model
    seed:        epoch e draws order, augmentation and dropout from (seed, e), so a run can be taken up at any epoch;
                 of several processes each draws its own
    after_epoch: gets epoch, lr, seconds, train_loss, train_<part> of its parts, and what `validate` gives; training
                 ends when it returns True
    Raises FloatingPointError where the loss is not finite, naming epoch, batch and learning rate.
    """
    for epoch in range(first_epoch, epochs + 1):
        seed_everything(1_000_003 * seed + epoch + 499_979 * accelerator.process_index)
        if set_epoch := getattr(getattr(train_loader, "sampler", None), "set_epoch", None):
            set_epoch(epoch)
        options = {"accelerator": accelerator, "scheduler": scheduler, "average": average, "grad_clip": grad_clip}
        row = {"epoch": epoch} | _train_epoch(model, loss, train_loader, optimizer, epoch, epochs, **options)
        judged = average.module if average is not None else model
        share_statistics(judged, accelerator)
        scores = validate(judged, valid_loader, loss, accelerator=accelerator, metrics=metrics, ranked=False)
        if after_epoch(row | scores):
            break


def _train_epoch(
    model, loss: Loss, loader, optimizer, epoch: int, epochs: int, *, accelerator, scheduler, average, grad_clip
) -> dict[str, float]:
    model.train()
    started, totals, count = time.perf_counter(), defaultdict(float), 0
    for batch, (images, *target) in enumerate(loader, start=1):
        if hasattr(loss, "set_progress"):
            loss.set_progress((epoch - 1 + (batch - 1) / len(loader)) / epochs)
        images, *target = send_to_device([images, *target], accelerator.device)
        parts = compute_losses(model, loss, images, *target, accelerator=accelerator)
        batch_loss, rate = sum(parts.values()), optimizer.param_groups[0]["lr"]
        if not torch.isfinite(batch_loss):
            where = f"epoch {epoch}, batch {batch}, at learning rate {rate:.3g}"
            raise FloatingPointError(f"loss is {batch_loss.item()} in {where}: lower the rate or clip the gradient")
        accelerator.backward(batch_loss)
        if grad_clip:
            accelerator.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        if scheduler is not None and not accelerator.optimizer_step_was_skipped:  # gradients of fp16 may overflow
            scheduler.step()
        if average is not None:
            average.update_parameters(unwrap(model))
        count += len(images)
        for name, value in _named(batch_loss, parts).items():
            totals[name] += value.item() * len(images)
    means = {name: total / count for name, total in totals.items()}
    return {"lr": rate, "seconds": time.perf_counter() - started, **means}


def _named(total: Tensor, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Columns of the curves; a part that is called "loss" is not the loss."""
    named = {"train_loss_part" if name == "loss" else f"train_{name}": value for name, value in parts.items()}
    return {"train_loss": total} | (named if len(parts) > 1 else {})


def compute_losses(
    model: nn.Module, loss: Loss, images: Tensor, *target: Tensor, accelerator: Accelerator
) -> dict[str, Tensor]:
    """The loss of a batch as named parts, whose sum is minimised; {"loss": …} where it has none.

    loss:   called as loss(logits, *target); None for a network that computes its own in training mode, as
            torchvision's detectors do: model(images, *target)
    target: labels, and whatever else the loader gives, e.g. a weight map
    """
    if loss is None:
        with accelerator.autocast():
            value = model(channels_last(images), *target)
    else:
        value = loss(forward(model, images, accelerator), *target)
    return value if isinstance(value, dict) else {"loss": value}
