"""Networks: images (N, C, *S) in, logits (N, K, *S) out."""

from .averaged import AveragedPredictions
from .base_conv import BaseConv
from .folding import fold_batch_norm
from .light_decoder import LightDecoderModel
from .mask_rcnn import mask_rcnn
from .resnet_unet import ResnetBasedModel
from .skeleton import EncoderDecoderSkeleton
from .unet import UNet
from .watershed import WatershedNet

__all__ = [
    "AveragedPredictions",
    "BaseConv",
    "EncoderDecoderSkeleton",
    "LightDecoderModel",
    "ResnetBasedModel",
    "UNet",
    "WatershedNet",
    "fold_batch_norm",
    "mask_rcnn",
]
