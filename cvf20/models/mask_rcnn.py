"""Mask R-CNN (He et al. 2017): torchvision's detector on a ResNet-18 feature pyramid, fed with instance label images."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.ops import FrozenBatchNorm2d

from cvf20.labels import VOID
from cvf20.labels.instances import instance_boxes, instance_masks
from cvf20.models.encoders import make_encoder
from cvf20.models.spec import Recorded

LEVELS = 5  # of the pyramid: strides 4 to 64
HALF_PIXEL = 0.5  # torchvision samples masks as if a pixel's centre, not its edge, had a whole number
SMALL = dict(rpn_pre_nms_top_n_train=400, rpn_pre_nms_top_n_test=200, rpn_post_nms_top_n_train=200)  # proposals
SMALL |= dict(rpn_post_nms_top_n_test=100, box_batch_size_per_image=64, box_detections_per_img=50)


class MaskRCNN(Recorded, detection.MaskRCNN):
    """Mask R-CNN of one class, small enough for two processor cores; boxes and masks come from the label image.

    Training:   forward(images (N, 3, H, W), instance labels (N, H, W)) → torchvision's five losses, to be added up
    Evaluation: forward(images) → foreground logits (N, 1, H, W): > 0 inside a mask above 0.5 with a score above 0.5.
    Images come normalised, and keep their size. Void (255) is blanked in them: torchvision's losses leave nothing out.
    weights:       state dict of ResNet-18, of all its layers or some. Its layer2 to layer4 learn, and what is random
    anchor_sizes:  √area of the anchors on each of the five pyramid levels, in pixels of the network's input
    aspect_ratios: height / width of the anchors
    width:         channels of the pyramid and of the mask head
    options:       any others of torchvision's, instead of those in SMALL
    """

    def __init__(
        self, weights=None, *, anchor_sizes=(24, 48, 96, 160, 256), aspect_ratios=(1.5, 2.3, 3.5), width=128, **options
    ):
        layers = {f"layer{i}": str(i - 1) for i in range(1, 5)}
        backbone = BackboneWithFPN(frozen_encoder(weights or {}), layers, [64, 128, 256, 512], width)
        anchors = AnchorGenerator([(size,) for size in anchor_sizes], [tuple(aspect_ratios)] * LEVELS)
        head = MaskRCNNHeads(width, (width, width, width, 256), 1)  # torchvision's mask predictor takes 256
        super().__init__(backbone, 2, rpn_anchor_generator=anchors, mask_head=head, **SMALL | options)
        self.transform = AsGiven(0, 0, [0.0] * 3, [1.0] * 3)
        for module in (self.backbone, self.rpn.head, self.roi_heads.box_predictor, self.roi_heads.mask_predictor):
            # Boxes are decoded from these, and bfloat16 knows no pixel beyond 256
            module.register_forward_hook(lambda module, inputs, output: tree_map(Tensor.float, output))

    def forward(self, images: Tensor, target: Tensor | None = None) -> dict[str, Tensor] | Tensor:
        if self.training:
            truth = [detection_target(labels) for labels in target]
            for each in truth:
                each["boxes"] -= HALF_PIXEL
            return super().forward(list(images.masked_fill((target == VOID)[:, None], 0)), truth)
        scored = [torch.minimum(found["masks"], found["scores"][:, None, None]) for found in self.detect(images)]
        best = [F.pad(masks, (0, 0, 0, 0, 1, 0)).amax(0, keepdim=True) for masks in scored]  # 0 where there are none
        return torch.logit(torch.stack(best), eps=1e-4)

    @torch.no_grad()
    def detect(self, images: Tensor, size: Sequence[int] | None = None) -> list[dict[str, Tensor]]:
        """Per image, best score first: boxes (n, 4) float x0, y0, x1, y1, scores (n,), masks (n, H, W) probabilities.

        size: (H, W) to which boxes and masks are scaled; None: that of the images
        """
        self.transform.size = tuple(images.shape[-2:] if size is None else size)
        found = detection.MaskRCNN.forward(self.eval(), list(images))
        return [{"boxes": f["boxes"], "scores": f["scores"], "masks": f["masks"][:, 0]} for f in found]


mask_rcnn = MaskRCNN  # named as torchvision names what makes its detector


class AsGiven(detection.transform.GeneralizedRCNNTransform):
    """torchvision's batch of images, padded to a multiple of 32, but not resized; what is found is scaled to `size`."""

    def resize(self, image: Tensor, target=None):
        return image, target

    def postprocess(self, result, image_shapes, original_image_sizes):
        if self.training:
            return result
        for found in result:
            found["boxes"] += HALF_PIXEL
        return super().postprocess(result, image_shapes, [self.size] * len(result))


def frozen_encoder(weights: Mapping[str, Tensor]) -> nn.Module:
    """ResNet-18 whose batch norms do not learn, nor do the first layers that `weights` knows."""
    encoder = make_encoder("resnet18", weights, norm_layer=FrozenBatchNorm2d, zero_init_residual=False)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name.startswith(("layer2", "layer3", "layer4")) or name not in weights)
        if name not in weights and name.endswith("conv2.weight"):
            nn.init.zeros_(parameter)  # blocks without weights start as the identity
    return encoder


def detection_target(labels: Tensor) -> dict[str, Tensor]:
    """torchvision's target of one instance label image (H, W): boxes (n, 4), labels (n,) all 1, masks (n, H, W) uint8."""
    masks = instance_masks(labels)
    classes = torch.ones(len(masks), dtype=torch.int64, device=labels.device)
    return {"boxes": instance_boxes(masks), "labels": classes, "masks": masks.to(torch.uint8)}
