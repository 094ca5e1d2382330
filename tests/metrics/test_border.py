"""Border metrics against the unweighted confusion matrix, scikit-learn and bands by brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix
from tensors import draw_pair, quick, seeds, to_nearest

from cvf20.labels import VOID
from cvf20.metrics import boundary_iou, weighted_confusion_matrix


@quick
@given(seeds)
def test_weighted_confusion_equals_scikit_learn(seed):
    prediction, target = draw_pair(seed, 3)
    keep, weights = target != VOID, torch.rand(target.shape)
    pair, kept = (x[keep].numpy() for x in (target, prediction)), weights[keep].double().numpy()
    oracle = torch.from_numpy(confusion_matrix(*pair, labels=range(3), sample_weight=kept))
    torch.testing.assert_close(weighted_confusion_matrix(prediction, target, weights, 3), oracle)


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
