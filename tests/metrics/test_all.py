"""What every metric keeps to: types of labels, one image, void, errors that name, and devices without float64."""

import time
import tracemalloc
from functools import partial

import pytest
import torch
from tensors import draw_pair

from cvf20 import metrics
from cvf20.labels import VOID
from cvf20.metrics.topology import object_images, partition_errors

sample = partial(draw_pair, 0, block=3, wrong=0.2)


def weights(labels):
    return (torch.arange(labels.numel()) % 7).reshape(labels.shape).float().to(labels.device)


LABELS = {  # of prediction and target
    "confusion": lambda p, t: metrics.compute_confusion_matrix(p, t, 2),
    "IoU": lambda p, t: metrics.iou(metrics.compute_confusion_matrix(p, t, 2)),
    "accuracy": lambda p, t: metrics.overall_accuracy(metrics.compute_confusion_matrix(p, t, 2)),
    "weighted confusion": lambda p, t: metrics.weighted_confusion_matrix(p, t, weights(t), 2),
    "accuracy per image": metrics.pixel_accuracy,
    "binary IoU": metrics.binary_iou,
    "binary IoU per image": metrics.binary_iou_per_image,
    "boundary IoU": lambda p, t: metrics.boundary_iou(p, t, 2),
    "topology": metrics.topology_errors,
    "topology of instances": partial(metrics.topology_errors, instances=True),
    "partition": lambda p, t: partition_errors(object_images(p, t)),
    "error map": metrics.error_map,
    "instances": metrics.match_instances,
}
SCORES = {  # of scores (N, K, H, W) and target, K ≥ 1
    "average precision": lambda s, t: metrics.average_precision(torch.cat([-s, s], 1), t),
    "topology scores": metrics.topology_scores,
    "foreground IoU": metrics.foreground_iou,
    "masks": lambda s, t: metrics.mask_average_precision([(x > 0, x.amax((1, 2))) for x in s], t),
}
labels = pytest.mark.parametrize("metric", LABELS.values(), ids=LABELS)
scores = pytest.mark.parametrize("metric", SCORES.values(), ids=SCORES)


def assert_same(found, wanted):
    if isinstance(wanted, dict):
        assert {k: pytest.approx(v, nan_ok=True) for k, v in wanted.items()} == found
    else:
        torch.testing.assert_close(found.cpu() if isinstance(found, torch.Tensor) else found, wanted, equal_nan=True)


def logits_for(prediction):
    return (prediction - 0.5).unsqueeze(1) * torch.rand(prediction.unsqueeze(1).shape)


@labels
@pytest.mark.parametrize("dtype", "uint8 int16 int32 uint16 float16 float32 float64 bool int8".split())
def test_labels_are_numbers_whatever_their_type(metric, dtype):
    prediction, target = sample(void=0 if dtype in ("bool", "int8") else 0.2)
    wanted, dtype = metric(prediction, target), getattr(torch, dtype)
    assert_same(metric(prediction.to(dtype), target.to(dtype)), wanted)
    assert_same(metric(prediction, target.to(dtype)), wanted)
    assert_same(metric(*(x.to(dtype).mT.contiguous().mT for x in (prediction, target))), wanted)


@scores
def test_scores_are_judged_by_labels_of_any_type(metric, put):
    prediction, target = sample()
    logits, mask = logits_for(prediction), target.clamp(max=1)
    assert_same(metric(logits, mask.bool()), metric(logits, mask))
    for dtype in (torch.uint8, torch.int32, torch.uint16, torch.float32):
        assert_same(metric(logits, target.to(dtype)), metric(logits, target))
    assert_same(metric(put(logits), put(target)), metric(logits, target))


@labels
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.5, -1.0])
def test_labels_that_are_none_are_named(metric, value):
    prediction, target = (x.float() for x in sample())
    wrong = target.clone()
    wrong[1, 2, 3] = value
    with pytest.raises(ValueError, match=f"target holds (the label )?{value:g}, wanted"):
        metric(prediction, wrong)
    wrong = prediction.clone()
    wrong[target == 0] = value
    with pytest.raises(ValueError, match=f"prediction holds (the label )?{value:g}, wanted"):
        metric(wrong, target)
    with pytest.raises(ValueError, match="shape"):
        metric(prediction, target[:, 1:])


@labels
def test_one_image_needs_no_axis_for_images(metric):
    prediction, target = sample(shape=(1, 12, 14))
    assert_same(metric(prediction[0], target[0]), metric(prediction, target))
    assert_same(metric(prediction.unsqueeze(1), target.unsqueeze(1)), metric(prediction, target))


@labels
def test_what_lies_under_void_is_not_looked_at(metric):
    prediction, target = sample(void=0.4)
    other = torch.where((target == VOID) & (torch.rand(target.shape) < 0.5), 1 - prediction, prediction)
    assert_same(metric(other, target), metric(prediction, target))


def test_another_number_may_mean_void():
    prediction, target = sample()
    logits = logits_for(prediction) * torch.tensor([-1, 1])[:, None, None]
    for dtype in (torch.int64, torch.int8, torch.float32):
        void = target.masked_fill(target == VOID, -1).to(dtype)
        wanted = metrics.compute_confusion_matrix(prediction, target, 2)
        assert_same(metrics.compute_confusion_matrix(prediction, void, 2, ignore_index=-1), wanted)
        assert_same(metrics.average_precision(logits, void, ignore_index=-1), metrics.average_precision(logits, target))


@labels
def test_labels_on_a_device_without_float64(metric, put):
    prediction, target = sample()
    assert_same(metric(put(prediction), put(target)), metric(prediction, target))


def test_hundreds_of_cells_take_little_time_and_memory():
    """400 cells at 512² took 5 s and 760 MiB as n × H × W."""
    target = torch.zeros(1, 1024, 1024, dtype=torch.int64)
    numbers = torch.arange(301, 1201).reshape(30, 30)
    target[:, :1020, :1020] = numbers.repeat_interleave(34, 0).repeat_interleave(34, 1)
    target[:, ::34], target[..., ::34] = 0, 0
    prediction = target.roll((2, 1), (1, 2))
    of_masks = partial(metrics.topology_errors, instances=False)
    ranked = partial(metrics.match_instances, scores=[torch.rand(900)])
    for metric in ranked, metrics.topology_errors, of_masks:
        started = time.process_time()
        found = metric(prediction, target)
        seconds = time.process_time() - started
        tracemalloc.start()
        metric(prediction, target)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        assert seconds < 0.5 and peak < 80
        assert found.get("F1", 1) == 1 and found.get("missed", 0) == 0
