"""Drawn faces: reproducible, all points visible, and the points lie on what is drawn."""

import pytest
import torch

from cvf20.datasets.keypoints import POINTS, SIZE, Faces, to_unit


@pytest.fixture(scope="module")
def faces():
    return Faces("train", 300, seed=3)


def test_items_fit_the_models(faces):
    image, keypoints = faces[7]
    assert image.shape == (1, SIZE, SIZE) and image.dtype == torch.float32 and image.abs().max() <= 1
    assert keypoints.shape == (2 * len(POINTS),) == (30,) and keypoints.abs().max() < 1
    assert torch.equal(keypoints.view(15, 2), to_unit(faces.keypoints[7]))
    assert 0 < faces.keypoints.min() and faces.keypoints.max() < SIZE - 1
    assert faces.synthetic and faces.name == "keypoints" and len(faces) == 300


def test_the_same_seed_draws_the_same_faces_and_another_draws_others(faces):
    assert torch.equal(Faces("train", 300, seed=3).images, faces.images)
    drawn = [Faces(split, 10, seed=seed) for split, seed in (("train", 3), ("train", 4), ("val", 3), ("test", 3))]
    assert len({data.sha256 for data in drawn}) == 4 and drawn[0].sha256 == Faces("train", 10, seed=3).sha256


def test_points_keep_the_order_of_a_face(faces):
    """Seen along the eye line, the person's left is on the right; the mouth is below the nose, the nose below the eyes."""
    point = dict(zip(POINTS, faces.keypoints.unbind(1), strict=True))
    across = point["left_eye_center"] - point["right_eye_center"]
    down = torch.stack([-across[:, 1], across[:, 0]], dim=1)
    order = ["left_eye_center", "nose_tip", "mouth_center_top_lip", "mouth_center_bottom_lip"]
    heights = torch.stack([(point[name] * down).sum(1) for name in order])
    assert (across[:, 0] > 0).all() and (heights.diff(dim=0) > 0).all()
    for side in ("left", "right"):
        middle = (point[f"{side}_eye_inner_corner"] + point[f"{side}_eye_outer_corner"]) / 2
        assert torch.allclose(point[f"{side}_eye_center"], middle, atol=1e-4)


def test_brows_are_darker_than_the_skin_between_them(faces):
    """A key point that were off by a few pixels would not sit on its brow."""
    pixels = faces.images[:, 0].float()

    def grey(points):
        x, y = points.round().long().unbind(-1)
        return pixels[torch.arange(len(points)), y, x]

    point = dict(zip(POINTS, faces.keypoints.unbind(1), strict=True))
    inner, outer = point["left_eyebrow_inner_end"], point["left_eyebrow_outer_end"]
    between = (inner + point["right_eyebrow_inner_end"]) / 2
    assert (grey((inner + outer) / 2) < grey(between) - 5).float().mean() > 0.9
