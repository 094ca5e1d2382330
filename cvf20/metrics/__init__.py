"""Metrics: functions of label or score tensors that leave void out."""

from cvf20.metrics.border import boundary_iou, weighted_confusion_matrix
from cvf20.metrics.class_means import class_mean_scores
from cvf20.metrics.instance import failure_kinds, foreground_iou, mask_average_precision, match_instances
from cvf20.metrics.semantic import (
    average_precision,
    binary_iou,
    binary_iou_per_image,
    compute_confusion_matrix,
    iou,
    overall_accuracy,
    pixel_accuracy,
)
from cvf20.metrics.topology import error_map, partition_errors, topology_errors, topology_scores

__all__ = [
    "average_precision",
    "binary_iou",
    "binary_iou_per_image",
    "boundary_iou",
    "class_mean_scores",
    "compute_confusion_matrix",
    "error_map",
    "failure_kinds",
    "foreground_iou",
    "iou",
    "mask_average_precision",
    "match_instances",
    "overall_accuracy",
    "partition_errors",
    "pixel_accuracy",
    "topology_errors",
    "topology_scores",
    "weighted_confusion_matrix",
]
