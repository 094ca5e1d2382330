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

LEVELS = 5  # of the pyramid: strides 4, 8, 16, 32 and 64
BOX_FEATURES = 1024  # of the box head
HALF_PIXEL = 0.5  # torchvision samples masks as if a pixel's centre, not its edge, had a whole number
STRIDE = 32  # images are padded to a multiple of it, so that every level's stride is exact


class MaskRCNN(nn.Module):
    """torchvision's backbone, region proposal network and heads, between tensors of this package's shapes.

    Training:   forward(images (N, 3, H, W), instance labels (N, H, W)) → torchvision's five losses by name
                (loss_objectness, loss_rpn_box_reg, loss_classifier, loss_box_reg, loss_mask), to be added up
    Evaluation: forward(images) → foreground logits (N, 1, H, W): > 0 inside a mask above 0.5 with a score above 0.5.
    `detect` gives the instances themselves. Images come normalised, and stay at their size.
    Void (255 in the labels) is blanked in the image: torchvision's losses know no region to leave out, so nothing is
    shown there that they could be wrong about.
    """

    def __init__(self, detector: detection.MaskRCNN, **settings):
        super().__init__()
        self.settings = settings  # what the layers do not show; a run's fingerprint reads them in the repr
        self.backbone, self.rpn, self.roi_heads = detector.backbone, detector.rpn, detector.roi_heads
        for module in (self.rpn.head, self.roi_heads.box_predictor, self.roi_heads.mask_predictor):
            module.register_forward_hook(to_float32)  # boxes are decoded from these: bf16 knows no pixel beyond 256

    def forward(self, images: Tensor, target: Tensor | None = None) -> dict[str, Tensor] | Tensor:
        if not self.training:
            found = self._detect(images, images.shape[-2:])
            scored = [torch.minimum(each["masks"], each["scores"][:, None, None]) for each in found]
            empty = images.new_zeros((1, *images.shape[-2:]), dtype=torch.float32)
            best = torch.stack([torch.cat([empty, masks]).amax(0, keepdim=True) for masks in scored])
            return torch.logit(best, eps=1e-4)
        if target is None or target.shape != images.shape[:1] + images.shape[2:]:
            found = None if target is None else tuple(target.shape)
            raise ValueError(
                f"target {found}: training wants instance labels (N, H, W) for images {tuple(images.shape)}"
            )
        images = images.masked_fill((target == VOID)[:, None], 0)
        batch, features = self._features(images)
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

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())


def mask_rcnn(
    weights: Mapping[str, Tensor] | None = None,
    *,
    anchor_sizes: Sequence[float] = (24, 48, 96, 160, 256),
    aspect_ratios: Sequence[float] = (1.5, 2.3, 3.5),
    proposals: tuple[int, int] = (200, 100),
    box_samples: int = 64,
    width: int = 128,
    detections: int = 50,
    trainable_layers: int = 3,
) -> MaskRCNN:
    """Mask R-CNN of one class, small enough for two processor cores.

    weights:          state dict of ResNet-18, of all its layers or some (see `cvf20.pretrained`); None: random
    anchor_sizes:     √area of the anchors on each of the five pyramid levels, in pixels of the network's input
    aspect_ratios:    height / width of the anchors; `fit_anchors` finds both
    proposals:        regions per image that go on to the heads, in training and in evaluation
    box_samples:      proposals per image that the heads learn from, at most a quarter of them people (who get masks)
    width:            channels of the pyramid and of the mask head
    detections:       most instances per image
    trainable_layers: how many of layer4, layer3, layer2, layer1, conv1 learn, from the top; random ones always do

    A batch norm whose statistics come with the weights is frozen, since batches are small; the others become group norm.
    Raises ValueError for another number of anchor_sizes, trainable_layers beyond 0 to 5, or weights that do not fit.
    """
    if len(anchor_sizes) != LEVELS:
        raise ValueError(f"anchor_sizes={tuple(anchor_sizes)}: {LEVELS} numbers, one per pyramid level, are wanted")
    if not 0 <= trainable_layers <= 5:
        raise ValueError(f"trainable_layers={trainable_layers}: 0 to 5 are wanted")
    encoder = make_encoder("resnet18", weights)
    replace_batch_norm(encoder, pretrained=set(weights or ()))
    learning = ["layer4", "layer3", "layer2", "layer1", "conv1"][:trainable_layers]
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name.split(".")[0] in learning or name not in (weights or ()))
    layers = {f"layer{i}": str(i - 1) for i in range(1, 5)}
    backbone = BackboneWithFPN(encoder, layers, [64, 128, 256, 512], width, extra_blocks=LastLevelMaxPool())
    detector = detection.MaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(
            tuple((float(size),) for size in anchor_sizes), (tuple(map(float, aspect_ratios)),) * LEVELS
        ),
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
    return MaskRCNN(
        detector,
        anchor_sizes=tuple(anchor_sizes),
        aspect_ratios=tuple(aspect_ratios),
        proposals=tuple(proposals),
        box_samples=box_samples,
        detections=detections,
        trainable_layers=trainable_layers,
    )


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


def replace_batch_norm(module: nn.Module, pretrained: set[str], prefix: str = "") -> None:
    """Every batch norm inside becomes a frozen one if its statistics are among the names `pretrained`, else group norm."""
    for name, child in module.named_children():
        if not isinstance(child, nn.BatchNorm2d):
            replace_batch_norm(child, pretrained, f"{prefix}{name}.")
            continue
        if f"{prefix}{name}.running_var" in pretrained:
            norm = FrozenBatchNorm2d(child.num_features, child.eps)
            norm.load_state_dict({key: value for key, value in child.state_dict().items() if "num" not in key})
        else:
            norm = nn.GroupNorm(min(32, child.num_features), child.num_features)
            norm.weight.data.copy_(child.weight.data)  # 0 where the residual block starts as the identity
        setattr(module, name, norm)


def to_float32(module: nn.Module, inputs: tuple, output):
    """Forward hook: the tensors of an output, which may be nested in lists, as float32."""
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(to_float32(module, inputs, item) for item in output)
