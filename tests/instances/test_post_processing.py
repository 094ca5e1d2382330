import numpy as np
import pytest
import torch

from cvf20.instances import classical_watershed, deep_watershed, detect_mirrored, flatten_masks, grid_search
from cvf20.instances.watershed import watershed_metrics
from cvf20.labels import VOID
from cvf20.labels.instances import instance_masks, instance_numbers
from cvf20.losses.watershed import watershed_targets
from cvf20.metrics.instance import match_instances
from cvf20.models import mask_rcnn

EDGES = (0.1, 0.25, 0.45, 0.7)


def people():
    """Three upright ellipses of which two touch, one cut by the border; numbers with gaps."""
    rows, columns = np.ogrid[:60, :80]
    labels = np.zeros((60, 80), dtype=np.int64)
    for number, (y, x) in {3: (30, 15), 12: (30, 29), 700: (40, 76)}.items():
        labels[((rows - y) / 22) ** 2 + ((columns - x) / 8) ** 2 < 1] = number
    return torch.from_numpy(labels)[None]


def ideal_output(target):
    """What a perfect WatershedNet would say."""
    true = watershed_targets(target, EDGES, relative=True)
    energy = torch.nn.functional.one_hot(true.energy, len(EDGES) + 2).permute(0, 3, 1, 2)
    return torch.cat([12.0 * (true.foreground[:, None] == 1) - 6, 20.0 * energy, true.direction], 1)


def test_metrics_of_the_ideal_output_are_perfect_and_follow_the_thresholds():
    target = people()
    output = ideal_output(target)
    target[:, :, -3:] = VOID
    assert watershed_metrics(output, target) == {"IoU": 1, "F1_50": 1, "PQ": pytest.approx(1, abs=0.04)}
    assert watershed_metrics(output, target, depth=1.5)["F1_50"] < 1


def test_every_threshold_does_what_it_says():
    output = ideal_output(people())
    count = lambda **choices: len(instance_numbers(deep_watershed(output, **choices)[0], void=None))  # noqa: E731
    assert count() == 3
    assert count(depth=1.5) == 2, "no valley is that deep: what touches is one"
    assert count(smooth=30) == 2, "the valley between those who touch is smoothed away"
    assert count(foreground=1.0) == 0
    smallest = int(instance_masks(people()[0]).flatten(1).sum(1).min())
    assert count(min_area=smallest) == 3 and count(min_area=smallest + 1) == 2 and count(min_area=10**6) == 0


def test_a_head_on_its_neck_is_a_summit_but_no_person():
    rows, columns = np.ogrid[:60, :40]
    body, head = ((rows - 38) / 18) ** 2 + ((columns - 20) / 10) ** 2 < 1, np.hypot(rows - 12, columns - 20) < 5
    neck = (abs(columns - 20) < 2) & (rows > 12) & (rows < 38)
    target = torch.from_numpy((body | head | neck).astype(np.int64))[None]
    assert torch.equal(deep_watershed(ideal_output(target)), target)
    assert deep_watershed(ideal_output(target), depth=0.1, smooth=0.0).max() == 2


@pytest.mark.parametrize("smooth", [0.0, 1.0, 2.0])
def test_two_summits_of_one_height_are_one_unless_the_valley_is_deep(smooth):
    """Energies of 1 at either end of a bar with a valley between them; the network's own are equal where it is sure."""
    inside = torch.zeros(1, 24, 60, dtype=torch.bool)
    inside[:, 6:18, 6:54] = True
    for valley, expected in ((0.9, 1), (0.7, 1), (0.1, 2)):
        energy = torch.where(inside, 1.0, 0.0)
        energy[:, 6:18, 24:36] = valley
        share = energy[:, None]  # of the innermost of two bins, the other one being outside
        output = torch.cat([24.0 * inside[:, None] - 12, torch.log(1 - share + 1e-9), torch.log(share + 1e-9)], 1)
        output = torch.cat([output, torch.zeros(1, 2, 24, 60)], 1)
        assert len(instance_numbers(deep_watershed(output, smooth=smooth)[0], void=None)) == expected, valley


def test_outputs_without_anybody_and_with_one_pixel():
    nobody = torch.zeros(2, 20, 20, dtype=torch.int64)
    assert not deep_watershed(ideal_output(nobody)).any() and not classical_watershed(nobody > 0).any()
    nobody[1, 4, 7] = 9
    for result in deep_watershed(ideal_output(nobody)), classical_watershed(nobody > 0):
        assert torch.equal(result, (nobody > 0).long())
    assert not classical_watershed(nobody > 0, min_area=2).any()
    full = torch.ones(1, 6, 6, dtype=torch.bool)
    assert torch.equal(classical_watershed(full), full.long()), "no background anywhere"


def test_classical_watershed_cuts_touching_cells_at_the_waist():
    rows, columns = np.ogrid[:40, :70]
    cells = np.zeros((40, 70), dtype=np.int64)
    for number, x in ((1, 20), (2, 44)):
        cells[(rows - 20) ** 2 + (columns - x) ** 2 < 13**2] = number
    target = torch.from_numpy(cells)[None]
    assert match_instances(classical_watershed(target > 0, min_distance=8), target)["PQ"] > 0.95
    assert len(instance_numbers(classical_watershed(target > 0, min_distance=60)[0])) == 1
    with pytest.raises(ValueError, match="foreground must be bool"):
        classical_watershed(target)


# --- flattening -------------------------------------------------------------------------------------------------------


