"""What becomes of a detector's masks: one label per pixel."""

import torch
from torch import Tensor

from cvf20.labels.instances import renumber


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
