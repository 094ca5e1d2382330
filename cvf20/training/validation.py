"""What a network is worth: its outputs for a split of a data set, and the metrics over them.

Networks compute in the accelerator's precision, losses and metrics in float32, what needs float64 on the CPU.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from cvf20.labels import VOID
from cvf20.metrics.semantic import (
    average_precision,
    binary_iou,
    binary_iou_per_image,
    compute_confusion_matrix,
    iou,
    overall_accuracy,
    pixel_accuracy,
)
from cvf20.models.weights import unwrap
from cvf20.training.devices import make_accelerator, own_batches, to_device

Loss = Callable[..., Tensor | dict[str, Tensor]] | None


@torch.inference_mode()
def validate(
    model: nn.Module,
    loader: DataLoader,
    loss: Loss = None,
    *,
    accelerator: Accelerator,
    metrics: Callable[[Tensor, Tensor], dict[str, float]] | None = None,
    ranked: bool = True,
    flips: bool = False,
) -> dict[str, float]:
    """Metrics over all pixels of a split, in eval mode: mIoU, accuracy and mAP, or IoU and IoU_per_image if K = 1.

    loss:    its mean over the images is added as "loss"
    metrics: called once with the logits and labels of all images in place of the above, on the CPU
    ranked:  also compute mAP from the scores, which needs all of them at once
    flips:   average the outputs of image and mirrored image
    Scores are taken at the labels' size. Where label maps differ in size (one per batch), void fills up the smaller.
    """
    model = getattr(model, "module", model) if type(model) in (AveragedModel, DistributedDataParallel) else model
    model.eval()
    confusion, kept, losses = 0, [], []
    for batch in own_batches(loader, accelerator):
        images, target, *extra = send_to_device(list(batch), accelerator.device)
        outputs = forward(model, images, accelerator, target.shape[2 - images.ndim :], flips)
        if loss is not None:
            value = loss(outputs, target, *extra)
            losses += [float(sum(value.values()) if isinstance(value, dict) else value)] * len(images)
        scores, target = probabilities(outputs, model), target.cpu()
        if metrics is not None:
            kept.append((outputs.cpu(), target))
        elif scores.shape[1] == 1:
            kept.append((scores.cpu()[:, 0] > 0.5, target))
        else:
            confusion = confusion + compute_confusion_matrix(scores.argmax(1).cpu(), target, scores.shape[1])
            kept += [(scores.cpu(), target)] if ranked else []

    shares = gather_object([(confusion, kept, losses)])  # of every process; alone, its own
    batches = [kept[k] for k in range(len(shares[0][1])) for _, kept, _ in shares if k < len(kept)]
    if metrics is not None:
        result = checked(metrics(*_together(batches)))
    elif isinstance(confusion := sum(share[0] for share in shares), Tensor):
        result = {"mIoU": float(iou(confusion).nanmean()), "accuracy": float(overall_accuracy(confusion))}
        if ranked:
            result["mAP"] = float(average_precision(*_together(batches)).nanmean())
    else:
        both = _together(batches)
        result = {"IoU": float(binary_iou(*both)), "IoU_per_image": float(binary_iou_per_image(*both))}
    if loss is not None:
        result["loss"] = float(np.mean([value for share in shares for value in share[2]]))
    return result


def checked(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics as Python's own numbers, whatever library's they are."""
    if not isinstance(metrics, dict) or not metrics:
        raise ValueError(f"metrics must give a dict of numbers, found {metrics!r}")
    for name, value in metrics.items():
        if getattr(value, "ndim", 0) or not hasattr(type(value), "__float__"):
            raise ValueError(f"metrics must give one number for {name!r}, found {value!r}")
    return {str(name): float(value) for name, value in metrics.items()}


def _together(batches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """All images in one tensor; smaller ones are padded with void at their ends."""
    shapes = [target.shape[1:] for _, target in batches]
    largest, filled = [max(sizes) for sizes in zip(*shapes, strict=True)], []
    for pair, shape in zip(batches, shapes, strict=True):
        missing = [n for size, most in zip(shape[::-1], largest[::-1], strict=True) for n in (0, most - size)]
        filled.append([F.pad(part, missing, value=fill) for part, fill in zip(pair, (0, VOID), strict=True)])
    outputs, targets = zip(*filled if len(set(shapes)) > 1 else batches, strict=True)
    return torch.cat(outputs), torch.cat(targets)


def forward(
    model: nn.Module, images: Tensor, accelerator: Accelerator, size: Sequence[int] | None = None, flips: bool = False
) -> Tensor:
    """Outputs (N, K, H, W) in float32, computed in the accelerator's precision; (N, K, …) for other dimensions.

    size:  interpolate them to this (H, W), e.g. that of labels which are finer than the network's input
    flips: the mean of the outputs for the images and for their mirror images
    """
    with accelerator.autocast():
        outputs = model(channels_last(images)).float()
    if flips:
        outputs = (outputs + forward(model, images.flip(-1), accelerator).flip(-1)) / 2
    if size is None or outputs.shape[2:] == torch.Size(size):
        return outputs
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[outputs.ndim]
    return F.interpolate(outputs, size=tuple(size), mode=mode, align_corners=False)


def channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


def probabilities(outputs: Tensor, model: nn.Module | None = None) -> Tensor:
    """Softmax over the classes, sigmoid where there is one channel.

    A network that says so by an attribute final_activation which is not None gives probabilities already.
    """
    if model is not None and getattr(unwrap(model), "final_activation", None) is not None:
        return outputs
    return outputs.softmax(1) if outputs.shape[1] > 1 else outputs.sigmoid()


@torch.inference_mode()
def evaluate_model(model: nn.Module, data: Dataset | DataLoader, batch_size: int = 16, precision="auto") -> float:
    """The lecture's score (D3): share of correct pixels among those of an image that are not void, mean over images.

    data: a data set, or a loader of (images, labels); −1 counts as void, too. One channel is judged at 0.5.
    """
    accelerator = make_accelerator(precision)
    model = to_device(model, accelerator).eval()
    per_image = []
    for images, target, *_ in data if isinstance(data, DataLoader) else DataLoader(data, batch_size):
        target = torch.where(target == -1, VOID, target)
        outputs = forward(model, images.to(accelerator.device), accelerator, target.shape[2 - images.ndim :])
        scores = probabilities(outputs, model)
        labels = (scores[:, 0] > 0.5).long() if scores.shape[1] == 1 else scores.argmax(1)
        pairs = zip(labels.cpu().flatten(1), target.flatten(1), strict=True)
        per_image += [pixel_accuracy(found[None], wanted[None]) for found, wanted in pairs]
    return float(np.nanmean(per_image))
