import pytest
import torch
from tensors import ellipse, perfect_output

from cvf20.instances import classical_watershed, deep_watershed, flatten_masks, watershed_metrics
from cvf20.labels import VOID
from cvf20.labels.instances import instance_masks, instance_numbers
from cvf20.metrics.instance import match_instances

EDGES = (0.1, 0.25, 0.45, 0.7)


def draw(shapes, size):
    """(1, H, W) labels of ellipses (row, column, height, width) by their number."""
    labels = torch.zeros(1, *size, dtype=torch.int64)
    for number, shape in shapes.items():
        labels[0, torch.from_numpy(ellipse(*shape, shape=size))] = number
    return labels


def people():
    """Three upright ellipses of which two touch, one cut by the border; numbers with gaps."""
    return draw({3: (30, 15, 22, 8), 12: (30, 29, 22, 8), 700: (40, 76, 22, 8)}, (60, 80))


def count(labels):
    return len(instance_numbers(labels, void=None))


def test_metrics_of_the_ideal_output_are_perfect_and_follow_the_thresholds():
    target = people()
    output = perfect_output(target, EDGES)
    target[:, :, -3:] = VOID
    assert watershed_metrics(output, target) == {"IoU": 1, "F1_50": 1, "PQ": pytest.approx(1, abs=0.04)}
    assert watershed_metrics(output, target, depth=1.5)["F1_50"] < 1


def test_every_threshold_does_what_it_says():
    smallest = int(instance_masks(people()[0]).flatten(1).sum(1).min())
    found = lambda **choices: count(deep_watershed(perfect_output(people(), EDGES), **choices))  # noqa: E731
    assert found() == found(min_area=smallest) == 3 and found(min_area=smallest + 1) == 2 and found(foreground=1.0) == 0
    assert found(depth=1.5) == 2, "no valley is that deep: what touches is one"
    assert found(smooth=30) == 2, "the valley between those who touch is smoothed away"


def test_a_head_on_its_neck_is_a_summit_but_no_person():
    target = draw({1: (38, 20, 18, 10)}, (60, 40)) | draw({1: (12, 20, 5)}, (60, 40))
    target[:, 13:38, 19:22] = 1
    assert torch.equal(deep_watershed(perfect_output(target, EDGES)), target)
    assert deep_watershed(perfect_output(target, EDGES), depth=0.1, smooth=0.0).max() == 2


@pytest.mark.parametrize("smooth", [0.0, 1.0, 2.0])
def test_two_summits_of_one_height_are_one_unless_the_valley_is_deep(smooth):
    """Energies of 1 at either end of a bar with a valley between them; the network's own are equal where it is sure."""
    inside = torch.zeros(1, 1, 24, 60, dtype=torch.int64)
    inside[..., 6:18, 6:54] = 1
    for valley, expected in ((0.9, 1), (0.7, 1), (0.1, 2)):
        energy = inside.float()  # share of the innermost of two bins, the other one being outside
        energy[..., 6:18, 24:36] = valley
        heads = 24 * inside - 12, torch.log(1 - energy + 1e-9), torch.log(energy + 1e-9), 0 * energy, 0 * energy
        output = torch.cat(heads, 1)
        assert count(deep_watershed(output, smooth=smooth)) == expected, valley


def test_outputs_without_anybody_and_with_one_pixel():
    nobody = torch.zeros(2, 20, 20, dtype=torch.int64)
    assert not deep_watershed(perfect_output(nobody, EDGES)).any() and not classical_watershed(nobody > 0).any()
    nobody[1, 4, 7] = 9
    for result in deep_watershed(perfect_output(nobody, EDGES)), classical_watershed(nobody > 0):
        assert torch.equal(result, (nobody > 0).long())
    assert not classical_watershed(nobody > 0, min_area=2).any()
    full = torch.ones(1, 6, 6, dtype=torch.bool)
    assert torch.equal(classical_watershed(full), full.long()), "no background anywhere"


def test_classical_watershed_cuts_touching_cells_at_the_waist():
    target = draw({1: (20, 20, 13), 2: (20, 44, 13)}, (40, 70))
    assert match_instances(classical_watershed(target > 0, min_distance=8), target)["PQ"] > 0.95
    assert count(classical_watershed(target > 0, min_distance=60)) == 1
    with pytest.raises(ValueError, match="foreground must be bool"):
        classical_watershed(target)


def columns(*spans, width=12):
    """(n, 4, width) bool masks of the columns from … to."""
    return torch.stack([((torch.arange(width) >= a) & (torch.arange(width) < b)).expand(4, -1) for a, b in spans])


def test_flattening_gives_a_pixel_to_the_best_score_that_claims_it():
    masks = columns((0, 6), (4, 10), (11, 12))
    labels = flatten_masks(masks, torch.tensor([0.8, 0.9, 0.6]))
    assert torch.equal(labels, torch.tensor([2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0, 3]).expand(4, -1))
    assert flatten_masks(masks, torch.tensor([0.8, 0.9, 0.4])).max() == 2, "below min_score"
    assert flatten_masks(torch.tensor([[[0.3, 0.6]]]), torch.ones(1)).tolist() == [[0, 1]], "a probability above 0.5"
    assert not flatten_masks(torch.zeros(0, 3, 4), torch.zeros(0)).any()
    assert not flatten_masks(torch.zeros(1, 3, 4), torch.ones(1)).any(), "a box of zero width has an empty mask"


def test_of_identical_masks_one_stays():
    mask = columns((1, 4))
    assert torch.equal(flatten_masks(mask.repeat(2, 1, 1), torch.tensor([0.7, 0.7])), mask[0].long())
    half_hidden, scores = columns((0, 4), (1, 6)), torch.tensor([0.9, 0.8])  # 3 of 5 columns are hidden
    assert flatten_masks(half_hidden, scores).max() == 1
    assert flatten_masks(half_hidden, scores, min_visible=0.3).max() == 2
