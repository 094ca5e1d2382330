"""Border metrics against the unweighted confusion matrix, scikit-learn and bands by brute force."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from cvf20.labels import VOID
from cvf20.losses import border_weight_map
from cvf20.metrics import boundary_iou, compute_confusion_matrix, iou, overall_accuracy, weighted_confusion_matrix

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**31)


def draw(seed: int, k=3, void=0.1, shape=(2, 6, 7)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prediction, target with void, and weights."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, k, shape, generator=generator)
    wrong = torch.rand(shape, generator=generator) < 0.3
    prediction = torch.where(wrong, torch.randint(0, k, shape, generator=generator), target)
    target[torch.rand(shape, generator=generator) < void] = VOID
    return prediction, target, torch.rand(shape, generator=generator)


@quick
@given(seeds)
def test_weighted_confusion_equals_scikit_learn(seed):
    prediction, target, weights = draw(seed)
    keep = target != VOID
    oracle = confusion_matrix(
        *(x[keep].numpy() for x in (target, prediction)), labels=range(3), sample_weight=weights[keep].double().numpy()
    )
    torch.testing.assert_close(weighted_confusion_matrix(prediction, target, weights, 3), torch.from_numpy(oracle))
    plain = weighted_confusion_matrix(prediction, target, torch.ones_like(weights), 3)
    assert plain.equal(compute_confusion_matrix(prediction, target, 3).double())


def test_a_shifted_border_hardly_counts_where_borders_fade():
    target = (torch.arange(32).expand(1, 32, 32) >= 16).long()
    shifted, spot = target.roll(1, -1).clone(), target.clone()
    shifted[..., 0] = 0
    spot[0, 12:20, 4:8] = 1  # the same number of wrong pixels, away from the border
    weights = border_weight_map(target, sigma=2.0)

    def scores(prediction):
        confusion = weighted_confusion_matrix(prediction, target, weights, 2)
        return overall_accuracy(confusion), iou(confusion)[1]

    assert (shifted != target).sum() == (spot != target).sum() == 32
    assert scores(shifted)[0] > 0.99 > 0.97 > scores(spot)[0]
    assert scores(shifted)[1] > scores(spot)[1]


def band(labels: torch.Tensor, k: int, width: float, keep: torch.Tensor) -> set[tuple[int, ...]]:
    """Pixels of class k that are at most `width` from a pixel of another class, void left out."""
    found = set()
    for n in range(len(labels)):
        pixels = [(y, x) for y, x in product(*map(range, labels.shape[1:])) if keep[n, y, x]]
        others = [p for p in pixels if labels[n][p] != k]
        mine = [p for p in pixels if labels[n][p] == k]
        found |= {(n, *p) for p in mine if any(math.dist(p, q) <= width for q in others)}
    return found


@quick
@given(seeds, st.sampled_from([1.0, 2.0]), st.sampled_from([0.0, 0.2]))
def test_boundary_iou_equals_brute_force(seed, width, void):
    prediction, target, _ = draw(seed, void=void)
    keep = target != VOID
    for k, found in enumerate(boundary_iou(prediction, target, 3, width).tolist()):
        predicted, true = band(prediction, k, width, keep), band(target, k, width, keep)
        assert found == pytest.approx(len(predicted & true) / len(predicted | true))


def test_a_class_without_a_band_has_no_boundary_iou():
    _, target, _ = draw(0, void=0)
    assert boundary_iou(target, target, 5)[3:].isnan().all()
    assert boundary_iou(target, torch.full_like(target, VOID), 3).isnan().all()


def test_wrong_weights_are_named():
    prediction, target, weights = draw(0)
    with pytest.raises(ValueError, match=r"weight_map has shape \(1, 6, 7\), wanted \(2, 6, 7\)"):
        weighted_confusion_matrix(prediction, target, weights[:1], 3)
    for value in (-1.0, torch.nan):
        with pytest.raises(ValueError, match=f"weight_map holds {value:g}, wanted weights ≥ 0"):
            weighted_confusion_matrix(prediction, target, weights.masked_fill(weights > 0, value), 3)
