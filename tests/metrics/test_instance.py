import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional.detection import panoptic_quality

from cvf20.labels import VOID
from cvf20.labels.instances import instance_masks
from cvf20.metrics import foreground_iou, mask_average_precision, match_instances
from cvf20.metrics.instance import COCO_THRESHOLDS, RECALLS, image_overlaps, match

predictions = arrays("int64", (2, 6, 6), elements=st.sampled_from([0, 0, 1, 5, VOID, 300])).map(torch.from_numpy)
targets = arrays("int64", (2, 6, 6), elements=st.sampled_from([0, 0, 2, 5, 256, VOID])).map(torch.from_numpy)


def bands(*numbers, width=4):
    """One label image of vertical bands, `width` pixels each."""
    return torch.tensor(numbers).repeat_interleave(width).expand(10, -1).clone()


@settings(max_examples=80, deadline=None)
@given(predictions, targets)
def test_matching_equals_torchmetrics_and_of_masks_that_of_labels(prediction, target):
    found = match_instances(prediction, target, iou_threshold=0.5 + 1e-9)  # there it is to be exceeded
    category = torch.where(target == VOID, 7, (target > 0).long())
    pair = torch.stack([(prediction > 0).long(), prediction], -1), torch.stack([category, target], -1)
    theirs = panoptic_quality(*pair, things={1}, stuffs={0}, return_per_class=True, return_sq_and_rq=True)[0]
    if (category == 1).any():  # of nothing theirs are 0
        assert np.nan_to_num([found[name] for name in ("PQ", "SQ", "F1")]) == pytest.approx(theirs.numpy())
    masks = [instance_masks(labels, void=None) for labels in prediction]
    scores = [torch.arange(len(each)) % 3 / 3 for each in masks]
    ranked = match_instances(prediction, target, scores)
    of_masks = mask_average_precision(zip(masks, scores, strict=True), target)
    assert {name: ranked[name] for name in of_masks} == pytest.approx(of_masks, nan_ok=True)


def test_images_without_anybody():
    empty, person = torch.zeros(10, 8, dtype=torch.int64), bands(0, 7)
    assert match_instances(empty, empty)["F1"] == match_instances(empty, empty)["PQ"] == 1
    for pair in (person, empty), (empty, person):
        assert [match_instances(*pair)[name] for name in ("F1", "PQ", "count_error")] == [0, 0, 1]
    assert math.isnan(match_instances(empty, empty, [torch.zeros(0)])["mask_AP"])
    assert match_instances(empty, person, [torch.zeros(0)])["mask_AP"] == 0


def test_halves_match_once_and_the_threshold_counts_as_reached():
    result = match_instances(bands(1, 2), bands(9, 9))
    assert (result["F1"], result["SQ"], result["count_error"]) == (2 / 3, 0.5, 1)
    (halves,) = image_overlaps(bands(9, 9, 7, 8), bands(1, 2, 3, 3))
    pairs = match(halves, 0.5)
    assert (halves.prediction[pairs].tolist(), halves.truth[pairs].tolist()) == ([0, 2], [2, 0]), "9 is 1, 7 is 3"


def test_void_is_taken_out_of_predictions():
    target = bands(0, 3, VOID, VOID)
    assert match_instances(bands(0, 0, 4, 4), target)["count_error"] == 1, "in void nobody can be wrong"
    assert match_instances(bands(VOID, 3, 3, 3), target)["count_error"] == 1, "in a prediction 255 is an instance"
    whole = bands(0, 3, 3, 3)  # counts however far it goes on in void: only what matches nothing is left out for that
    assert match_instances(whole, target, [torch.tensor([0.9])])["mask_AP"] == pytest.approx(1)
    twice = mask_average_precision([((whole > 0).repeat(2, 1, 1), torch.tensor([0.9, 0.8]))], [target])
    assert twice["mask_AP"] == pytest.approx(1), "the second matches nothing and lies in void"


def scored_images(seed, count=12):
    """Overlapping, displaced, identical and made-up masks with scores (some of them equal), and their truth."""
    rng = np.random.default_rng(seed)
    for image in range(count):
        target = np.zeros((40, 60), dtype=np.int64)
        masks, scores = [], []
        for number in rng.permutation(np.arange(3, 12))[: rng.integers(1, 6)]:
            y, x, h, w = *rng.integers(0, (25, 45)), *rng.integers(5, 15, 2)
            target[y : y + h, x : x + w] = number
            for _ in range(rng.integers(1, 3)):
                dy, dx, grow = rng.integers(0, (3, 2, 3))
                masks.append(np.zeros(target.shape, dtype=bool))
                masks[-1][y + dy : y + dy + h + grow, x + dx : x + dx + w] = True
                scores.append(rng.integers(1, 20) / 20)
        if image % 2:
            masks += [rng.random(target.shape) > 0.5, target < 0, masks[0]]  # made up, empty, and a copy
            scores += [0.3, 0.6, scores[0]]
        yield torch.from_numpy(np.array(masks)), torch.tensor(scores, dtype=torch.float32), torch.from_numpy(target)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_equals_torchmetrics(seed):
    pytest.importorskip("pycocotools", reason="torchmetrics' AP runs on it")
    from torchmetrics.detection import MeanAveragePrecision

    images = list(scored_images(seed))  # each with a truth: it drops an image without, and what is found there
    # its own thresholds and recalls are float32, which moves an overlap of exactly 3/5 to the wrong side
    exact = {"iou_thresholds": list(COCO_THRESHOLDS), "rec_thresholds": RECALLS.tolist()}
    oracle = MeanAveragePrecision(iou_type="segm", **exact)
    for masks, scores, target in images:
        true = instance_masks(target)
        found = {"masks": masks, "scores": scores, "labels": torch.zeros(len(masks), dtype=torch.int64)}
        oracle.update([found], [{"masks": true, "labels": torch.zeros(len(true), dtype=torch.int64)}])
    expected = oracle.compute()
    result = mask_average_precision(((m, s) for m, s, _ in images), [t for _, _, t in images])
    for ours, theirs in (("mask_AP", "map"), ("mask_AP50", "map_50"), ("mask_AP75", "map_75")):
        assert result[ours] == pytest.approx(float(expected[theirs]), abs=1e-6)


def test_only_the_best_hundred_detections_count():
    target = bands(1, 0)
    masks, scores = torch.stack([target == 0] * 100 + [target == 1]), torch.tensor([0.9] * 100 + [0.1])
    for masks_left, found in (masks[99:], 0.5), (masks, 0):
        result = mask_average_precision([(masks_left, scores[-len(masks_left) :])], [target])
        assert result["mask_AP50"] == pytest.approx(found)


def test_foreground_iou_reads_instances_as_foreground():
    instances = torch.tensor([[[0, 3, 300, VOID]]])
    logits = torch.tensor([[[[5.0, 5.0, -5.0, 5.0]], [[9.0, 9.0, 9.0, 9.0]]]])
    assert foreground_iou(logits, instances)["IoU"] == pytest.approx(1 / 3)


def test_wrong_arguments_are_named():
    image = bands(1, 0)
    with pytest.raises(ValueError, match="iou_threshold=0.4"):
        match_instances(image, image, iou_threshold=0.4)
    with pytest.raises(ValueError, match="zip"):
        match_instances([image, image], [image])
    for scores in (torch.ones(2), torch.tensor([torch.nan])):
        with pytest.raises(ValueError, match="scores must be 1 numbers, one per mask"):
            match_instances(image, image, [scores])
    with pytest.raises(ValueError, match="masks must be bool"):
        mask_average_precision([(image[None], torch.ones(1))], [image])
