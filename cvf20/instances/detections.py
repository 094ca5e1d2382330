"""What becomes of a detector's masks: twice looked for, then one label per pixel."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_iou

from cvf20.labels.instances import renumber
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
    iou = box_iou(one["boxes"], other["boxes"]).cpu().numpy()
    i, j = linear_sum_assignment(iou, maximize=True)
    i, j = i[iou[i, j] >= SAME], j[iou[i, j] >= SAME]
    alone = [torch.from_numpy(np.setdiff1d(range(n), k).astype(int)) for n, k in zip(iou.shape, (i, j), strict=True)]
    i, j, merged = torch.from_numpy(i), torch.from_numpy(j), {}
    for key, share in {"boxes": 1.0, "scores": 0.5, "masks": 1.0}.items():
        parts = (one[key][i] + other[key][j]) / 2, share * one[key][alone[0]], share * other[key][alone[1]]
        merged[key] = torch.cat(parts)
    order = merged["scores"].argsort(descending=True, stable=True)
    return {key: value[order] for key, value in merged.items()}


def flatten_masks(masks: Tensor, scores: Tensor, *, min_score: float = 0.5, min_visible: float = 0.5) -> Tensor:
    """Overlapping masks to one label image (H, W) int64: a pixel belongs to the highest score that claims it.

    masks:       (n, H, W) bool, or probabilities that claim a pixel above 0.5
    scores:      (n,); masks below `min_score` are left out
    min_visible: a mask of which better ones leave less than this share is a duplicate and left out (Kirillov et al.
                 2019, "Panoptic segmentation", section 5.2); of two identical masks one stays
    The numbers follow the scores: the best mask is 1.
    """
    masks = masks if masks.dtype == torch.bool else masks > 0.5
    labels = torch.zeros(masks.shape[1:], dtype=torch.int64, device=masks.device)
    for index in scores.argsort(descending=True, stable=True).tolist():
        visible = masks[index] & (labels == 0)
        area = int(visible.sum())
        if scores[index] >= min_score and area > 0 and area >= min_visible * int(masks[index].sum()):
            labels[visible] = labels.max() + 1
    return renumber(labels)
