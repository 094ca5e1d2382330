"""SoftClDiceLoss: its skeleton on shapes whose skeleton is known, its laws and its gradient."""

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
