"""Metrics, which leave void (255) out, of labels (N, H, W), or (H, W) for one image: bool, integers or whole floats.

Labels out of range and scores that are nan are ValueErrors. float64 results lie on the CPU.
"""
# ruff: noqa: F401 I001

from cvf20.metrics.instance import foreground_iou, mask_average_precision, match_instances
from cvf20.metrics.semantic import average_precision, binary_iou, binary_iou_per_image, boundary_iou, iou
from cvf20.metrics.semantic import compute_confusion_matrix, overall_accuracy, pixel_accuracy, weighted_confusion_matrix
from cvf20.metrics.topology import error_map, topology_errors, topology_scores
