"""critical_components against its definition by brute force; TopologyLoss, its control and the merge term."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from tensors import draw_case, gradient, quick, seeds
from torch.nn import functional as F

from cvf20.labels import VOID
from cvf20.labels.instances import separate_touching
from cvf20.losses import TopologyLoss, WrongPixelLoss, binary_cross_entropy, critical_components, merge_loss
from cvf20.losses.border import BorderWeightedLoss
from cvf20.losses.topology import REACH, valleys

STRUCTURE = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}
SHAPES = [(30, 6, 7)] * 4 + [(1, 1, 1), (3, 1, 5), (2, 7, 1), (0, 4, 4)]


def draw_masks(seed: int, density: float, wrong: float, shape=(30, 6, 7)) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=draw) < density
    return target ^ (torch.rand(shape, generator=draw) < wrong), target


def by_definition(prediction: torch.Tensor, target: torch.Tensor, connectivity: int, holes=False) -> torch.Tensor:
    """Every component of mistakes of every image, added to the correct foreground by itself."""
    critical, count = torch.zeros_like(prediction), lambda mask: ndimage.label(mask, STRUCTURE[connectivity])[1]
    for image, (p, t) in enumerate(zip(prediction.numpy(), target.numpy(), strict=True)):
        for wrong in (p & ~t, t & ~p):
            labels, number = ndimage.label(wrong, STRUCTURE[connectivity])
            for component in (labels == i for i in range(1, number + 1)):
                if count(p & t | component) != count(p & t):
                    critical[image] |= torch.from_numpy(component)
    if holes:
        critical |= by_definition(~prediction, ~target, 12 - connectivity)
    return critical


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("holes", [False, True])
@quick
@given(seeds, st.floats(0, 1), st.floats(0, 1), st.sampled_from(SHAPES))
def test_critical_components_equal_the_definition(connectivity, holes, seed, density, wrong, shape):
    prediction, target = draw_masks(seed, density, wrong, shape)  # some 600 images for each of the four choices
    found = critical_components(prediction, target, connectivity, holes)
    assert found.equal(by_definition(prediction, target, connectivity, holes))


@quick
@given(seeds, st.sampled_from([(0.5,), (0.3,), (0.2, 0.5, 0.9)]), st.booleans())
def test_penalised_pixels_count_1_plus_weight_times(seed, thresholds, control):
    """The critical ones, and all that are wrong in the control."""
    logits, target = draw_case(seed)
    keep = target != VOID
    times = torch.zeros(target.shape, dtype=torch.float64)
    for threshold in thresholds:
        prediction = (logits.detach().sigmoid().squeeze(1) > threshold) & keep
        wrong = prediction ^ (target == 1) if control else by_definition(prediction, target == 1, 4)
        times += wrong.double() / len(thresholds)
    costs = F.binary_cross_entropy_with_logits(logits.squeeze(1), (target == 1).double(), reduction="none")
    wanted = ((1 + 7 * times) * costs)[keep].sum() / keep.sum()
    loss = (WrongPixelLoss if control else TopologyLoss)(weight=7.0, thresholds=thresholds)
    torch.testing.assert_close(loss(logits, target), wanted, rtol=1e-9, atol=0)
    slope = torch.autograd.grad(wanted, logits)[0]
    torch.testing.assert_close(gradient(loss, logits, target), slope, rtol=1e-9, atol=1e-14)


def test_warm_up_raises_the_strength_from_start_to_end():
    logits, target = draw_case(7)
    loss = TopologyLoss(weight=4.0, warm_up=(0.2, 0.6), merge_weight=1.0)
    full, base = loss(logits, target), binary_cross_entropy(logits, target)
    assert full > base, "without a word about progress the penalty is there in full"
    for share, strength in ((0, 0), (0.2, 0), (0.3, 0.25), (0.6, 1), (1, 1)):
        loss.set_progress(share)
        torch.testing.assert_close(loss(logits, target), base + strength * (full - base), rtol=1e-12, atol=1e-14)


def test_weight_map_reaches_the_base():
    logits, target = draw_case(8)
    base, weights = BorderWeightedLoss(), torch.rand(target.shape)
    assert TopologyLoss(base, weight=0.0)(logits, target, weights) == base(logits, target, weights)


def touching_cells(seed: int) -> torch.Tensor:
    """(2, 16, 19) bool: regions around random points, some left empty, parted by lines of one pixel."""
    draw, images = np.random.default_rng(seed), []
    for _ in range(2):
        points = draw.uniform((0, 0), (16, 19), (draw.integers(2, 8), 2))
        region = np.linalg.norm(np.indices((16, 19))[None] - points[:, :, None, None], axis=1).argmin(0)
        images.append(separate_touching((region + 1) * (draw.random(len(points)) < 0.8)[region]))
    return torch.from_numpy(np.stack(images)) == 1


def gap_by_definition(label: np.ndarray) -> np.ndarray:
    """(H, W) bool: the background pixels with two cells among their eight neighbours."""
    around = [set(label[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].flat) - {0} for y, x in np.ndindex(label.shape)]
    return (label == 0) & (np.reshape([len(cells) for cells in around], label.shape) > 1)


@quick
@given(seeds, st.booleans())
def test_a_cut_along_the_valleys_parts_all_touching_cells(seed, wild):
    cells = draw_masks(seed, 0.55, 0, (4, 9, 10))[1] if wild else touching_cells(seed)
    logits = torch.randn(cells.shape, generator=torch.Generator().manual_seed(seed))
    cuts = valleys(logits, cells).numpy()
    for mask, cut in zip(cells.numpy(), cuts, strict=True):
        label = ndimage.label(mask)[0]
        gap = gap_by_definition(label)
        if not gap.any():
            assert not cut.any()
            continue
        steps = np.abs(np.indices(gap.shape)[:, None] - np.argwhere(gap).T[..., None, None]).sum(0).min(0)
        assert (steps[cut] <= REACH).all() and not (cut & ~mask & ~gap).any(), "the line stays where the gap may be"
        away = {k: min(REACH + 1, steps[label == k].max()) for k in np.unique(label[mask])}
        core = mask & (steps >= np.vectorize(away.get, otypes=[int])(label, 0))
        joined = ndimage.label((mask | gap) & ~cut)[0]
        owners = {(int(joined[at]), int(label[at])) for at in map(tuple, np.argwhere(core))}
        assert 0 not in {component for component, _ in owners}, "and off the cores of the cells"
        assert len(owners) == len({component for component, _ in owners}), "no two of which it leaves joined"


@pytest.mark.parametrize("displaced", [-3, -2, -1, 0, 1, 2, 3])
def test_the_valley_is_where_the_logits_are_lowest_near_the_gap(displaced):
    cells = torch.ones(1, 6, 13, dtype=torch.bool)
    cells[..., 6] = False
    logits = torch.full(cells.shape, 3.0)
    logits[..., 6 + displaced] = -1.0
    (columns,) = valleys(logits, cells)[0].all(0).nonzero(as_tuple=True)
    assert len(columns) == 1, "a line of one pixel"
    assert (columns.item() == 6 + displaced) == (abs(displaced) <= REACH)


@quick
@given(seeds)
def test_merge_loss_is_the_cross_entropy_of_the_valleys(seed):
    logits, target = draw_case(seed)
    keep, scores = target != VOID, logits.squeeze(1)
    valley = valleys(scores.masked_fill(~keep, -torch.inf), target == 1) & keep
    wanted = F.softplus(scores[valley]).sum() / keep.sum()
    torch.testing.assert_close(merge_loss(logits, target), wanted, rtol=1e-12, atol=0)
    assert (gradient(merge_loss, logits, target).squeeze(1) != 0).equal(valley)


def test_wrong_input_is_named():
    prediction, target = draw_masks(0, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"one shape, found \(30, 6, 7\) and \(30, 5, 7\)"):
        critical_components(prediction, target[:, 1:])
    with pytest.raises(ValueError, match="target must be .* bool, found .* torch.int64"):
        critical_components(prediction, target.long())
    with pytest.raises(ValueError, match="connectivity=6: expected 4 or 8"):
        critical_components(prediction, target, 6)
