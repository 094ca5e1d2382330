"""The training loop from top to bottom: epochs, steps, validation.

Networks compute in the accelerator's precision and in channels_last memory, losses and metrics in float32, what needs
float64 on the CPU.
"""

import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, send_to_device
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from cvf20.labels import VOID
from cvf20.metrics import (
    average_precision,
    binary_iou,
    binary_iou_per_image,
    compute_confusion_matrix,
    iou,
    overall_accuracy,
)
from cvf20.models.weights import unwrap
from cvf20.training.devices import has_bf16, make_accelerator, seed_everything
from cvf20.training.outputs import evaluate_model, forward, labels_of, probabilities

__all__ = ["evaluate_model", "forward", "has_bf16", "make_accelerator", "probabilities", "seed_everything"]
__all__ += ["train", "validate"]

Loss = Callable[..., Tensor | dict[str, Tensor]] | None


def train(
    model: nn.Module,
    loss: Loss,
    train_loader: DataLoader,
    valid_loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    average: AveragedModel | None = None,
    metrics: Callable[[Tensor, Tensor], dict[str, float]] | None = None,
    seed: int = 0,
    first_epoch: int = 1,
    after_epoch: Callable[[dict], None] = lambda row: None,
    accelerator: Accelerator,
    **step,
) -> None:
    """Train for `epochs` epochs; after each one validate and hand a row of numbers to `after_epoch`.

    loss:        (logits, *what the loader gives beside the images) → scalar, or a dict of parts, whose sum is minimised;
                 None for a network that computes its own in training mode, as torchvision's detectors do
    average:     running mean of the weights, validated in place of the model
    metrics:     see `validate`
    seed:        epoch e draws order, augmentation and dropout from (seed, e), so a run can be taken up at any epoch;
                 of several processes each draws its own
    after_epoch: gets epoch, lr, seconds, train_loss, train_<part> of its parts, and what `validate` gives
    step:        scheduler, stepped once per batch, and grad_clip, the largest norm of the gradient
    """
    for epoch in range(first_epoch, epochs + 1):
        seed_everything(1_000_003 * seed + epoch + 499_979 * accelerator.process_index)
        if hasattr(train_loader.sampler, "set_epoch"):
            train_loader.sampler.set_epoch(epoch)
        options = {"average": average, "accelerator": accelerator, **step}
        row = {"epoch": epoch} | _train_epoch(model, loss, train_loader, optimizer, epoch, epochs, **options)
        judged = unwrap(model if average is None else average)
        broadcast(list(judged.buffers()))  # statistics of batch norm: each process has seen its own images
        after_epoch(row | validate(judged, valid_loader, loss, accelerator=accelerator, metrics=metrics, ranked=False))


def _train_epoch(
    model, loss, loader, optimizer, epoch, epochs, *, accelerator, average, scheduler=None, grad_clip=None
) -> dict[str, float]:
    """One pass over the data; a loss's set_progress is told the share of training done.

    Raises FloatingPointError where the loss is not finite, naming epoch, batch and learning rate.
    """
    model.train()
    started, totals, count = time.perf_counter(), defaultdict(float), 0
    for batch, (images, *target) in enumerate(loader):
        if hasattr(loss, "set_progress"):
            loss.set_progress((epoch - 1 + batch / len(loader)) / epochs)
        images, *target = send_to_device([images, *target], accelerator.device)
        if loss is None:
            with accelerator.autocast():
                value = model(images, *target)
        else:
            value = loss(forward(model, images, accelerator), *target)
        parts = value if isinstance(value, dict) else {}
        value, rate = sum(parts.values()) if parts else value, optimizer.param_groups[0]["lr"]
        told = {f"train_{'loss_part' if name == 'loss' else name}": part for name, part in parts.items()}
        told = {name: part.detach() for name, part in {"train_loss": value, **told}.items()}
        told = accelerator.reduce(told, "mean")  # over the processes: all end where one diverges
        if not torch.isfinite(told["train_loss"]):
            where = f"epoch {epoch}, batch {batch + 1}, at learning rate {rate:.3g}"
            raise FloatingPointError(f"loss is {told['train_loss']} in {where}: lower the rate or clip the gradient")
        accelerator.backward(value)
        if grad_clip:
            accelerator.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        if scheduler is not None and not accelerator.optimizer_step_was_skipped:  # gradients of fp16 may overflow
            scheduler.step()
        if average is not None:
            average.update_parameters(unwrap(model))
        count += len(images)
        for name, part in told.items():
            totals[name] += part.item() * len(images)
    means = {name: total / count for name, total in totals.items()}
    return {"lr": rate, "seconds": time.perf_counter() - started, **means}


@torch.inference_mode()
def validate(
    model: nn.Module,
    loader: DataLoader,
    loss: Loss = None,
    *,
    accelerator: Accelerator,
    metrics: Callable[[Tensor, Tensor], dict[str, float]] | None = None,
    ranked: bool = True,
) -> dict[str, float]:
    """Metrics over all pixels of a split, in eval mode: mIoU, accuracy and mAP, or IoU and IoU_per_image if K = 1.

    loss:    its mean over the images is added as "loss"
    metrics: called once with the logits and labels of all images in place of the above, on the CPU
    ranked:  also compute mAP from the scores, which needs all of them at once
    Scores are taken at the labels' size. Where label maps differ in size (one per batch), void fills up the smaller.
    Of several processes each judges all images, so that every number is that of a single process.
    """
    model.eval()
    all_outputs, all_targets, losses = [], [], []
    for images, target, *extra in loader:
        images, target, *extra = send_to_device([images, target, *extra], accelerator.device)
        outputs = forward(model, images, accelerator, target.shape[2 - images.ndim :])
        if loss is not None:
            value = loss(outputs, target, *extra)
            losses += [float(sum(value.values()) if isinstance(value, dict) else value)] * len(images)
        all_outputs.append((probabilities(outputs, model) if metrics is None else outputs).cpu())
        all_targets.append(target.cpu())
    outputs, target = _together(all_outputs, 0), _together(all_targets, VOID)
    if metrics is not None:
        result = dict(metrics(outputs, target))
    elif outputs.shape[1] == 1:
        labels = labels_of(outputs)
        result = {"IoU": binary_iou(labels, target), "IoU_per_image": binary_iou_per_image(labels, target)}
    else:
        confusion = compute_confusion_matrix(labels_of(outputs), target, outputs.shape[1])
        result = {"mIoU": iou(confusion).nanmean(), "accuracy": overall_accuracy(confusion)}
        if ranked:
            result["mAP"] = average_precision(outputs, target).nanmean()
    if loss is not None:
        result["loss"] = np.mean(losses)
    return {str(name): float(value) for name, value in result.items()}


def _together(parts: list[Tensor], fill: int) -> Tensor:
    """All images in one tensor; smaller ones are padded at their ends."""
    largest = [max(sizes) for sizes in zip(*(part.shape for part in parts), strict=True)]
    padded = []
    for part in parts:
        missing = [most - size for most, size in zip(largest[1:], part.shape[1:], strict=True)]
        padded.append(F.pad(part, [n for more in reversed(missing) for n in (0, more)], value=fill))
    return torch.cat(padded)
