"""Scores whose class means leave out classes that a network could not learn."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cvf20.metrics.semantic import average_precision, compute_confusion_matrix, iou, overall_accuracy, pixel_accuracy


def class_mean_scores(
    logits: Tensor, target: Tensor, leave_out: Sequence[int] = (), ranked: bool = False
) -> dict[str, float]:
    """mIoU, accuracy, accuracy_per_image, and mAP if `ranked`, of the logits (N, K, H, W) and labels (N, H, W).

    leave_out: classes that mIoU and mAP do not average over, e.g. one without a training image; their pixels still
               count in the accuracies. For Learner(metrics=partial(class_mean_scores, leave_out=…))
    accuracy:  over all pixels that are not void; accuracy_per_image: of every image, then averaged, as `evaluate_model`
    """
    num_classes = logits.shape[1]
    if not set(leave_out) <= set(range(num_classes)):
        raise ValueError(f"leave_out={tuple(leave_out)}: classes in 0 … {num_classes - 1} are wanted")
    counted = [k for k in range(num_classes) if k not in leave_out]
    prediction = logits.argmax(1)
    confusion = compute_confusion_matrix(prediction, target, num_classes)
    scores = {
        "mIoU": float(iou(confusion)[counted].nanmean()),
        "accuracy": overall_accuracy(confusion),
        "accuracy_per_image": pixel_accuracy(prediction, target),
    }
    if ranked:
        scores["mAP"] = float(average_precision(torch.softmax(logits, 1), target)[counted].nanmean())
    return scores
