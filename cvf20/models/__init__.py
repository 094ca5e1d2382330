"""Networks: images (N, C, *S) in, logits (N, K, *S) out."""

from .averaged import AveragedPredictions
from .base_conv import BaseConv
from .light_decoder import LightDecoderModel
from .resnet_unet import ResnetBasedModel
from .skeleton import EncoderDecoderSkeleton
from .unet import UNet

__all__ = [
    "AveragedPredictions",
    "BaseConv",
    "EncoderDecoderSkeleton",
    "LightDecoderModel",
    "ResnetBasedModel",
    "UNet",
]
