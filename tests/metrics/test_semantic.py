"""Semantic metrics against torchmetrics, scikit-learn, brute force over single pixels, and laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from tensors import draw_pair, quick, seeds
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix
from torchmetrics.functional.segmentation import mean_iou

from cvf20.labels import VOID
from cvf20.metrics import (
    average_precision,
    binary_iou,
    binary_iou_per_image,
    compute_confusion_matrix,
    iou,
    overall_accuracy,
    pixel_accuracy,
)


def draw_scores(seed: int, levels=7) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (3, 4, 6, 7) on few levels, so that there are many ties, and a target that they partly predict."""
    prediction, target = draw_pair(seed, 4)
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (3, 4, 6, 7), generator=draw) / levels
    return scores + 0.3 * torch.nn.functional.one_hot(prediction, 4).movedim(-1, 1), target


@quick
@given(seeds)
def test_confusion_iou_and_accuracy_equal_torchmetrics(seed):
    prediction, target = draw_pair(seed, 4)
    confusion = compute_confusion_matrix(prediction, target, 4)
    assert confusion.equal(multiclass_confusion_matrix(prediction, target, 4, ignore_index=VOID))
    accuracy = multiclass_accuracy(prediction, target, 4, average="micro", ignore_index=VOID)
    assert overall_accuracy(confusion) == pytest.approx(accuracy.item(), rel=1e-6)
    full = target.where(target != VOID, 0)  # torchmetrics' segmentation metrics know no void
    ours = iou(compute_confusion_matrix(prediction, full, 4))
    joined = (prediction.reshape(1, -1, 1), full.reshape(1, -1, 1))  # as one image: IoU over all pixels
    theirs = mean_iou(*joined, num_classes=4, per_class=True, input_format="index")[0]
    torch.testing.assert_close(ours, theirs.double(), rtol=1e-6, atol=0)


def test_a_class_absent_from_both_has_no_iou_absent_from_one_0():
    np.testing.assert_allclose(iou(torch.tensor([[8, 2, 0], [6, 4, 0], [0, 0, 0]])), [8 / 16, 4 / 12, np.nan])
    assert iou(torch.tensor([[0, 3], [0, 0]])).tolist() == [0, 0]


def test_label_out_of_range_is_named():
    prediction, target = draw_pair(0, 5)
    with pytest.raises(ValueError, match="target holds the label 4, wanted 0 to 3"):
        average_precision(torch.rand(3, 4, 6, 7), target)
    kept = target.masked_fill(target == 4, 0)
    with pytest.raises(ValueError, match="prediction holds the label 4, wanted 0 to 3"):
        compute_confusion_matrix(prediction, kept, 4)
    compute_confusion_matrix(prediction, kept.masked_fill(prediction == 4, VOID), 4)  # under void nobody looks
    with pytest.raises(ValueError, match=r"class axis, found target \(3, 6, 7\) for scores \(3, 4, 6, 5\)"):
        average_precision(torch.rand(3, 4, 6, 5), target)


@quick
@given(seeds)
def test_accuracy_and_binary_iou_per_image_are_means_over_images_with_labels(seed):
    prediction, target = draw_pair(seed, 2, void=0.5)
    target[1] = VOID
    confusions = [compute_confusion_matrix(prediction[i], target[i], 2) for i in range(3)]
    assert np.isnan(overall_accuracy(confusions[1])) and np.isnan(pixel_accuracy(prediction[1], target[1]))
    assert pixel_accuracy(prediction, target) == pytest.approx(np.nanmean([overall_accuracy(c) for c in confusions]))
    assert binary_iou_per_image(prediction, target) == pytest.approx(np.nanmean([iou(c)[1] for c in confusions]))
    assert binary_iou(prediction, target) == float(iou(sum(confusions))[1])
    assert pixel_accuracy(prediction.where(target != VOID, VOID), target) == pixel_accuracy(prediction, target)


def test_binary_iou_of_empty_and_void_images():
    empty, full = torch.zeros(1, 2, 2, dtype=torch.int64), torch.ones(1, 2, 2, dtype=torch.int64)
    void = torch.full((1, 2, 2), VOID)
    for metric in binary_iou, binary_iou_per_image:
        assert metric(empty, empty) == 1 and metric(full, empty) == 0 and np.isnan(metric(full, void))
    assert binary_iou_per_image(torch.cat([full, empty, full]), torch.cat([full, full, void])) == 0.5


def envelope_by_definition(is_class: np.ndarray, scores: np.ndarray) -> float:
    """Average precision with the precision envelope, by trying every score as threshold."""
    points = []
    for threshold in sorted(set(scores.tolist()), reverse=True):
        accepted = scores >= threshold
        points.append(((accepted & is_class).sum() / is_class.sum(), is_class[accepted].mean()))
    area, reached = 0.0, 0.0
    for i, (recall, _) in enumerate(points):
        area += (recall - reached) * max(precision for _, precision in points[i:])
        reached = recall
    return area


@quick
@given(seeds, st.sampled_from([2, 7, 10**6]))
def test_average_precision_equals_scikit_learn_and_the_definition(seed, levels):
    scores, target = draw_scores(seed, levels)
    plain, interpolated = average_precision(scores, target, interpolated=False), average_precision(scores, target)
    assert interpolated.dtype == torch.float64 and (plain <= interpolated + 1e-12).all()
    kept = target != VOID
    for k in range(4):
        pair = (target == k)[kept].numpy(), scores[:, k][kept].double().numpy()
        assert plain[k] == pytest.approx(average_precision_score(*pair), rel=1e-12)
        assert interpolated[k] == pytest.approx(envelope_by_definition(*pair), rel=1e-12)
    without = average_precision(scores, target.where(target != 3, 0))
    assert without[3].isnan() and not without[:3].isnan().any(), "a class without a pixel has none"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_average_precision_of_any_precision_and_layout(dtype):
    scores, target = draw_scores(3)
    scores = scores.to(dtype)
    wanted = average_precision(scores.double(), target)
    assert wanted.equal(average_precision(scores, target))
    assert wanted.equal(average_precision(scores.to(memory_format=torch.channels_last).requires_grad_(), target))
    close = torch.tensor([0.5, 0.5 + 1e-12], dtype=torch.float64).expand(1, 2, 1, 2)
    assert average_precision(close, torch.tensor([[[0, 1]]]))[1] == 1, "not rounded into a tie"


@pytest.mark.parametrize("place", [0, 1])
def test_nan_scores_are_an_error_but_infinite_ones_are_numbers(place):
    target = torch.tensor([[[0, 1, VOID]]])
    scores = torch.tensor([0.1, 0.9, torch.nan]).expand(1, 2, 1, 3).clone()
    assert average_precision(scores, target)[1] == 1  # under void nobody looks
    scores[0, 1, 0, place] = torch.inf if place else -torch.inf
    assert average_precision(scores, target)[1] == 1
    scores[0, 1, 0, place] = torch.nan
    with pytest.raises(ValueError, match="nan"):
        average_precision(scores, target)
