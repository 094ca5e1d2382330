import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tensors import draw_labels, ellipse, gradient, perfect_output, to_nearest

from cvf20.labels import VOID
from cvf20.losses import WatershedLoss, watershed_targets
from cvf20.losses.watershed import angular_loss, balanced_cross_entropy, boundary_distance


@settings(max_examples=150, deadline=None)
@given(
    arrays(np.int64, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.sampled_from([0, 4, 4, 900, VOID]))
)
def test_distance_is_that_to_the_nearest_pixel_of_something_else(labels):
    distance, direction, weight = boundary_distance(labels)
    outside = np.isin(labels, (0, VOID))
    assert not distance[outside].any() and not direction[:, outside].any()
    assert np.array_equal(weight[outside], labels[outside] == 0)
    for number in set(labels[~outside]):
        mine, others = labels == number, (labels != number) & (labels != VOID)
        np.testing.assert_allclose(distance[mine], to_nearest(others)[mine], rtol=1e-6)
        np.testing.assert_allclose(weight[mine], mine.sum() ** -0.5, rtol=1e-6)
    length = np.hypot(*direction)
    assert np.all((length == 0) | (abs(length - 1) < 1e-5))


def test_direction_of_a_disc_points_to_its_centre():
    labels = ellipse(20, 20, 15, shape=(41, 41)).astype(np.int64)
    distance, direction, _ = boundary_distance(labels)
    rows, columns = np.indices(labels.shape) - 20
    radius = np.hypot(rows, columns)
    ring = (labels > 0) & (radius > 3)
    cosine = -(direction * np.stack([rows, columns])).sum(0)[ring] / radius[ring]
    assert cosine.mean() > 0.99 and cosine.min() > 0.85
    assert not direction[:, 20, 20].any(), "at the centre no way is down"
    assert np.allclose(boundary_distance(labels, relative=True)[0], distance / distance.max())


def test_bins_follow_the_edges_and_leave_void_out():
    labels = torch.tensor([[0, 8, 8, 8, 8, 8, VOID]])  # distances 1, 2, 3, 4, 5: void hides the other side
    targets = watershed_targets(labels[None], (1.0, 2.5), relative=False)
    assert targets.energy[0].tolist() == [[0, 1, 2, 3, 3, 3, VOID]]
    assert targets.foreground[0].tolist() == [[0, 1, 1, 1, 1, 1, VOID]]
    assert targets.direction[0, 1, 0, 1:5].tolist() == [1, 1, 1, 1] and not targets.direction[0, 0].any()
    whole = watershed_targets(torch.full((1, 2, 3), 7), (1.0, 2.5), relative=False)
    assert whole.energy.eq(3).all() and not whole.direction.any(), "one instance fills the image"


def test_a_perfect_output_costs_nothing_and_every_part_notices_its_own_error():
    loss = WatershedLoss()
    target = torch.from_numpy(ellipse(12, 12, 9, shape=(25, 25))).long()[None]
    target[:, :3] = VOID
    output = perfect_output(target, loss.edges)
    assert all(float(part) < 1e-6 for part in loss(output, target).values())
    heads = output.split([1, loss.bins, 2], dim=1)
    for head, name in enumerate(("foreground", "energy", "direction")):
        parts = loss(torch.cat([-each if each is heads[head] else each for each in heads], 1), target)
        assert parts.pop(name) > 1 and all(float(part) < 1e-6 for part in parts.values())
    wrong = torch.cat([*heads[:2], -heads[2]], 1)
    assert float(loss(wrong, target)["direction"]) == pytest.approx(math.pi**2, rel=1e-4)


def test_angles_do_not_depend_on_the_length_of_the_prediction():
    angle = torch.linspace(-3, 3, 13, dtype=torch.float64)
    true = torch.stack([0 * angle, 1 + 0 * angle])[None, :, None]
    prediction, weight = torch.stack([angle.sin(), angle.cos()])[None, :, None], torch.ones(1, 1, 13)
    for length in (1e-3, 1, 50):
        torch.testing.assert_close(angular_loss(length * prediction, true, weight), angle.square().mean())
    nothing = torch.zeros_like(prediction, requires_grad=True)
    assert angular_loss(nothing, true, weight).item() == pytest.approx((math.pi / 2) ** 2)
    assert not gradient(angular_loss, nothing, true, weight).any()


def test_balanced_cross_entropy_is_the_mean_of_the_classes_means():
    logits, target = torch.randn(2, 4, 5, 6), draw_labels(2, 3, shape=(2, 5, 6))  # class 3 does not occur
    weight = torch.rand(2, 5, 6)
    values = -logits.log_softmax(1).gather(1, target.clamp(max=3)[:, None])[:, 0]
    expected = [(weight * values)[target == k].sum() / weight[target == k].sum() for k in range(3)]
    torch.testing.assert_close(balanced_cross_entropy(logits, target, weight), torch.stack(expected).mean())


def test_wrong_edges_are_named():
    for edges, relative in ((2, 1), False), ((0, 1), False), ((0.5, 1), True), ((1, 1), False):
        with pytest.raises(ValueError, match="edges="):
            WatershedLoss(edges, relative)
