"""Border distances and weights by brute force over all pairs of pixels; the loss against its formula."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cvf20.labels import VOID
from cvf20.labels.borders import border_distance
from cvf20.losses import (
    BorderWeightedLoss,
    binary_cross_entropy,
    border_weight_map,
    cross_entropy_criterion,
    gap_weight_map,
    touching_gap_weights,
)

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**31)


def draw_labels(seed: int, num_labels=3, void=0.1, shape=(2, 6, 7)) -> torch.Tensor:
    """Blocks of 2 × 2 pixels, some of them void."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_labels, shape, generator=draw)
    labels[torch.rand(shape, generator=draw) < void] = VOID
    return labels.repeat_interleave(2, -1).repeat_interleave(2, -2)[:, : shape[1], : shape[2]].contiguous()


def nearest(image: torch.Tensor, y: int, x: int, counts) -> float:
    """Distance from pixel (y, x) to the nearest pixel whose label counts."""
    pixels = product(range(image.shape[0]), range(image.shape[1]))
    return min((math.hypot(v - y, u - x) for v, u in pixels if counts(int(image[v, u]))), default=math.inf)


def distances_by_brute_force(labels: torch.Tensor) -> torch.Tensor:
    found = torch.full(labels.shape, math.inf)
    for n, y, x in product(*map(range, labels.shape)):
        own = int(labels[n, y, x])
        if own != VOID:
            found[n, y, x] = nearest(labels[n], y, x, lambda other, own=own: other not in (own, VOID))
    return found


@quick
@given(seeds, st.sampled_from([2, 3, 8]), st.sampled_from([0.0, 0.3]))
def test_distance_equals_brute_force(seed, num_labels, void):
    labels = draw_labels(seed, num_labels, void)
    torch.testing.assert_close(border_distance(labels), distances_by_brute_force(labels))


def test_void_and_the_edge_are_no_borders():
    labels = torch.tensor([[[0, 0, VOID, 0, 0], [0, 0, VOID, 0, 0]]])
    assert border_distance(labels).isinf().all()
    assert border_distance(torch.tensor([[[0, 0, VOID, 1]]])).tolist() == [[[3, 2, math.inf, 2]]]
    for sign in ("fade", "emphasise"):
        assert border_weight_map(labels, sign=sign).equal((labels != VOID).float()), "without a border all weigh 1"


def test_fade_and_emphasise_are_two_signs_of_one_bell():
    labels = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1]]])
    near = [math.exp(-(d**2) / (2 * 1.5**2)) for d in (4, 3, 2, 1, 1, 2, 3, 4)]
    fade = border_weight_map(labels, sigma=1.5)[0, 0]
    torch.testing.assert_close(fade, torch.tensor([1 - n for n in near]))
    torch.testing.assert_close(
        border_weight_map(labels, 1.5, "emphasise", w0=4.0)[0, 0], torch.tensor([1 + 4 * n for n in near])
    )
    assert (fade[:4].diff() < 0).all() and (fade < 1).all(), "small at the border, rising inside"


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from([0.7, 3.0]))
def test_gap_weights_equal_the_papers_formula(seed, sigma):
    draw = torch.Generator().manual_seed(seed)
    instances = torch.randint(1, 5, (1, 9, 10), generator=draw) * (torch.rand(1, 9, 10, generator=draw) < 0.12) * 31
    wanted = torch.ones(instances.shape)
    for n, y, x in product(*map(range, instances.shape)):
        if instances[n, y, x] == 0:
            numbers = set(instances[n].flatten().tolist()) - {0}
            d = sorted(nearest(instances[n], y, x, lambda other, k=k: other == k) for k in numbers)
            if len(d) > 1:
                wanted[n, y, x] += 10 * math.exp(-((d[0] + d[1]) ** 2) / (2 * sigma**2))
    torch.testing.assert_close(gap_weight_map(instances, sigma), wanted, rtol=1e-5, atol=4e-5)


# --- the loss -----------------------------------------------------------------------------------------------------


def sample(seed: int, num_classes: int, void=0.1) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, num_classes, 6, 7, dtype=torch.float64, generator=draw)
    return logits.requires_grad_(), draw_labels(seed, max(2, num_classes), void)


classes = pytest.mark.parametrize("num_classes", [1, 3])
signs = pytest.mark.parametrize("sign", ["fade", "emphasise"])


@classes
@signs
@quick
@given(seed=seeds)
def test_loss_equals_the_formula(num_classes, sign, seed):
    logits, target = sample(seed, num_classes)
    x = torch.cat([torch.zeros_like(logits), logits], 1) if num_classes == 1 else logits
    weights = border_weight_map(target, 1.5, sign).double()
    cost = torch.nn.functional.cross_entropy(x, target, ignore_index=VOID, reduction="none")
    wanted = (weights * cost).sum() / weights.sum()
    loss = BorderWeightedLoss(1.5, sign)
    torch.testing.assert_close(loss(logits, target), wanted, rtol=1e-6, atol=0)  # the weights are float32
    assert loss(logits, target, border_weight_map(target, 1.5, sign)) == loss(logits, target)
    if num_classes == 1:
        assert loss(logits, target.unsqueeze(1)) == loss(logits, target)


@classes
def test_weights_of_1_give_the_plain_loss_and_scale_does_not_matter(num_classes):
    logits, target = sample(2, num_classes)
    loss, weights = BorderWeightedLoss(), border_weight_map(target)
    value = loss(logits, target, torch.ones(target.shape))
    plain = binary_cross_entropy if num_classes == 1 else cross_entropy_criterion
    torch.testing.assert_close(value, plain(logits, target), rtol=1e-12, atol=0)
    one_label = torch.zeros_like(target)
    torch.testing.assert_close(loss(logits, one_label), plain(logits, one_label), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss(logits, target, 8 * weights), loss(logits, target, weights), rtol=1e-12, atol=0)
    assert loss(logits, target, torch.zeros(target.shape)) == 0


def test_void_is_no_cell_beside_a_gap():
    cells = torch.tensor([[[1, 1, 0, VOID, VOID, 2, 2]]])
    weights = gap_weight_map(cells)
    assert weights[0, 0, 3:5].tolist() == [0, 0]
    assert weights[0, 0, 2].item() == pytest.approx(1 + 10 * math.exp(-((1 + 3) ** 2) / 50))
    touching = torch.tensor([[[1, 1, 1, 2, 2, VOID]]])
    assert touching_gap_weights(touching)[0, 0].tolist() == pytest.approx([1, 1, 1 + 10 * math.exp(-4 / 50), 1, 1, 0])


def test_wrong_input_is_named():
    logits, target = sample(5, 3)
    with pytest.raises(ValueError, match=r"weight_map has shape \(2, 6\), wanted \(2, 6, 7\)"):
        BorderWeightedLoss()(logits, target, torch.ones(2, 6))
    for value in (-1.0, torch.nan):
        with pytest.raises(ValueError, match="weight_map holds"):
            BorderWeightedLoss()(logits, target, torch.full(target.shape, value))
    with pytest.raises(ValueError, match="instances holds .*, wanted labels: whole numbers"):
        gap_weight_map(target + 0.5)
    with pytest.raises(ValueError, match="sign='up', wanted"):
        BorderWeightedLoss(sign="up")(logits, target)
