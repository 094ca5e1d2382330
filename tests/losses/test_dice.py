"""SorensenDiceLoss against its formula pixel by pixel, torch's gradients, and the laws of void and empty images."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cvf20.labels import VOID
from cvf20.losses import CrossEntropyDice, SorensenDiceLoss, multiclass_dice, smoothed_cross_entropy

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**31)


def sample(seed: int, void=0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """float64 logits (3, 1, 4, 5) and target (3, 4, 5) with void."""
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, 1, 4, 5, dtype=torch.float64, generator=draw)
    target = torch.randint(0, 2, (3, 4, 5), generator=draw)
    target[torch.rand(3, 4, 5, generator=draw) < void] = VOID
    return logits.requires_grad_(), target


def by_the_formula(p: torch.Tensor, target: torch.Tensor) -> float:
    total = 0.0
    for image_p, image_t in zip(p.flatten(1).tolist(), target.flatten(1).tolist(), strict=True):
        pairs = [(p, t) for p, t in zip(image_p, image_t, strict=True) if t != VOID]
        total += 1 - 2 * sum(p * t for p, t in pairs) / sum(p * p + t * t for p, t in pairs)
    return total / len(p)


@quick
@given(seeds)
def test_equals_the_formula(seed):
    logits, target = sample(seed)
    p = logits.detach().sigmoid()
    wanted = by_the_formula(p, target)
    assert SorensenDiceLoss()(logits, target).item() == pytest.approx(wanted, rel=1e-12)
    assert SorensenDiceLoss()(logits, target.unsqueeze(1)).item() == pytest.approx(wanted, rel=1e-12)
    assert SorensenDiceLoss(from_logits=False)(p, target).item() == pytest.approx(wanted, rel=1e-12)


@quick
@given(seeds)
def test_dice_of_classes_is_the_mean_of_the_formula_over_those_that_occur(seed):
    draw = torch.Generator().manual_seed(seed)
    logits, target = 3 * torch.randn(2, 4, 3, 3, generator=draw), torch.randint(0, 4, (2, 3, 3), generator=draw)
    target[0, 0] = VOID
    p, wanted = logits.softmax(1), []
    for k in set(target.flatten().tolist()) - {VOID}:
        of_class = torch.where(target == VOID, VOID, (target == k).long())
        wanted.append(by_the_formula(p[:, k].reshape(1, -1), of_class.reshape(1, -1)))
    assert multiclass_dice(logits, target).item() == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)
    weight = torch.rand(4, generator=draw)
    both = smoothed_cross_entropy(logits, target, 0.1, weight) + 0.7 * multiclass_dice(logits, target)
    torch.testing.assert_close(CrossEntropyDice(weight, smoothing=0.1, dice=0.7)(logits, target), both)


@quick
@given(seeds)
def test_dice_of_x_with_x_is_1(seed):
    _, target = sample(seed)
    itself = target.where(target != VOID, 0).double().unsqueeze(1)
    assert SorensenDiceLoss(from_logits=False)(itself, target) == 0
    assert SorensenDiceLoss(from_logits=False)(1 - itself, target.where(target != VOID, 0)) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logit", [-1e4, -200.0, -100.0, -50.0, 0.0, 100.0])
@pytest.mark.parametrize("foreground", [0, 1])
def test_extreme_logits_have_finite_gradients(dtype, logit, foreground):
    """In float32 p² underflows from about −50 on and p itself from −104 on."""
    logits = torch.full((1, 1, 2, 2), logit, dtype=dtype, requires_grad=True)
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    target[0, 0, 0] = foreground
    loss = SorensenDiceLoss()(logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert 0 <= loss <= 1 and gradient.isfinite().all()


def test_empty_in_both_is_a_perfect_match_empty_in_one_is_not():
    nothing, target = torch.zeros(1, 1, 2, 2, requires_grad=True), torch.zeros(1, 2, 2, dtype=torch.int64)
    loss = SorensenDiceLoss(from_logits=False)(nothing, target)
    loss.backward()
    assert loss == 0 and (nothing.grad == 0).all()
    assert SorensenDiceLoss(from_logits=False)(nothing, target + 1) == 1
    assert SorensenDiceLoss(from_logits=False)(nothing + 0.5, target) == 1
    half_of_the_batch = SorensenDiceLoss(from_logits=False)(
        torch.cat([nothing, nothing]), torch.cat([target, target + 1])
    )
    assert half_of_the_batch == 0.5


def test_sums_beyond_the_range_of_half_precision():
    logits = torch.randn(2, 1, 300, 300).half()  # float16 ends at 65504
    target = torch.randint(0, 2, (2, 300, 300))
    assert SorensenDiceLoss()(logits, target) == SorensenDiceLoss()(logits.float(), target)


def test_probabilities_out_of_range_are_named_but_not_under_void():
    p, target = torch.tensor([[[[0.5, 1.5]]]]), torch.tensor([[[1, 1]]])
    with pytest.raises(ValueError, match=r"prediction holds 1.5, wanted probabilities .*from_logits=True"):
        SorensenDiceLoss(from_logits=False)(p, target)
    target[..., 1] = VOID
    assert SorensenDiceLoss(from_logits=False)(p, target).item() == pytest.approx(1 - 2 * 0.5 / 1.25)
