"""The training loop and its validation.

Fast by default: channels_last memory and bf16 autocast where the processor or the GPU has it; losses and metrics in
float32. Device, mixed precision and several processes are HF Accelerate's business.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from cvf20.metrics.semantic import (
    average_precision,
    binary_iou,
    binary_iou_per_image,
    compute_confusion_matrix,
    iou,
    overall_accuracy,
    pixel_accuracy,
)


def has_bf16() -> bool:
    """Whether bfloat16 arithmetic is faster than float32 on this machine's GPU or processor."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))


def make_accelerator(precision: str = "auto") -> Accelerator:
    """precision: "bf16", "fp32", or "auto" for bf16 where the machine has it."""
    if precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f"precision={precision!r}: allowed are 'auto', 'bf16', 'fp32'")
    if precision == "auto":
        precision = "bf16" if has_bf16() else "fp32"
    mixed_precision = "bf16" if precision == "bf16" else "no"
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != mixed_precision:
        AcceleratorState._reset_state()  # one precision at a time, but a process may train several models
    return Accelerator(mixed_precision=mixed_precision)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def train(
    model: nn.Module,
    loss: Callable[..., Tensor | dict[str, Tensor]] | None,
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

    loss:        see `compute_losses`; one with a method set_progress is told the share of training done before each batch
    scheduler:   stepped once per batch
    average:     running mean of the weights, validated in place of the model
    metrics:     see `validate`
    seed:        epoch e draws order, augmentation and dropout from (seed, e), so a run can be taken up at any epoch
    after_epoch: gets {"epoch", "lr", "seconds" of training, "train_loss", "train_<part>" of a loss that has parts,
                 …metrics of validate, "loss"}; training ends when it returns True
    Raises FloatingPointError where the loss is not finite, naming epoch, batch and learning rate.
    """
    for epoch in range(first_epoch, epochs + 1):
        seed_everything(1_000_003 * seed + epoch)
        model.train()
        started = time.perf_counter()
        totals, count = defaultdict(float), 0
        for batch, (images, *target) in enumerate(train_loader, start=1):
            if hasattr(loss, "set_progress"):
                loss.set_progress((epoch - 1 + (batch - 1) / len(train_loader)) / epochs)
            parts = compute_losses(model, loss, images, *target, accelerator=accelerator)
            batch_loss = sum(parts.values())
            if not torch.isfinite(batch_loss):
                raise FloatingPointError(
                    f"loss is {batch_loss.item()} in epoch {epoch}, batch {batch}, at learning rate "
                    f"{optimizer.param_groups[0]['lr']:.3g}: lower the learning rate or clip the gradient"
                )
            accelerator.backward(batch_loss)
            if grad_clip:
                accelerator.clip_grad_norm_(model.parameters(), grad_clip)
            optimizer.step()
            optimizer.zero_grad()
            learning_rate = optimizer.param_groups[0]["lr"]
            if scheduler is not None:
                scheduler.step()
            if average is not None:
                average.update_parameters(accelerator.unwrap_model(model))
            for name, value in {"loss": batch_loss, **(parts if len(parts) > 1 else {})}.items():
                totals[f"train_{name}"] += value.item() * len(images)
            count += len(images)
        means = {name: total / count for name, total in totals.items()}
        row = {"epoch": epoch, "lr": learning_rate, "seconds": time.perf_counter() - started, **means}
        scores = validate(average or model, valid_loader, loss, accelerator=accelerator, metrics=metrics, ranked=False)
        if after_epoch(row | scores):
            break


def compute_losses(
    model: nn.Module,
    loss: Callable[..., Tensor | dict[str, Tensor]] | None,
    images: Tensor,
    *target: Tensor,
    accelerator: Accelerator,
) -> dict[str, Tensor]:
    """The loss of a batch as named parts, whose sum is minimised; {"loss": …} where it has none.

    loss:   called as loss(logits, *target); None for a network that computes its own in training mode, as
            torchvision's detectors do: model(images, *target)
    target: labels, and whatever else the loader gives, e.g. a weight map
    """
    if loss is None:
        with accelerator.autocast():
            value = model(images.contiguous(memory_format=torch.channels_last), *target)
    else:
        value = loss(forward(model, images, accelerator), *target)
    return value if isinstance(value, dict) else {"loss": value}


@torch.inference_mode()
def validate(
    model: nn.Module,
    loader: DataLoader,
    loss: Callable[..., Tensor | dict[str, Tensor]] | None = None,
    *,
    accelerator: Accelerator,
    metrics: Callable[[Tensor, Tensor], dict[str, float]] | None = None,
    ranked: bool = True,
    flips: bool = False,
) -> dict[str, float]:
    """Metrics over all pixels of a split, in eval mode: mIoU, accuracy and mAP, or IoU and IoU_per_image if K = 1.

    loss:    its mean is added as "loss"
    metrics: called once with the logits and labels of all images in place of the above
    ranked:  also compute mAP from the softmax scores, which needs all of them at once
    flips:   average the logits of image and mirrored image

    Scores are taken at the labels' size: where the network sees smaller images, its logits are interpolated.
    """
    model.eval()
    confusion, binary, ranking, everything = 0, [], [], []
    loss_sum = torch.zeros(2, dtype=torch.float64)  # sum over images, number of images
    for images, target, *extra in loader:
        logits = forward(model, images, accelerator, target.shape[-2:], flips)
        if loss is not None:
            value = loss(logits, target, *extra)
            value = sum(value.values()) if isinstance(value, dict) else value
            loss_sum += torch.tensor([float(value) * len(images), len(images)])
        logits, target = accelerator.gather_for_metrics((logits, target))
        scores = probabilities(logits)
        if metrics is not None:
            everything.append((logits, target))
        elif scores.shape[1] == 1:
            binary.append((scores[:, 0] > 0.5, target))
        else:
            confusion = confusion + compute_confusion_matrix(scores.argmax(1), target, scores.shape[1])
            if ranked:
                ranking.append((scores, target))

    if metrics is not None:
        result = metrics(*(torch.cat(parts) for parts in zip(*everything, strict=True)))
    elif binary:
        prediction, target = (torch.cat(parts) for parts in zip(*binary, strict=True))
        result = {
            "IoU": binary_iou(prediction, target),
            "IoU_per_image": binary_iou_per_image(prediction, target),
        }
    else:
        result = {"mIoU": float(iou(confusion).nanmean()), "accuracy": overall_accuracy(confusion)}
        if ranked:
            scores, target = (torch.cat(parts) for parts in zip(*ranking, strict=True))
            result["mAP"] = float(average_precision(scores, target).nanmean())
    if loss is not None:
        total, count = accelerator.reduce(loss_sum.to(accelerator.device, torch.float32)).tolist()
        result["loss"] = total / count
    return result


def forward(
    model: nn.Module, images: Tensor, accelerator: Accelerator, size: Sequence[int] | None = None, flips: bool = False
) -> Tensor:
    """Logits (N, K, H, W) in float32, computed in the accelerator's precision.

    size:  interpolate them to this (H, W), e.g. that of labels which are finer than the network's input
    flips: the mean of the logits of the images and of their mirror images
    """
    with accelerator.autocast():
        logits = model(images.contiguous(memory_format=torch.channels_last)).float()
    if flips:
        logits = (logits + forward(model, images.flip(-1), accelerator).flip(-1)) / 2
    if size is None or logits.shape[2:] == torch.Size(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes, sigmoid where there is one channel."""
    return logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid()


@torch.inference_mode()
def evaluate_model(model: nn.Module, data: Dataset, batch_size: int = 16, precision: str = "auto") -> float:
    """The lecture's score (D3): share of correct pixels among those of an image that are not void, mean over images."""
    accelerator = make_accelerator(precision)
    model = model.to(accelerator.device, memory_format=torch.channels_last).eval()
    per_image = []
    for images, target in DataLoader(data, batch_size):
        prediction = forward(model, images.to(accelerator.device), accelerator, target.shape[-2:]).argmax(1)
        target = target.to(prediction.device)
        per_image += [pixel_accuracy(p, t) for p, t in zip(prediction[:, None], target[:, None], strict=True)]
    return float(np.nanmean(per_image))
