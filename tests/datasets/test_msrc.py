"""MSRC: the official layout in every file format, colours to classes, honest errors, the stand-in."""

import numpy as np
import pytest
import torch
from PIL import Image

from cvf20.datasets import MSRC, base
from cvf20.datasets.download import registry
from cvf20.datasets.msrc import CLASSES
from cvf20.labels import VOID
from cvf20.paths import data_dir

SPLITS = {"train": 276, "val": 59, "test": 128}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """MSRC as the lists of three images a split would have it: one bmp, one png, one jpg."""
    names = {f"{split}_{number}_{number}_s": split for number in (1, 2, 3) for split in SPLITS}
    monkeypatch.setattr(base, "registry", lambda name: names)
    rng, colours = np.random.default_rng(0), np.array([(0, 0, 0), *CLASSES.values()], np.uint8)
    for kind in ("Images", "GroundTruth"):
        (tmp_path / "msrc" / kind).mkdir(parents=True)
    for i, name in enumerate(names):
        size, image = ((20, 30) if i % 2 else (30, 20)), f"{name}{('.bmp', '.png', '.JPG')[i % 3]}"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / "msrc/Images" / image)
        labels = Image.fromarray(colours[rng.integers(0, len(colours), size)])
        labels.save(tmp_path / f"msrc/GroundTruth/{name}_GT{'.bmp' if i % 2 else '.png'}")
    return tmp_path


def test_unknown_colours_and_missing_files_are_named(folder):
    file = next((folder / "msrc/GroundTruth").glob("test_1_1_s_GT.*"))
    labels = np.array(Image.open(file))
    labels[4, 5] = (1, 2, 3)
    Image.fromarray(labels).save(file)
    with pytest.raises(ValueError, match=rf"{file.name}: unknown colour \(1, 2, 3\) in row 4, column 5 \(1 such"):
        MSRC(folder, "test")
    file.unlink()
    with pytest.raises(FileNotFoundError, match="1 of 6 wanted files.*first .*GroundTruth/test_1_1_s_GT"):
        MSRC(folder, "test")


@pytest.mark.parametrize("layout", ["official", "lecture", "lecture with lists"])
def test_every_layout_and_format_is_read(folder, layout):
    """The lecture's images/, targets/ and train.txt, whose lines may end in an extension, are as good as the official."""
    wanted, below = MSRC(folder, "train").names, folder / "msrc"
    if layout != "official":
        (below / "Images").rename(below / "images")
        (below / "GroundTruth").rename(below / "targets")
    if layout == "lecture with lists":
        (below / "train.txt").write_text("\r\n".join(f"{name}.bmp" for name in wanted[1:]) + "\r\n\r\n")
        wanted = wanted[1:]
    data = MSRC(folder, "train")
    assert data.names == wanted and not data.synthetic and data.title == "MSRC (train)"
    for name, image, mask in zip(data.names, data.images, data.masks, strict=True):
        labels, picture = (np.asarray(Image.open(*below.rglob(f"{name}{end}.*"))) for end in ("_GT", ""))
        assert np.array_equal(image.permute(1, 2, 0), picture)
        shown = np.vstack([MSRC.palette, np.zeros((233, 3), np.uint8)])[mask.numpy()]  # void is 255: black
        assert np.array_equal(shown, labels)
    assert len(MSRC(folder, "val")) == 3, "splits without a list in the folder follow the course's"


def test_stand_in(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CVF20_DATA", str(tmp_path))
    train = MSRC()
    assert train.synthetic and len({tuple(mask.shape) for mask in train.masks}) > 2
    labels = torch.cat([mask.flatten() for mask in train.masks])
    assert {*labels.unique().tolist()} == {*range(23), VOID} - set(MSRC.untrained)
    assert 0.02 < float((labels == VOID).float().mean()) < 0.3
    printed = capsys.readouterr().out
    assert "Microsoft Research Cambridge" in printed and f"go into {tmp_path / 'msrc'}" in printed
    assert "SYNTHETIC" in printed and printed.count("\n") == 1


def test_lists_are_complete_and_the_real_images_are_read(monkeypatch):
    lists = registry("msrc_splits")
    assert {split: sum(s == split for s in lists.values()) for split in SPLITS} == SPLITS and len(lists) == 463
    if not (data_dir() / "msrc/Images").is_dir():
        pytest.skip("real msrc needed")
    data = MSRC(split="val")
    assert data.names == [name for name, split in lists.items() if split == "val"] and not data.synthetic
    labels = torch.cat([mask.flatten() for mask in data.masks])
    assert 0.15 < float((labels == VOID).float().mean()) < 0.25 and labels[labels != VOID].max() == 22
