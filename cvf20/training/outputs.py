"""What a network gives: outputs, probabilities, labels, and the lecture's score of them."""

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from cvf20.labels import VOID
from cvf20.metrics import pixel_accuracy
from cvf20.models.weights import unwrap
from cvf20.training.devices import make_accelerator, to_device


def forward(model: nn.Module, images: Tensor, accelerator: Accelerator, size=None, flips: bool = False) -> Tensor:
    """Outputs (N, K, H, W) in float32, computed in the accelerator's precision; (N, K, …) for other dimensions.

    size:  interpolate maps to this (H, W), e.g. that of labels which are finer than the network's input
    flips: the mean of the outputs for the images and for their mirror images
    """
    with accelerator.autocast():
        outputs = model(images).float()
    if flips:
        outputs = (outputs + forward(model, images.flip(-1), accelerator).flip(-1)) / 2
    if size is None or outputs.ndim < images.ndim or outputs.shape[2:] == torch.Size(size):
        return outputs
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[outputs.ndim]
    return F.interpolate(outputs, size=tuple(size), mode=mode, align_corners=False)


def probabilities(outputs: Tensor, model: nn.Module | None = None) -> Tensor:
    """Softmax over the classes, sigmoid of one channel; as they are where the model has a `final_activation`."""
    if model is not None and getattr(unwrap(model), "final_activation", None) is not None:
        return outputs
    return outputs.softmax(1) if outputs.shape[1] > 1 else outputs.sigmoid()


def labels_of(scores: Tensor) -> Tensor:
    """(N, H, W) classes of probabilities (N, K, H, W); one channel is judged at 0.5."""
    return scores.argmax(1) if scores.shape[1] > 1 else scores[:, 0] > 0.5


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
        labels = labels_of(probabilities(outputs, model)).long().cpu().flatten(1)
        pairs = zip(labels.split(1), target.flatten(1).split(1), strict=True)
        per_image += [pixel_accuracy(*pair) for pair in pairs]
    return float(np.nanmean(per_image))
