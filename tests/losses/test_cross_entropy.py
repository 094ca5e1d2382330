"""Cross-entropy against torch, value and gradient, and the laws of void and weights."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cvf20.labels import VOID
from cvf20.losses import binary_cross_entropy, cross_entropy_criterion, smoothed_cross_entropy

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**31)


def sample(seed: int, k=5, void=0.2, scale=3.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """float64 logits (2, k, 4, 6), target (2, 4, 6) with void, and class weights (k,)."""
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, k, 4, 6, dtype=torch.float64, generator=draw)
    target = torch.randint(0, max(k, 2), (2, 4, 6), generator=draw)
    target[torch.rand(2, 4, 6, generator=draw) < void] = VOID
    return logits.requires_grad_(), target, torch.rand(k, dtype=torch.float64, generator=draw) + 0.1


def value_and_gradient(loss: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, logits: torch.Tensor) -> None:
    for mine, oracle in zip(value_and_gradient(ours, logits), value_and_gradient(theirs, logits), strict=True):
        torch.testing.assert_close(mine, oracle, rtol=1e-10, atol=1e-12)


@quick
@given(seeds, st.booleans(), st.sampled_from([0.1, 3.0, 300.0]))
def test_cross_entropy_equals_torch(seed, weighted, scale):
    logits, target, weight = sample(seed, scale=scale)
    weight = weight if weighted else None
    assert_same(
        cross_entropy_criterion(logits, target, weight),
        F.cross_entropy(logits, target, weight, ignore_index=VOID),
        logits,
    )


@quick
@given(seeds, st.booleans(), st.sampled_from([0.0, 0.1, 0.7]))
def test_smoothing_is_torchs(seed, weighted, smoothing):
    logits, target, weight = sample(seed)
    weight = weight if weighted else None
    oracle = F.cross_entropy(logits, target, weight, ignore_index=VOID, label_smoothing=smoothing)
    assert_same(smoothed_cross_entropy(logits, target, smoothing, weight), oracle, logits)


@quick
@given(seeds, st.sampled_from([0.1, 3.0, 300.0]))
def test_binary_cross_entropy_equals_torch(seed, scale):
    logits, target, _ = sample(seed, k=1, scale=scale)
    kept = target != VOID
    oracle = F.binary_cross_entropy_with_logits(logits[:, 0][kept], target[kept].double())
    assert_same(binary_cross_entropy(logits, target), oracle, logits)
    assert binary_cross_entropy(logits, target.unsqueeze(1)) == binary_cross_entropy(logits, target)


def test_weights_count_pixels_relative_to_each_other():
    logits, target, weight = sample(4)
    value = cross_entropy_criterion(logits, target, weight)
    torch.testing.assert_close(cross_entropy_criterion(logits, target, 7 * weight), value, rtol=1e-12, atol=0)
    without_class_2 = cross_entropy_criterion(logits, target, weight * (torch.arange(5) != 2))
    as_void = cross_entropy_criterion(logits, target.where(target != 2, VOID), weight)
    torch.testing.assert_close(without_class_2, as_void, rtol=1e-12, atol=0)
    assert cross_entropy_criterion(logits, target, torch.zeros(5)) == 0


def test_extreme_logits_stay_finite_and_exact():
    target = torch.tensor([[[0, 1]]])
    for size in (50.0, 1e4):
        right = torch.tensor([-size, size]).reshape(1, 1, 1, 2).requires_grad_()
        value, gradient = value_and_gradient(binary_cross_entropy(-right, target), right)
        assert value == size and gradient.isfinite().all() and gradient.abs().sum() == 1
    small = binary_cross_entropy(torch.full((1, 1, 1, 1), 50.0), torch.ones(1, 1, 1, dtype=torch.int64))
    assert small.item() == pytest.approx(math.exp(-50), rel=1e-5)  # not rounded to 0


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5, 6), (4, 3)])
def test_any_number_of_spatial_axes(shape):
    logits, target = torch.randn(shape), torch.randint(0, 3, shape[:1] + shape[2:])
    torch.testing.assert_close(cross_entropy_criterion(logits, target), F.cross_entropy(logits, target))


def test_wrong_input_is_named():
    logits, target, weight = sample(9)
    with pytest.raises(ValueError, match=r"target \(2, 4, 5\).*logits \(2, 5, 4, 6\)"):
        cross_entropy_criterion(logits, target[..., 1:])
    with pytest.raises(ValueError, match=r"weight must have shape \(5,\), found \(4,\)"):
        cross_entropy_criterion(logits, target, weight[1:])
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\), found \(2, 5, 4, 6\)"):
        binary_cross_entropy(logits, target)
    with pytest.raises(ValueError, match=r"target has shape \(1, 4, 6\), wanted \(2, 1, 4, 6\)"):
        binary_cross_entropy(logits[:, :1], target[:1])
    with pytest.raises(ValueError, match="target holds the label 5, wanted 0 to 4"):
        cross_entropy_criterion(logits, torch.full_like(target, 5))
