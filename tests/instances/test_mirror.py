import pytest
import torch

from cvf20.instances import detect_mirrored
from cvf20.models import mask_rcnn


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
