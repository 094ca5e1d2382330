"""Dice losses against their formula pixel by pixel; soft-clDice on shapes whose skeleton is known, and its laws."""

import pytest
import torch
from hypothesis import given
from tensors import draw_case, quick, seeds

from cvf20.labels import VOID
from cvf20.losses import SoftClDiceLoss, SorensenDiceLoss, cross_entropy_criterion, cross_entropy_dice, multiclass_dice
from cvf20.losses.dice import soft_skeleton

of_probabilities = SorensenDiceLoss(from_logits=False)


def by_the_formula(p: torch.Tensor, target: torch.Tensor) -> float:
    """Mean over the first axis."""
    total = 0.0
    for image_p, image_t in zip(p.flatten(1).tolist(), target.flatten(1).tolist(), strict=True):
        pairs = [(p, t) for p, t in zip(image_p, image_t, strict=True) if t != VOID]
        total += 1 - 2 * sum(p * t for p, t in pairs) / sum(p * p + t * t for p, t in pairs)
    return total / len(p)


@quick
@given(seeds)
def test_equals_the_formula(seed):
    logits, target = draw_case(seed)
    p = logits.detach().sigmoid()
    wanted = pytest.approx(by_the_formula(p, target), rel=1e-12)
    assert SorensenDiceLoss()(logits, target).item() == wanted and of_probabilities(p, target).item() == wanted


@quick
@given(seeds)
def test_dice_of_classes_is_the_mean_of_the_formula_over_those_that_occur(seed):
    logits, target = draw_case(seed, 4, shape=(2, 2, 3))
    p, wanted = logits.softmax(1), []
    for k in set(target.flatten().tolist()) - {VOID}:
        of_class = torch.where(target == VOID, VOID, (target == k).long())
        wanted.append(by_the_formula(p[:, k].reshape(1, -1), of_class.reshape(1, -1)))
    assert multiclass_dice(logits, target).item() == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)
    both = cross_entropy_criterion(logits, target) + 0.7 * multiclass_dice(logits, target)
    torch.testing.assert_close(cross_entropy_dice(logits, target, dice=0.7), both)


def test_empty_in_both_is_a_perfect_match_empty_in_one_is_not():
    nothing, target = torch.zeros(1, 1, 2, 2, requires_grad=True), torch.zeros(1, 2, 2, dtype=torch.int64)
    loss = of_probabilities(nothing, target)
    loss.backward()
    assert loss == 0 and (nothing.grad == 0).all()
    assert of_probabilities(nothing, target + 1) == of_probabilities(nothing + 0.5, target) == 1
    assert of_probabilities(torch.cat([nothing, nothing]), torch.cat([target, target + 1])) == 0.5, "of the batch"


def test_probabilities_out_of_range_are_named_but_not_under_void():
    p, target = torch.tensor([[[[0.5, 1.5]]]]), torch.tensor([[[1, 1]]])
    with pytest.raises(ValueError, match=r"prediction holds 1.5, wanted probabilities .*from_logits=True"):
        of_probabilities(p, target)
    target[..., 1] = VOID
    assert of_probabilities(p, target).item() == pytest.approx(1 - 2 * 0.5 / 1.25)


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
