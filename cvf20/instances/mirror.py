"""A detector that looks twice: at an image and at its mirror image."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_iou

from cvf20.models.mask_rcnn import MaskRCNN

SAME = 0.5  # IoU of two boxes that show one instance, as in the detector's own non-maximum suppression


def detect_mirrored(model: MaskRCNN, images: Tensor, size: tuple[int, int] | None = None) -> list[dict[str, Tensor]]:
    """As `model.detect`, which see, but boxes, scores and masks are means over image and mirror image.

    What only one of the two shows keeps its box and mask, and half its score.
    """
    width = (images.shape[-2:] if size is None else size)[1]
    direct, mirrored = model.detect(images, size), model.detect(images.flip(-1), size)
    for found in mirrored:
        x0, y0, x1, y1 = found["boxes"].unbind(1)
        found["boxes"] = torch.stack([width - x1, y0, width - x0, y1], 1)
        found["masks"] = found["masks"].flip(-1)
    return [_mean(one, other) for one, other in zip(direct, mirrored, strict=True)]


def _mean(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    """Instances of two looks, paired so that the sum of IoUs is largest."""
    iou = box_iou(one["boxes"], other["boxes"]).cpu()
    i, j = (torch.from_numpy(side) for side in linear_sum_assignment(iou, maximize=True))
    same = iou[i, j] >= SAME
    i, j = i[same], j[same]
    alone = [
        torch.tensor(sorted({*range(n)} - {*k.tolist()}), dtype=int) for n, k in zip(iou.shape, (i, j), strict=True)
    ]
    merged = {}
    for key in ("boxes", "scores", "masks"):
        share = 0.5 if key == "scores" else 1.0
        parts = [(one[key][i] + other[key][j]) / 2, share * one[key][alone[0]], share * other[key][alone[1]]]
        merged[key] = torch.cat(parts)
    order = merged["scores"].argsort(descending=True, stable=True)
    return {key: value[order] for key, value in merged.items()}
