"""Drawn faces: reproducible, all points visible, and the points lie on what is drawn."""

import pytest
import torch

from cvf20.datasets.keypoints import SIZE, Faces, to_pixels

LEFT_EYE, RIGHT_EYE, LEFT_INNER, LEFT_OUTER, RIGHT_INNER, UPPER_LIP, LOWER_LIP = 0, 1, 6, 7, 8, 13, 14


@pytest.fixture(scope="module")
def faces():
    return Faces("train", 300, seed=3)


def test_items_fit_the_models(faces):
    image, keypoints = faces[7]
    assert image.shape == (1, SIZE, SIZE) and image.dtype == torch.float32 and image.abs().max() <= 1
    assert keypoints.shape == (30,) and keypoints.abs().max() < 1
    torch.testing.assert_close(to_pixels(keypoints.view(15, 2)), faces.keypoints[7])
    assert 0 < faces.keypoints.min() and faces.keypoints.max() < SIZE - 1
    assert faces.synthetic and faces.name == "keypoints" and len(faces) == 300


def test_the_same_seed_draws_the_same_faces_and_another_draws_others(faces):
    assert torch.equal(Faces("train", 300, seed=3).images, faces.images)
    drawn = [Faces(split, 10, seed=seed) for split, seed in (("train", 3), ("train", 4), ("val", 3), ("test", 3))]
    assert len({data.sha256 for data in drawn}) == 4 and drawn[0].sha256 == Faces("train", 10, seed=3).sha256


def test_points_are_named_right_and_lie_on_what_is_drawn(faces):
    """The person's left is on the right, lips are below; a key point off by a few pixels would not sit on its brow."""
    pixels, points = faces.images[:, 0].float(), faces.keypoints.unbind(1)
    across = points[LEFT_EYE] - points[RIGHT_EYE]
    down = torch.stack([-across[:, 1], across[:, 0]], dim=1)
    heights = torch.stack([(points[k] * down).sum(1) for k in (LEFT_EYE, UPPER_LIP, LOWER_LIP)])
    assert (across[:, 0] > 0).all() and (heights.diff(dim=0) > 0).all()

    def grey(first, second):
        x, y = ((points[first] + points[second]) / 2).round().long().unbind(-1)
        return pixels[torch.arange(len(pixels)), y, x]

    assert (grey(LEFT_INNER, LEFT_OUTER) < grey(LEFT_INNER, RIGHT_INNER) - 5).float().mean() > 0.9