def test_flattening_gives_a_pixel_to_the_best_score():
    masks = torch.zeros(3, 4, 12, dtype=torch.bool)
    masks[0, :, :6], masks[1, :, 4:10], masks[2, 0, 11] = True, True, True
    labels = flatten_masks(masks, torch.tensor([0.8, 0.9, 0.6]))
    expected = torch.tensor([2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0]).expand(4, -1).clone()
    expected[0, 11] = 3
    assert torch.equal(labels, expected)
    assert set(flatten_masks(masks, torch.tensor([0.8, 0.9, 0.4])).unique().tolist()) == {0, 1, 2}


def test_of_identical_masks_one_stays():
    mask = torch.zeros(1, 5, 5, dtype=torch.bool)
    mask[0, 1:4, 1:4] = True
    labels = flatten_masks(mask.repeat(2, 1, 1), torch.tensor([0.7, 0.7]))
    assert torch.equal(labels, mask[0].long())
    half_hidden = torch.zeros(2, 4, 8, dtype=torch.bool)
    half_hidden[0, :, :4], half_hidden[1, :, 1:6] = True, True  # 3 of 5 columns are hidden
    assert flatten_masks(half_hidden, torch.tensor([0.9, 0.8])).max() == 1
    assert flatten_masks(half_hidden, torch.tensor([0.9, 0.8]), min_visible=0.3).max() == 2


def test_flattening_probabilities_nothing_and_disjoint_masks():
    assert not flatten_masks(torch.zeros(0, 3, 4), torch.zeros(0)).any()
    assert not flatten_masks(torch.zeros(1, 3, 4), torch.ones(1)).any(), "a box of zero width has an empty mask"
    probability = torch.full((1, 2, 2), 0.3)
    assert flatten_masks(probability, torch.ones(1)).max() == 0
    assert flatten_masks(2 * probability, torch.ones(1)).min() == 1
    target = people()[0]
    masks = instance_masks(target)
    assert torch.equal(instance_masks(flatten_masks(masks, torch.tensor([0.9, 0.8, 0.7]))), masks)


# --- search -----------------------------------------------------------------------------------------------------------


def test_grid_search_finds_the_best_and_keeps_the_table():
    target = people()
    output = ideal_output(target)
    best, table = grid_search(
        lambda **choices: deep_watershed(output, **choices),
        target,
        {"depth": (1.5, 0.4), "min_area": (1, 10**6)},
        lambda prediction, true: match_instances(prediction, true)["F1"],
    )
    assert best == {"depth": 0.4, "min_area": 1} and len(table) == 4
    assert max(row["score"] for row in table) == 1 == table[2]["score"]
    assert grid_search(lambda a: a, target, {"a": (5, 6)}, lambda prediction, true: 0)[0] == {"a": 5}


# --- image and mirror image ------------------------------------------------------------


class Sees:
    """Stands for a detector: finds given instances in an image, and others in its mirror image (marked by a bright corner)."""

    def __init__(self, direct, mirrored):
        self.looks = direct, mirrored

    def detect(self, images, size=None):
        height, width = size or images.shape[-2:]
        found = self.looks[int(images[0, 0, 0, 0] == 0)]
        masks = torch.zeros(len(found), height, width)
        for mask, (x0, y0, x1, y1, _) in zip(masks, found, strict=True):
            mask[y0:y1, x0:x1] = 1
        rows = torch.tensor([list(map(float, row)) for row in found]).reshape(-1, 5)
        return [{"boxes": rows[:, :4], "scores": rows[:, 4], "masks": masks}]


IMAGE = torch.zeros(1, 3, 10, 20)
IMAGE[..., 0, 0] = 1  # its mirror image has a dark corner there


def test_an_instance_that_both_show_is_their_mean():
    found = detect_mirrored(Sees([(2, 1, 6, 9, 0.8)], [(14, 1, 17, 9, 0.6)]), IMAGE)[0]  # 3 to 6 when turned back
    assert found["boxes"].tolist() == [[2.5, 1, 6, 9]] and found["scores"].tolist() == pytest.approx([0.7])
    assert found["masks"][0, 5, :8].tolist() == [0, 0, 0.5, 1, 1, 1, 0, 0]


def test_what_one_look_shows_has_half_its_score_and_the_best_come_first():
    found = detect_mirrored(Sees([(2, 1, 6, 9, 0.6), (10, 1, 14, 9, 0.9)], [(14, 1, 18, 9, 0.7)]), IMAGE)[0]
    assert found["scores"].tolist() == pytest.approx([0.65, 0.45])
    assert found["boxes"].tolist() == [[2, 1, 6, 9], [10, 1, 14, 9]]
    assert found["masks"][1].sum() == 4 * 8


@pytest.mark.parametrize("direct", [[], [(2, 1, 6, 9, 0.6)]])
def test_nobody_in_one_look(direct):
    found = detect_mirrored(Sees(direct, []), IMAGE)[0]
    assert [len(found[key]) for key in ("boxes", "scores", "masks")] == [len(direct)] * 3


@pytest.mark.parametrize("size", [None, (60, 100)])
def test_a_mirrored_image_gives_mirrored_instances(size):
    """The mean over both does not know which of the two it was shown."""
    model = mask_rcnn(width=16, proposals=(30, 20), box_samples=16, detections=8).eval()
    images = torch.rand(1, 3, 64, 96)
    one, other = detect_mirrored(model, images, size)[0], detect_mirrored(model, images.flip(-1), size)[0]
    torch.testing.assert_close(one["scores"], other["scores"])
    torch.testing.assert_close(one["masks"].amax(0), other["masks"].amax(0).flip(-1))
