"""Mask R-CNN (He et al. 2017): torchvision's detector on a ResNet-18 feature pyramid, fed with instance label images.

Boxes and masks are derived from the label image after augmentation, so that image, boxes and masks cannot disagree.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from cvf20.labels import VOID, check_integer
from cvf20.labels.instances import instance_boxes, instance_masks
from cvf20.models.encoders import make_encoder
from cvf20.models.spec import Recorded, respecify

LEVELS = 5  # of the pyramid: strides 4, 8, 16, 32 and 64
BOX_FEATURES = 1024  # of the box head
HALF_PIXEL = 0.5  # torchvision samples masks as if a pixel's centre, not its edge, had a whole number
STRIDE = 32  # images are padded to a multiple of it, so that every level's stride is exact


class MaskRCNN(Recorded, nn.Module):
    """Mask R-CNN of one class, small enough for two processor cores.

    Training:   forward(images (N, 3, H, W), instance labels (N, H, W)) → torchvision's five losses by name
                (loss_objectness, loss_rpn_box_reg, loss_classifier, loss_box_reg, loss_mask), to be added up
    Evaluation: forward(images) → foreground logits (N, 1, H, W): > 0 inside a mask above 0.5 with a score above 0.5.
    `detect` gives the instances themselves. Images come normalised, and stay at their size. Void (255) is blanked in
    the image: torchvision's losses know no region to leave out, so nothing is shown that they could be wrong about.

    weights:          state dict of ResNet-18, of all its layers or some (see `pretrained.py`); None: random
    anchor_sizes:     √area of the anchors on each of the five pyramid levels, in pixels of the network's input
    aspect_ratios:    height / width of the anchors; `fit_anchors` finds both
    proposals:        regions per image that go on to the heads, in training and in evaluation
    box_samples:      proposals per image that the heads learn from, at most a quarter of them people (who get masks)
    width:            channels of the pyramid and of the mask head
    detections:       most instances per image
    trainable_layers: how many of layer4, layer3, layer2, layer1, conv1 learn, from the top; random ones always do
    frozen:           batch norms of the encoder that are frozen, since batches are small; the others become group norm.
                      None: those whose statistics come with the weights
    Raises ValueError for another number of anchor_sizes, trainable_layers beyond 0 to 5, or weights that do not fit.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor] | None = None,
        *,
        anchor_sizes: Sequence[float] = (24, 48, 96, 160, 256),
        aspect_ratios: Sequence[float] = (1.5, 2.3, 3.5),
        proposals: tuple[int, int] = (200, 100),
        box_samples: int = 64,
        width: int = 128,
        detections: int = 50,
        trainable_layers: int = 3,
        frozen: Sequence[str] | None = None,
    ):
        super().__init__()
        if len(anchor_sizes) != LEVELS:
            raise ValueError(f"anchor_sizes={tuple(anchor_sizes)}: {LEVELS} numbers, one per pyramid level, are wanted")
        ratios = (tuple(map(float, aspect_ratios)),) * LEVELS
        detector = detection.MaskRCNN(
            backbone(weights, width, trainable_layers, frozen),
            rpn_anchor_generator=AnchorGenerator(tuple((float(size),) for size in anchor_sizes), ratios),
            rpn_pre_nms_top_n_train=2 * proposals[0],
            rpn_pre_nms_top_n_test=2 * proposals[1],
            rpn_post_nms_top_n_train=proposals[0],
            rpn_post_nms_top_n_test=proposals[1],
            box_batch_size_per_image=box_samples,
            box_detections_per_img=detections,
            box_head=TwoMLPHead(width * 7**2, BOX_FEATURES),
            box_predictor=FastRCNNPredictor(BOX_FEATURES, 2),
            mask_head=MaskRCNNHeads(width, (width,) * 4, 1),
            mask_predictor=MaskRCNNPredictor(width, width, 2),
        )
        self.backbone, self.rpn, self.roi_heads = detector.backbone, detector.rpn, detector.roi_heads
        for module in (self.rpn.head, self.roi_heads.box_predictor, self.roi_heads.mask_predictor):
            module.register_forward_hook(to_float32)  # boxes are decoded from these: bf16 knows no pixel beyond 256
        names = [name for name, norm in self.backbone.body.named_modules() if isinstance(norm, FrozenBatchNorm2d)]
        respecify(self, frozen=tuple(names))  # the text holds no weights that could tell

    def forward(self, images: Tensor, target: Tensor | None = None) -> dict[str, Tensor] | Tensor:
        if not self.training:
            found = self._detect(images, images.shape[-2:])
            scored = [torch.minimum(each["masks"], each["scores"][:, None, None]) for each in found]
            empty = images.new_zeros((1, *images.shape[-2:]), dtype=torch.float32)
            best = torch.stack([torch.cat([empty, masks]).amax(0, keepdim=True) for masks in scored])
            return torch.logit(best, eps=1e-4)
        if target is None or target.shape != images.shape[:1] + images.shape[2:]:
            found = None if target is None else tuple(target.shape)
            raise ValueError(f"target {found}: wanted instance labels (N, H, W) for images {tuple(images.shape)}")
        batch, features = self._features(images.masked_fill((target == VOID)[:, None], 0))
        truth = [detection_target(labels) for labels in target]
        for each in truth:
            each["boxes"] -= HALF_PIXEL
        proposals, proposal_losses = self.rpn(batch, features, truth)
        _, losses = self.roi_heads(features, proposals, batch.image_sizes, truth)
        return {**proposal_losses, **losses}

    @torch.inference_mode()
    def detect(self, images: Tensor, size: Sequence[int] | None = None) -> list[dict[str, Tensor]]:
        """Per image, best score first: boxes (n, 4) float x0, y0, x1, y1, scores (n,), masks (n, H, W) probabilities.

        size: (H, W) to which boxes and masks are scaled, e.g. that of the labels; None: that of the images
        """
        was_training = self.training
        self.eval()
        try:
            return self._detect(images, images.shape[-2:] if size is None else size)
        finally:
            self.train(was_training)

    def _detect(self, images: Tensor, size: Sequence[int]) -> list[dict[str, Tensor]]:
        batch, features = self._features(images)
        proposals, _ = self.rpn(batch, features)
        detections, _ = self.roi_heads(features, proposals, batch.image_sizes)
        scale = torch.tensor([n / m for n, m in zip(size, images.shape[-2:], strict=True)], device=images.device)
        result = []
        for found in detections:
            boxes = (found["boxes"] + HALF_PIXEL) * scale.flip(0).repeat(2)
            masks = paste_masks_in_image(found["masks"], boxes, tuple(size))[:, 0]
            result.append({"boxes": boxes, "scores": found["scores"], "masks": masks})
        return result

    def _features(self, images: Tensor) -> tuple[ImageList, dict[str, Tensor]]:
        """The batch as torchvision wants it, and its feature maps in float32: anchors take over their precision."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % STRIDE, 0, -height % STRIDE))
        features = {name: value.float() for name, value in self.backbone(padded).items()}
        return ImageList(padded, [(height, width)] * len(images)), features


mask_rcnn = MaskRCNN  # named as torchvision names what makes its detector


def backbone(
    weights: Mapping[str, Tensor] | None, width: int, trainable: int, frozen: Sequence[str] | None
) -> nn.Module:
    """The encoder with its feature pyramid; arguments as for `MaskRCNN`."""
    if not 0 <= trainable <= 5:
        raise ValueError(f"trainable_layers={trainable}: 0 to 5 are wanted")
    encoder, known = make_encoder("resnet18", weights), weights or {}
    for name, norm in list(encoder.named_modules()):
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        if f"{name}.running_var" in known if frozen is None else name in frozen:
            new = FrozenBatchNorm2d(norm.num_features, norm.eps)
            new.load_state_dict({key: value for key, value in norm.state_dict().items() if "num" not in key})
        else:
            new = nn.GroupNorm(min(32, norm.num_features), norm.num_features)
            new.weight.data.copy_(norm.weight.data)  # 0 where the residual block starts as the identity
        encoder.set_submodule(name, new)
    learning = ["layer4", "layer3", "layer2", "layer1", "conv1"][:trainable]
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name.split(".")[0] in learning or name not in known)
    layers = {f"layer{i}": str(i - 1) for i in range(1, 5)}
    return BackboneWithFPN(encoder, layers, [64, 128, 256, 512], width, extra_blocks=LastLevelMaxPool())


def detection_target(labels: Tensor) -> dict[str, Tensor]:
    """torchvision's target of one instance label image (H, W): boxes (n, 4), labels (n,) all 1, masks (n, H, W) uint8."""
    check_integer(labels, "target")
    masks = instance_masks(labels)
    classes = torch.ones(len(masks), dtype=torch.int64, device=labels.device)
    return {"boxes": instance_boxes(masks), "labels": classes, "masks": masks.to(torch.uint8)}


def fit_anchors(boxes: Tensor, ratios: int = 3) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Anchor sizes (√area, one per pyramid level) and aspect ratios (height / width) for boxes (n, 4), n ≥ 1.

    Sizes in geometric steps between the 2 % and the 98 % quantile of the boxes, ratios at evenly spaced quantiles.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
        raise ValueError(f"boxes must be (n, 4) with n ≥ 1, found {tuple(boxes.shape)}")
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).double().unbind(1)
    if min(widths.min(), heights.min()) <= 0:
        raise ValueError("boxes holds one of width or height 0, wanted all larger")
    low, high = (widths * heights).sqrt().quantile(torch.tensor([0.02, 0.98], dtype=torch.float64)).tolist()
    sizes = [low * (high / low) ** (i / (LEVELS - 1)) for i in range(LEVELS)]
    at = (torch.arange(ratios, dtype=torch.float64) + 0.5) / ratios
    return tuple(round(size, 1) for size in sizes), tuple(round(r, 2) for r in (heights / widths).quantile(at).tolist())


def to_float32(module: nn.Module, inputs: tuple, output):
    """Forward hook: the tensors of an output, which may be nested in lists, as float32."""
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(to_float32(module, inputs, item) for item in output)
