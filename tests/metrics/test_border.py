"""Border metrics against the unweighted confusion matrix, scikit-learn and bands by brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix
from tensors import draw_pair, quick, seeds, to_nearest

from cvf20.labels import VOID
from cvf20.losses import border_weight_map
from cvf20.metrics import boundary_iou, iou, overall_accuracy, weighted_confusion_matrix


@quick
@given(seeds)
def test_weighted_confusion_equals_scikit_learn(seed):
    prediction, target = draw_pair(seed, 3)
    keep, weights = target != VOID, torch.rand(target.shape)
    pair, kept = (x[keep].numpy() for x in (target, prediction)), weights[keep].double().numpy()
    oracle = torch.from_numpy(confusion_matrix(*pair, labels=range(3), sample_weight=kept))
    torch.testing.assert_close(weighted_confusion_matrix(prediction, target, weights, 3), oracle)


def test_a_shifted_border_hardly_counts_where_borders_fade():
    target = (torch.arange(32).expand(1, 32, 32) >= 16).long()
    shifted, spot = (torch.arange(32).expand(1, 32, 32) >= 15).long(), target.clone()
    spot[0, 12:20, 4:8] = 1  # the same number of wrong pixels, away from the border
    weights = border_weight_map(target, sigma=2.0)
    near, far = (weighted_confusion_matrix(prediction, target, weights, 2) for prediction in (shifted, spot))
    assert (shifted != target).sum() == (spot != target).sum() == 32
    assert overall_accuracy(near) > 0.99 > 0.97 > overall_accuracy(far) and iou(near)[1] > iou(far)[1]


@quick
@given(seeds, st.sampled_from([1.0, 2.0]), st.sampled_from([0.0, 0.2]))
def test_boundary_iou_equals_brute_force(seed, width, void):
    prediction, target = draw_pair(seed, 3, void)
    keep = target != VOID
    for k, found in enumerate(boundary_iou(prediction, target, 4, width).tolist()):
        bands = []
        for labels in (prediction, target):
            away = [to_nearest((labels != k)[n] & keep[n]) for n in range(len(labels))]
            bands.append(keep & (labels == k) & (torch.from_numpy(np.stack(away)) <= width))
        common, either = ((bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum())
        assert found == pytest.approx(float(common / either), nan_ok=True), "without a band nan"
