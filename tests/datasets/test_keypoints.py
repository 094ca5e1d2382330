"""Drawn faces: reproducible, all points visible, and the points lie on what is drawn."""

import pytest
import torch

from cvf20.datasets.keypoints import SIZE, Faces, to_pixels

EYES, CORNERS, BROWS, NOSE, LIPS = (0, 1), (2, 3, 4, 5), (6, 7, 8, 9), 10, (13, 14)


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


def test_points_keep_the_order_of_a_face(faces):
    """Seen along the eye line, the person's left is on the right; the mouth is below the nose, the nose below the eyes."""
    points = faces.keypoints.unbind(1)
    across = points[EYES[0]] - points[EYES[1]]
    down = torch.stack([-across[:, 1], across[:, 0]], dim=1)
    heights = torch.stack([(points[k] * down).sum(1) for k in (EYES[0], NOSE, *LIPS)])
    assert (across[:, 0] > 0).all() and (heights.diff(dim=0) > 0).all()
    for eye, inner, outer in zip(EYES, CORNERS[::2], CORNERS[1::2], strict=True):
        assert torch.allclose(points[eye], (points[inner] + points[outer]) / 2, atol=1e-4)


def test_brows_are_darker_than_the_skin_between_them(faces):
    """A key point that were off by a few pixels would not sit on its brow."""
    pixels, points = faces.images[:, 0].float(), faces.keypoints.unbind(1)

    def grey(places):
        x, y = places.round().long().unbind(-1)
        return pixels[torch.arange(len(places)), y, x]

    left_inner, left_outer, right_inner, _ = (points[k] for k in BROWS)
    darker = grey((left_inner + left_outer) / 2) < grey((left_inner + right_inner) / 2) - 5
    assert darker.float().mean() > 0.9
