"""SoftClDiceLoss: its skeleton on shapes whose skeleton is known, its laws and its gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cvf20.labels import VOID
from cvf20.losses import SoftClDiceLoss, SorensenDiceLoss
from cvf20.losses.cldice import soft_skeleton

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**31)


def sample(seed: int, void=0.1, shape=(2, 1, 6, 7)) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, dtype=torch.float64, generator=draw)
    target = torch.randint(0, 2, (shape[0], *shape[2:]), generator=draw)
    target[torch.rand(target.shape, generator=draw) < void] = VOID
    return logits.requires_grad_(), target


def test_skeleton_of_a_bar_is_its_middle_line_and_of_a_line_itself():
    bar = torch.zeros(1, 1, 11, 30)
    bar[..., 3:8, 5:25] = 1
    skeleton = soft_skeleton(bar, 4)[0, 0]
    assert (skeleton[5, 8:22] == 1).all() and (skeleton[:, 8:22].sum(0) == 1).all()
    line = torch.zeros(1, 1, 5, 9)
    line[..., 2, 1:8] = 1
    assert soft_skeleton(line, 3).equal(line)


@quick
@given(seeds)
def test_skeleton_lies_inside_and_more_iterations_only_add(seed):
    values = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    few, many = soft_skeleton(values, 1), soft_skeleton(values, 5)
    assert (few >= 0).all() and (few <= many).all() and (many <= 1).all()
    mask = (values > 0.5).float()
    assert (soft_skeleton(mask, 5) <= mask).all()


@quick
@given(seeds)
def test_laws(seed):
    logits, target = sample(seed)
    loss = SoftClDiceLoss(iterations=3)
    value = loss(logits, target)
    assert 0 <= value <= 1
    for change in (lambda x: x.flip(-1), lambda x: x.roll(1, 0), lambda x: x.transpose(-1, -2)):
        torch.testing.assert_close(loss(change(logits), change(target)), value, rtol=1e-12, atol=0)
    assert SoftClDiceLoss(alpha=0.0)(logits, target) == SorensenDiceLoss()(logits, target)


def test_a_cut_costs_more_cl_dice_than_a_thinner_rim():
    target = torch.zeros(1, 20, 30, dtype=torch.int64)
    target[:, 8:12, 2:28] = 1
    cut, thin = target.clone(), target.clone()
    cut[:, :, 14:16] = 0  # 8 pixels
    thin[:, 8, 8:16] = 0  # 8 pixels
    logits = [(40.0 * prediction - 20).unsqueeze(1) for prediction in (cut, thin, target)]
    cost = [SoftClDiceLoss(alpha=1.0, iterations=4)(x, target) for x in logits]
    assert cost[0] > 0.04 and cost[1] < 1e-6 and cost[2] < 1e-6
    dice = [SorensenDiceLoss()(x, target) for x in logits]
    torch.testing.assert_close(dice[0], dice[1])


def test_gradient_by_finite_differences():
    logits, target = sample(1)
    assert torch.autograd.gradcheck(lambda x: SoftClDiceLoss(iterations=2)(x, target), logits)


def test_void_is_left_out_of_loss_and_gradient():
    logits, target = sample(2, void=0.3)
    loss, void = SoftClDiceLoss(), (target == VOID).unsqueeze(1)
    (gradient,) = torch.autograd.grad(loss(logits, target), logits)
    assert (gradient[void] == 0).all()
    assert loss(torch.where(void, torch.full_like(logits, torch.nan), logits), target) == loss(logits, target)
    nothing = torch.full_like(target, VOID)
    (gradient,) = torch.autograd.grad(loss(logits, nothing), logits)
    assert loss(logits, nothing) == 0 and (gradient == 0).all()


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_empty_full_and_tiny_images(value, logit, size):
    logits = torch.full((2, 1, *size), logit, requires_grad=True)
    loss = SoftClDiceLoss(iterations=2)(logits, torch.full((2, *size), value))
    assert loss.isfinite() and torch.autograd.grad(loss, logits)[0].isfinite().all()
    if abs(logit) > 1:
        assert (loss < 1e-6) == ((logit > 0) == value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layout_and_half_precision(dtype):
    logits, target = sample(3)
    loss = SoftClDiceLoss(iterations=3)
    half = logits.detach().to(dtype)
    assert loss(half, target).dtype == torch.float32 and loss(half, target) == loss(half.float(), target)
    strided = torch.stack([logits, logits], -1)[..., 0]
    torch.testing.assert_close(loss(strided, target), loss(logits, target), rtol=1e-12, atol=0)
    with torch.no_grad():
        logits[0, 0, 0, 0] = torch.nan
    assert loss(logits, target.where(target != VOID, 0)).isnan()


def test_wrong_input_is_named():
    logits, target = sample(4)
    with pytest.raises(ValueError, match=r"wanted \(2, 1, 6, 7\)"):
        SoftClDiceLoss()(logits, target[:, 1:])
    with pytest.raises(ValueError, match="label 3, wanted 0 to 1"):
        SoftClDiceLoss()(logits, torch.full_like(target, 3))
    for choices in ({"alpha": 1.5}, {"iterations": 0}):
        with pytest.raises(ValueError, match="alpha="):
            SoftClDiceLoss(**choices)
