"""Smoothed cross-entropy against torch's own; Dice over the classes against single pixels counted by hand; laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cvf20.labels import VOID
from cvf20.losses import CrossEntropyDice, multiclass_dice, smoothed_cross_entropy

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**31)


def draw_case(seed: int, n=2, k=4, h=5, w=6, void=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, k, h, w, generator=generator, dtype=torch.float64)
    target = torch.randint(0, k, (n, h, w), generator=generator)
    target[torch.rand(n, h, w, generator=generator) < void] = VOID
    weight = torch.rand(k, generator=generator, dtype=torch.float64) + 0.1
    return logits.requires_grad_(), target, weight


@quick
@given(seeds, st.sampled_from([0.0, 0.1, 0.7]), st.booleans())
def test_smoothing_is_torchs(seed, smoothing, weighted):
    logits, target, weight = draw_case(seed)
    weight = weight if weighted else None
    ours = smoothed_cross_entropy(logits, target, smoothing, weight)
    theirs = F.cross_entropy(logits, target, weight, ignore_index=VOID, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def dice_by_pixels(logits, target):
    """The formula, one pixel after the other."""
    p, terms = logits.softmax(1), []
    for k in range(logits.shape[1]):
        overlap = size = square = 0.0
        for n, y, x in torch.cartesian_prod(*(torch.arange(s) for s in target.shape)).tolist():
            if target[n, y, x] != VOID:
                t, q = float(target[n, y, x] == k), float(p[n, k, y, x])
                overlap, size, square = overlap + t * q, size + t, square + q * q
        if size:
            terms.append(1 - 2 * overlap / (square + size))
    return sum(terms) / len(terms)


@quick
@given(seeds)
def test_dice_is_the_formula(seed):
    logits, target, _ = draw_case(seed, n=1, h=3, w=3)
    logits = logits.detach()
    if (target == VOID).all():
        return
    assert float(multiclass_dice(logits, target)) == pytest.approx(dice_by_pixels(logits, target), abs=1e-9)


def test_both_together():
    logits, target, weight = draw_case(5)
    loss = CrossEntropyDice(weight, smoothing=0.1, dice=0.7)
    expected = smoothed_cross_entropy(logits, target, 0.1, weight) + 0.7 * multiclass_dice(logits, target)
    torch.testing.assert_close(loss(logits, target), expected)
