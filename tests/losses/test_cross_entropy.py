"""Cross-entropy against torch, value and gradient, and the laws of weights."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensors import draw_case, quick, seeds
from torch.nn import functional as F

from cvf20.labels import VOID
from cvf20.losses import binary_cross_entropy, cross_entropy_criterion

SHAPES = [(2, 7, 8), (2, 17), (2, 3, 4, 5), (30,)]  # any number of spatial axes
scales = st.sampled_from([0.1, 3.0, 300.0])


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, logits: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    slopes = (torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs))
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)


@quick
@given(seeds, st.booleans(), scales, st.sampled_from(SHAPES))
def test_of_classes_is_torchs(seed, weighted, scale, shape):
    logits, target = draw_case(seed, 5, shape=shape, scale=scale)
    weight = torch.rand(5, dtype=torch.float64) + 0.1 if weighted else None
    oracle = F.cross_entropy(logits, target, weight, ignore_index=VOID)
    assert_same(cross_entropy_criterion(logits, target, weight), oracle, logits)


@quick
@given(seeds, scales)
def test_binary_is_torchs(seed, scale):
    logits, target = draw_case(seed, scale=scale)
    kept = target != VOID
    oracle = F.binary_cross_entropy_with_logits(logits[:, 0][kept], target[kept].double())
    assert_same(binary_cross_entropy(logits, target), oracle, logits)


def test_a_class_of_weight_0_is_void():
    logits, target = draw_case(4, 5)
    loss = partial(cross_entropy_criterion, weight=torch.tensor([1.0, 3.0, 0.0, 0.5, 2.0]))
    void = target.where(target != 2, VOID)
    assert_same(loss(logits, target), loss(logits, void), logits)
    assert loss(logits, target, weight=torch.zeros(5)) == 0


def test_small_losses_are_not_rounded_to_0():
    small = binary_cross_entropy(torch.full((1, 1, 1, 1), 50.0), torch.ones(1, 1, 1))
    assert small.item() == pytest.approx(math.exp(-50), rel=1e-5)


def test_wrong_input_is_named():
    logits, target = draw_case(9, 5)
    with pytest.raises(ValueError, match=r"weight must have shape \(5,\), found \(4,\)"):
        cross_entropy_criterion(logits, target, torch.ones(4))
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\), found \(2, 5, 7, 8\)"):
        binary_cross_entropy(logits, target)
