"""Predictions averaged over mirror images and sizes of the input."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from cvf20.models.spec import Recorded


class AveragedPredictions(Recorded, nn.Module):
    """A network's logits, averaged over the given scales of the image and over image and mirror image.

    Logits (N, K, H, W) come at the size of the images given; their softmax is the normalised geometric mean of the
    probabilities. It is a network like any other: give it the images at the labels' size.
    """

    def __init__(self, model: nn.Module, scales: Sequence[float] = (1.0,), flips: bool = True):
        super().__init__()
        self.model, self.scales, self.flips = model, tuple(scales), flips

    def forward(self, images: Tensor) -> Tensor:
        size, total = images.shape[2:], 0
        for scale in self.scales:
            seen = [max(1, round(scale * length)) for length in size]
            resized = images if scale == 1 else F.interpolate(images, seen, mode="bilinear", antialias=True)
            logits = self.model(resized).float()
            if self.flips:
                logits = (logits + self.model(resized.flip(-1)).float().flip(-1)) / 2
            total = total + (logits if scale == 1 else F.interpolate(logits, size, mode="bilinear"))
        return total / len(self.scales)
