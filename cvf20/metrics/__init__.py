"""Metrics of labels and scores, which leave void (255) out. Labels are (N, H, W), or (H, W) for one image.

They are bool, of any integer type, or whole floats. Shapes that do not fit, labels out of range, unless they lie under
void, and scores that are nan are ValueErrors that name them.
float64 results lie on the CPU, wherever the arguments are: not every device has float64.
"""
# ruff: noqa: F401

from cvf20.metrics.border import boundary_iou, weighted_confusion_matrix
from cvf20.metrics.instance import failure_kinds, foreground_iou, mask_average_precision, match_instances
from cvf20.metrics.semantic import (
    average_precision,
    binary_iou,
    binary_iou_per_image,
    class_mean_scores,
    compute_confusion_matrix,
    iou,
    overall_accuracy,
    pixel_accuracy,
)
from cvf20.metrics.topology import error_map, topology_errors, topology_scores
