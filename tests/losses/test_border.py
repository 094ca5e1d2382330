"""Border distances and weights by brute force over all pairs of pixels; the loss against its formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import draw_case, draw_labels, quick, seeds, to_nearest

from cvf20.labels import VOID
from cvf20.labels.borders import border_distance
from cvf20.labels.instances import separate_touching
from cvf20.losses import BorderWeightedLoss, border_weight_map, gap_weight_map


def distances_by_brute_force(labels: torch.Tensor) -> torch.Tensor:
    found = torch.full(labels.shape, math.inf)
    for image, distance in zip(labels, found, strict=True):
        for k in set(image.flatten().tolist()) - {VOID}:
            nearest = torch.from_numpy(to_nearest((image != k) & (image != VOID))).float()
            distance[image == k] = nearest[image == k]
    return found


@quick
@given(seeds, st.sampled_from([1, 2, 3, 8]), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.7, 2.0]))
def test_distances_and_weights_equal_brute_force(seed, classes, void, sigma):
    labels = draw_labels(seed, classes, void, block=2)
    distance = distances_by_brute_force(labels)
    torch.testing.assert_close(border_distance(labels), distance)
    near = torch.exp(-distance.square() / (2 * sigma**2))  # without a border 0: all weigh 1
    for sign, weights in ("fade", 1 - near), ("emphasise", 1 + 4 * near):
        found = border_weight_map(labels, sigma, sign, w0=4.0)
        torch.testing.assert_close(found, weights.masked_fill(labels == VOID, 0))


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.7, 3.0]), st.sampled_from([0.0, 0.3]))
def test_gap_weights_equal_the_papers_formula(seed, sigma, void):
    """Void is no cell, and weighs nothing."""
    shape = 1, 9, 10
    cells = draw_labels(seed, 5, void, shape) * (draw_labels(seed + 2, 7, 0, shape) == 0)
    is_void, wanted = cells == VOID, torch.ones(shape)
    distances = [to_nearest(cells[0] == k) for k in set(cells.flatten().tolist()) - {0, VOID}]
    if len(distances) > 1:
        both = torch.from_numpy(np.sort(distances, axis=0)[:2].sum(0))
        wanted += 10 * torch.exp(-both.square() / (2 * sigma**2)) * (cells == 0)
    found = gap_weight_map(torch.where(is_void, VOID, 31 * cells), sigma)
    torch.testing.assert_close(found, wanted.masked_fill(is_void, 0), rtol=1e-5, atol=4e-5)
    line = separate_touching(cells.masked_fill(is_void, 0)[0].numpy())
    parted = torch.where(is_void, VOID, cells * torch.from_numpy(line))
    assert gap_weight_map(cells, sigma, touching=True).equal(gap_weight_map(parted, sigma))


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("sign", ["fade", "emphasise"])
@quick
@given(seed=seeds)
def test_loss_equals_the_formula(classes, sign, seed):
    logits, target = draw_case(seed, classes, block=2)
    x = torch.cat([torch.zeros_like(logits), logits], 1) if classes == 1 else logits
    cost = torch.nn.functional.cross_entropy(x, target, ignore_index=VOID, reduction="none")
    loss, weights = BorderWeightedLoss(1.5, sign), torch.rand(target.shape, dtype=torch.float64)
    wanted = (weights * cost).sum() / (weights * (target != VOID)).sum()
    torch.testing.assert_close(loss(logits, target, weights), wanted, rtol=1e-10, atol=0)
    assert loss(logits, target) == loss(logits, target, border_weight_map(target, 1.5, sign))
    assert loss(logits, target, 0 * weights) == 0


def test_wrong_input_is_named():
    logits, target = draw_case(5, 3)
    with pytest.raises(ValueError, match=r"weight_map has shape \(2, 6\), wanted \(2, 7, 8\)"):
        BorderWeightedLoss()(logits, target, torch.ones(2, 6))
    with pytest.raises(ValueError, match="sign='up', wanted"):
        BorderWeightedLoss(sign="up")(logits, target)
