"""Networks: images (N, C, *S) in, logits (N, K, *S) out."""
# ruff: noqa: F401

from cvf20.models.base import EncoderDecoderSkeleton
from cvf20.models.base_conv import BaseConv
from cvf20.models.mask_rcnn import mask_rcnn
from cvf20.models.spec import build, spec_of
from cvf20.models.transfer import LightDecoderModel, ResnetBasedModel
from cvf20.models.unet import UNet
from cvf20.models.watershed import WatershedNet
from cvf20.models.weights import load_by_position
