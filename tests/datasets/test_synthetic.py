import numpy as np
import pytest
import torch
from scipy import ndimage

from cvf20.datasets import StanfordBackground, YeastColonies, YeastMovie
from cvf20.datasets.synthetic import colony, push_apart, scene, scenes, smooth_noise


@pytest.mark.parametrize(
    ("cls", "split", "shape", "values"),
    [
        (StanfordBackground, "val", (3, 224, 288), set(range(9))),
        (YeastColonies, "val", (1, 256, 256), {0, 1}),
        (YeastMovie, "val", (1, 260, 346), {0, 1}),
        (YeastMovie, "test", (1, 260, 346), {0, 1}),
        (YeastMovie, "train", (1, 520, 346), {0, 1}),
    ],
)
def test_stand_ins_look_like_the_real_data_to_a_loader(synthetic, cls, split, shape, values):
    dataset = synthetic(cls, split=split)
    assert dataset.synthetic and "SYNTHETIC" in dataset.title and cls.label in dataset.title
    assert {tuple(image.shape) for image in dataset.images} == {shape}
    assert {image.dtype for image in dataset.images} == {mask.dtype for mask in dataset.masks} == {torch.uint8}
    assert set(torch.stack(dataset.masks).unique().tolist()) == values
    assert len(set(dataset.names)) == len(dataset) and len(dataset.palette) == len(dataset.classes)


def test_same_on_every_run_and_different_between_splits():
    again = scene(np.random.default_rng([1, 2]), mountains=True), scene(np.random.default_rng([1, 2]), mountains=True)
    assert np.array_equal(again[0][0], again[1][0]) and np.array_equal(again[0][1], again[1][1])
    images = [image.tobytes() for split in ("val", "test") for _, image, _ in scenes(split)]
    assert len(set(images)) == len(images)
    first, second = colony.__wrapped__(7, 5, (96, 96)), colony.__wrapped__(7, 5, (96, 96))
    assert all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_a_colony_grows_touches_and_keeps_its_numbers():
    movie = colony(seed=3, frames=18, size=(160, 160))
    counts = [len(np.unique(instances)) - 1 for _, instances in movie]
    assert counts == sorted(counts) and counts[-1] > 10 * counts[0]
    last = movie[-1][1]
    assert ndimage.label(last > 0)[1] < counts[-1] / 3, "cells touch"
    before = movie[-2][1]
    same = (before == last)[before > 0].mean()
    assert same > 0.6, "a cell keeps its number from frame to frame"


def test_phase_contrast_has_a_halo_and_dark_cells():
    image, instances = colony(seed=3, frames=18, size=(160, 160))[-1]
    distance = ndimage.distance_transform_edt(instances == 0)
    inside, halo, far = (
        image[instances > 0].mean(),
        image[(distance > 1) & (distance < 4)].mean(),
        image[distance > 25].mean(),
    )
    assert halo > far + 30 and halo > inside + 30


def test_pushing_apart_leaves_touching_discs():
    centre, radius = np.array([[0.0, 0.0], [0.0, 1.0], [50.0, 50.0]]), np.full(3, 5.0)
    moved = push_apart(centre, radius)
    assert np.hypot(*(moved[0] - moved[1])) == pytest.approx(9.3, abs=0.2)
    assert np.array_equal(moved[2], centre[2])


def test_smooth_noise_interpolates_between_grid_points():
    line = smooth_noise(np.random.default_rng(0), (101,), (10,))
    assert np.abs(np.diff(line, 2)).reshape(-1)[[i for i in range(99) if (i + 1) % 10]].max() < 1e-5, "straight between"
    plane = smooth_noise(np.random.default_rng(0), (400, 300), (4, 3))
    assert plane.shape == (400, 300) and abs(plane.mean()) < 0.05 and 0.4 < plane.std() < 1
