"""What every loss keeps to: types of labels, void, precision, memory layout, mirror images, and errors that name."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from tensors import draw_case, gradient, seeds

from cvf20 import losses
from cvf20.labels import VOID

WEIGHT = torch.tensor([0.5, 2.0, 1.0])
watershed = losses.WatershedLoss((0.4, 0.7))
sample = partial(draw_case, 0, block=2)


def all_heads(output, target):
    return sum(watershed(output, target).values())


LOSSES = {  # loss, channels of its logits
    "cross-entropy": (losses.cross_entropy_criterion, 3),
    "weighted": (partial(losses.cross_entropy_criterion, weight=WEIGHT), 3),
    "Dice of classes": (losses.multiclass_dice, 3),
    "cross-entropy and Dice": (partial(losses.cross_entropy_dice, weight=WEIGHT), 3),
    "border of classes": (losses.BorderWeightedLoss(), 3),
    "border": (losses.BorderWeightedLoss(1.0, "emphasise"), 1),
    "binary cross-entropy": (losses.binary_cross_entropy, 1),
    "Dice": (losses.SorensenDiceLoss(), 1),
    "soft-clDice": (losses.SoftClDiceLoss(iterations=2), 1),
    "topology": (losses.TopologyLoss(thresholds=(0.3, 0.5), merge_weight=2.0), 1),
    "topology on Dice": (losses.TopologyLoss(losses.SorensenDiceLoss()), 1),
    "wrong pixels": (losses.WrongPixelLoss(), 1),
    "merge": (losses.merge_loss, 1),
    "watershed": (all_heads, 7),
}
every = pytest.mark.parametrize(("loss", "channels"), LOSSES.values(), ids=LOSSES)
binary = pytest.mark.parametrize("loss", [loss for loss, channels in LOSSES.values() if channels == 1])


@every
def test_labels_are_numbers_whatever_their_type(loss, channels):
    logits, target = sample(channels)
    mask = sample(channels, void=0)[1].clamp(max=1)
    with_void = "uint8 int16 int32 uint16 uint32 float16 bfloat16 float32 float64".split()
    for labels, dtypes in (target, with_void), (mask, ("bool", "int8")):
        value, slope = loss(logits, labels), gradient(loss, logits, labels)
        for same in (labels.to(getattr(torch, dtype)) for dtype in dtypes):
            assert loss(logits, same) == value and gradient(loss, logits, same).equal(slope), same.dtype
    with pytest.raises(ValueError, match="target holds the label -1"):  # in torch int8's −1 equals 255
        loss(logits, mask.to(torch.int8) - 1)


@every
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 0.5, -1.0])
def test_labels_that_are_none_are_named(loss, channels, value):
    logits, target = sample(channels)
    wrong = target.float()
    wrong[1, 2, 3] = value
    with pytest.raises(ValueError, match=f"target holds (the label )?{value:g}, wanted"):
        loss(logits, wrong)
    with pytest.raises(ValueError, match="target"):
        loss(logits, target[:, 1:])
    if loss is not losses.merge_loss:  # which looks at few pixels
        assert loss(torch.full_like(logits, torch.nan), target).isnan(), "but logits may be nan, and so is the loss"


@every
@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, -torch.inf])
def test_nothing_under_void_reaches_loss_or_gradient(loss, channels, value):
    logits, target = sample(channels, void=0.3)
    void = (target == VOID).unsqueeze(1)
    broken = logits.detach().masked_fill(void, value).requires_grad_()
    assert loss(broken, target) == loss(logits, target)
    found = gradient(loss, broken, target)
    torch.testing.assert_close(found, gradient(loss, logits, target), rtol=1e-12, atol=1e-16)
    assert (found.masked_select(void) == 0).all()
    broken, nothing = (logits.detach() + value).requires_grad_(), torch.full_like(target, VOID)
    assert loss(broken, nothing) == 0 and (gradient(loss, broken, nothing) == 0).all()


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, channels, dtype):
    logits, target = sample(channels)
    half = logits.detach().to(dtype).requires_grad_()
    value, slope = loss(half, target), gradient(loss, half, target)
    assert value.dtype == torch.float32 and value == loss(half.float(), target)
    assert slope.dtype == dtype and slope.isfinite().all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(half, target) == value


@every
def test_memory_layout_does_not_matter(loss, channels):
    logits, target = sample(channels)
    strided = torch.stack([logits, logits], -1)[..., 0]
    for same in logits.to(memory_format=torch.channels_last), strided, logits.mT.contiguous().mT:
        found = loss(same, target.mT.contiguous().mT)
        torch.testing.assert_close(found, loss(logits, target), rtol=1e-12, atol=0)


@every
@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_order_of_images_and_mirror_images_do_not_matter(loss, channels, seed):
    logits, target = draw_case(seed, channels, block=2)
    changes = [lambda x: x.roll(1, 0)]
    directed = loss in (losses.merge_loss, all_heads) or getattr(loss, "merge_weight", 0)  # directions, lines
    if not directed:
        changes += [lambda x: x.flip(-1), lambda x: x.transpose(-1, -2)]
    for change in changes:
        torch.testing.assert_close(loss(change(logits), change(target)), loss(logits, target), rtol=1e-6, atol=1e-12)


@every
def test_gradient_by_finite_differences(loss, channels):
    logits, target = draw_case(1, channels, shape=(2, 4, 5), block=2)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)


@binary
def test_a_binary_target_may_have_a_channel_axis(loss):
    logits, target = sample(1)
    assert loss(logits, target.unsqueeze(1)) == loss(logits, target)
    with pytest.raises(ValueError, match="label 2, wanted 0 to 1"):
        loss(logits, torch.full_like(target, 2))


@binary
@pytest.mark.parametrize("size", [(1, 1), (3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empty_full_and_tiny_images_and_extreme_logits(loss, size, dtype):
    """In float32 p² underflows from about −50 on and p itself from −104 on."""
    empty, full = torch.zeros(2, *size, dtype=torch.int64), torch.ones(2, *size, dtype=torch.int64)
    spot = empty.clone()
    spot[0, 0, 0] = 1
    for logit in (-1e4, -200.0, -100.0, -50.0, 0.0, 100.0, 1e4):
        logits = torch.full((2, 1, *size), logit, dtype=dtype, requires_grad=True)
        for target in (empty, full, spot):
            assert 0 <= loss(logits, target) < torch.inf and gradient(loss, logits, target).isfinite().all()
        if abs(logit) == 1e4:
            assert loss(logits, full if logit > 0 else empty) < 1e-6, "right"


@every
def test_a_device_without_float64(loss, channels, put):
    logits, target = sample(channels)
    logits = logits.detach().float()
    assert float(loss(put(logits), put(target))) == pytest.approx(float(loss(logits, target)))
