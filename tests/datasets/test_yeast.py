import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy import ndimage

from cvf20.datasets import YeastColonies, YeastMovie
from cvf20.datasets.pictures import stretch
from cvf20.datasets.yeast_colonies import invert_viridis


def test_colonies_of_each_split(real):
    train, val = real(YeastColonies), real(YeastColonies, split="val")
    assert [name.split("_")[1] for name in train.names] == [*"0" * 121, *"1" * 121, *"2" * 121]
    assert val.names == [f"set_4_time_{time}" for time in range(121)], "frames in order of time"
    image, mask = train[0]
    assert image.shape == (1, 256, 256) and image.dtype == torch.uint8 and (image.min(), image.max()) == (0, 255)
    assert mask.shape == (256, 256) and mask.dtype == torch.uint8 and set(mask.unique().tolist()) == {0, 1}
    assert len({image.numpy().tobytes() for dataset in (train, val) for image in dataset.images}) == 484


def test_tuning_selection_never_reaches_colony_4(real):
    whole, tune, check = real(YeastColonies), real(YeastColonies, colonies=(0, 1)), real(YeastColonies, colonies=(2,))
    assert len(tune) == 242 and tune.names + check.names == whole.names
    for wrong in ({"colonies": (4,)}, {"colonies": (0, 3)}, {"split": "test"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
            YeastColonies(**wrong)


def test_viridis_is_inverted(tmp_path):
    grey = np.arange(256, dtype=np.uint8).repeat(2).reshape(16, 32)
    plt.imsave(tmp_path / "grey.png", grey, cmap="viridis", vmin=0, vmax=255)
    error = np.abs(invert_viridis(tmp_path / "grey.png").astype(int) - grey)
    assert set(grey[error > 0]) <= {104, 105, 137, 138} and error.max() <= 1
    plt.imsave(tmp_path / "other.png", grey, cmap="magma")
    with pytest.raises(ValueError, match="other.png: unknown colour"):
        invert_viridis(tmp_path / "other.png")


def test_regions_of_the_movie_tile_the_field(real):
    parts = {split: real(YeastMovie, split=split) for split in YeastMovie.splits}
    assert [len(data) for data in parts.values()] == [10] * 6
    assert parts["all"].images[0].shape == (1, 520, 692) and parts["val"].images[0].shape[-2:] == (260, 346)
    for i in range(10):
        for kind in "images", "masks":
            part = {split: getattr(data, kind)[i] for split, data in parts.items()}
            right = torch.cat([part["train_upper"], part["train_lower"]], dim=-2)
            left = torch.cat([part["val"], part["test"]], dim=-2)
            assert right.equal(part["train"]) and torch.cat([left, right], dim=-1).equal(part["all"])


def test_every_cell_of_the_movie_is_one_component(real):
    binary, instances = real(YeastMovie, split="all"), real(YeastMovie, split="all", target="instances")
    assert instances.masks[0].dtype == torch.int32 and binary.masks[0].dtype == torch.uint8
    cells = [len(mask.unique()) - 1 for mask in instances.masks]
    assert sum(cells) == 1226
    assert [ndimage.label(mask.numpy())[1] for mask in binary.masks] == cells
    assert [ndimage.label(mask.numpy() > 0)[1] for mask in instances.masks] != cells, "they do touch in the source"


def test_stretch_is_monotonic_and_robust():
    field = np.random.default_rng(0).normal(300, 20, (100, 100))
    field[0, 0] = 60000  # one hot pixel must not darken the rest
    grey = stretch(field).ravel()
    assert (np.diff(grey[np.argsort(field.ravel())].astype(int)) >= 0).all()
    assert grey.min() == 0 and grey.max() == 255 and np.ptp(np.percentile(grey, (5, 95))) > 120
    assert np.unique(stretch(np.full((4, 4), 7, dtype=np.uint16))).size == 1
