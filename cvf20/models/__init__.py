"""Networks: images (N, C, *S) in, logits (N, K, *S) out."""

from .base_conv import BaseConv
from .skeleton import EncoderDecoderSkeleton
from .unet import UNet

__all__ = ["BaseConv", "EncoderDecoderSkeleton", "UNet"]
