"""Class means without some classes: equal to the plain ones where nothing is left out, blind to what is."""

import pytest
import torch

from cvf20.labels import VOID
from cvf20.metrics import average_precision, class_mean_scores, compute_confusion_matrix, iou, pixel_accuracy


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 6, 7, generator=generator)
    target = torch.randint(0, 4, (3, 6, 7), generator=generator)
    target[0, :3] = VOID
    return logits, target


def test_with_all_classes_it_is_the_plain_scores(case):
    logits, target = case
    scores = class_mean_scores(logits, target, ranked=True)
    confusion = compute_confusion_matrix(logits.argmax(1), target, 4)
    assert scores["mIoU"] == pytest.approx(float(iou(confusion).mean()))
    assert scores["mAP"] == pytest.approx(float(average_precision(logits.softmax(1), target).mean()))
    assert scores["accuracy"] == pytest.approx(float(confusion.diagonal().sum() / confusion.sum()))
    assert scores["accuracy_per_image"] == pytest.approx(pixel_accuracy(logits.argmax(1), target))


def test_a_class_left_out_is_not_averaged_but_stays_wrong(case):
    logits, target = case
    logits[:, 2] = -100  # never predicted: IoU 0
    whole, without = class_mean_scores(logits, target), class_mean_scores(logits, target, leave_out=(2,))
    assert without["mIoU"] == pytest.approx(whole["mIoU"] * 4 / 3)
    assert without["accuracy"] == whole["accuracy"] and "mAP" not in without


def test_unknown_class_is_named(case):
    with pytest.raises(ValueError, match=r"leave_out=\(4,\)"):
        class_mean_scores(*case, leave_out=(4,))
