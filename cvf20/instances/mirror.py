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
    pairs = [(i, j) for i, j in zip(*linear_sum_assignment(iou, maximize=True), strict=True) if iou[i, j] >= SAME]
    both = torch.tensor(pairs, dtype=torch.int64, device=one["scores"].device).reshape(-1, 2)
    alone = [
        torch.tensor([i for i in range(len(look["scores"])) if i not in set(column)], dtype=torch.int64)
        for look, column in ((one, both[:, 0].tolist()), (other, both[:, 1].tolist()))
    ]
    merged = {}
    for key in ("boxes", "scores", "masks"):
        share = 0.5 if key == "scores" else 1.0
        parts = [(one[key][both[:, 0]] + other[key][both[:, 1]]) / 2]
        parts += [share * look[key][index] for look, index in zip((one, other), alone, strict=True)]
        merged[key] = torch.cat(parts)
    order = merged["scores"].argsort(descending=True, stable=True)
    return {key: value[order] for key, value in merged.items()}
