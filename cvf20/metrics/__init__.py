"""Metrics: functions of label or score tensors that leave void out."""

from cvf20.metrics.semantic import (
    average_precision,
    binary_iou,
    binary_iou_per_image,
    compute_confusion_matrix,
    iou,
    overall_accuracy,
    pixel_accuracy,
)

__all__ = [
    "average_precision",
    "binary_iou",
    "binary_iou_per_image",
    "compute_confusion_matrix",
    "iou",
    "overall_accuracy",
    "pixel_accuracy",
]
