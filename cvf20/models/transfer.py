"""What networks around a pretrained encoder share: freezing it, and giving the output another number of classes."""

import math
from typing import Self

from torch import Tensor, nn

from cvf20.models.encoders import Encoder
from cvf20.models.spec import Recorded, respecify


class TransferModel(Recorded, nn.Module):
    """A network with a pretrained `encoder` and a last 1×1 convolution `output`, both made by the subclass.

    No other parameter's name starts with "encoder", so that Learner(lr_scales={"encoder": 0.1}) means it alone.
    """

    encoder: Encoder
    output: nn.Conv2d
    encoder_frozen = False
    decoder_stride = 32  # of the coarsest map that the decoder normalises

    def freeze_encoder(self) -> Self:
        """Keep the encoder's weights and batch-norm statistics as they are, also in training mode."""
        return self._set_frozen(True)

    def unfreeze_encoder(self) -> Self:
        """Let the encoder learn again."""
        return self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> Self:
        self.encoder_frozen = frozen
        self.encoder.requires_grad_(not frozen)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.encoder_frozen:
            self.encoder.eval()  # in training mode batch norm would go on averaging, whatever requires_grad says
        return self

    def replace_output(self, num_classes: int) -> Self:
        """Exchange the last layer for a fresh one; everything before it keeps what it has learned."""
        old = self.output
        self.output = nn.Conv2d(old.in_channels, num_classes, 1).to(old.weight.device, old.weight.dtype)
        respecify(self, num_classes=num_classes)
        return self

    def check_input(self, x: Tensor) -> None:
        """ValueError for what is no batch of RGB images, and in training mode where batch norm would see one value."""
        if x.dim() != 4 or x.shape[1] != 3 or min(x.shape) < 1:
            raise ValueError(f"input of shape {tuple(x.shape)}: (N, 3, H, W) with N, H, W ≥ 1 is wanted")
        stride = self.decoder_stride if self.encoder_frozen else self.encoder.stages[-1].stride
        if self.training and len(x) * math.prod(math.ceil(size / stride) for size in x.shape[2:]) < 2:
            raise ValueError(
                f"input of shape {tuple(x.shape)} leaves one pixel at stride {stride}, and batch norm in training needs "
                f"two; the smallest single image has {stride + 1} pixels on one axis (in eval mode 1 pixel is enough)"
            )

    def extra_repr(self) -> str:
        return "encoder frozen" if self.encoder_frozen else ""
