"""SoftClDiceLoss: its skeleton on shapes whose skeleton is known, and its laws."""

import torch
from tensors import draw_case

from cvf20.losses import SoftClDiceLoss, SorensenDiceLoss
from cvf20.losses.cldice import soft_skeleton


def test_skeleton_of_a_bar_is_its_middle_line_and_of_a_line_itself():
    bar, line = torch.zeros(1, 1, 11, 30), torch.zeros(1, 1, 5, 9)
    bar[..., 3:8, 5:25] = line[..., 2, 1:8] = 1
    skeleton = soft_skeleton(bar, 4)[0, 0]
    assert (skeleton[5, 8:22] == 1).all() and (skeleton[:, 8:22].sum(0) == 1).all()
    assert soft_skeleton(line, 3).equal(line)


def test_a_cut_costs_more_cl_dice_than_a_thinner_rim():
    target = torch.zeros(1, 20, 30, dtype=torch.int64)
    target[:, 8:12, 2:28] = 1
    cut, thin = target.clone(), target.clone()
    cut[:, :, 14:16] = thin[:, 8, 8:16] = 0  # 8 pixels either way
    logits = [(40.0 * prediction - 20).unsqueeze(1) for prediction in (cut, thin, target)]
    cost = [SoftClDiceLoss(alpha=1.0, iterations=4)(x, target) for x in logits]
    assert cost[0] > 0.04 and cost[1] < 1e-6 and cost[2] < 1e-6
    dice = [SorensenDiceLoss()(x, target) for x in logits]
    torch.testing.assert_close(dice[0], dice[1])


def test_alpha_blends_dice_and_cl_dice():
    logits, target = draw_case(0)
    blend, skeletons = (SoftClDiceLoss(alpha, iterations=2)(logits, target) for alpha in (0.3, 1.0))
    torch.testing.assert_close(blend, 0.7 * SorensenDiceLoss()(logits, target) + 0.3 * skeletons)
