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
    rng = np.random.default_rng(0)
    colours = np.array([(0, 0, 0), *CLASSES.values()], np.uint8)
    for kind in ("Images", "GroundTruth"):
        (tmp_path / "msrc" / kind).mkdir(parents=True)
    for i, name in enumerate(names):
        size = (20, 30) if i % 2 else (30, 20)
        extension = (".bmp", ".png", ".JPG")[i % 3]
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        image.save(tmp_path / f"msrc/Images/{name}{extension}")
        labels = colours[rng.integers(0, len(colours), size)]
        Image.fromarray(labels).save(tmp_path / f"msrc/GroundTruth/{name}_GT{'.bmp' if i % 2 else '.png'}")
    return tmp_path


def test_official_layout_in_every_format(folder):
    data = MSRC(folder, "val")
    assert len(data) == 3 and not data.synthetic and data.title == "MSRC (val)"
    for name, image, mask in zip(data.names, data.images, data.masks, strict=True):
        (file,) = (folder / "msrc/GroundTruth").glob(f"{name}_GT.*")
        colours = np.asarray(Image.open(file))
        assert image.shape == (3, *colours.shape[:2]) and mask.shape == colours.shape[:2]
        shown = np.vstack([MSRC.palette, np.zeros((233, 3), np.uint8)])[mask.numpy()]  # void is 255: black
        assert np.array_equal(shown, colours)


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


def test_without_files_a_line_says_where_they_come_from_and_where_they_go(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CVF20_DATA", str(tmp_path))
    assert MSRC(split="val").synthetic
    printed = capsys.readouterr().out
    assert "Microsoft Research Cambridge" in printed and f"go into {tmp_path / 'msrc'}" in printed
    assert "SYNTHETIC" in printed and printed.count("\n") == 1


@pytest.mark.parametrize("lists", [True, False])
def test_the_lectures_own_folder_is_read(folder, lists):
    """images/, targets/ and train.txt, whose lines may end in an extension, give the same as the official layout."""
    official = MSRC(folder, "train")
    (folder / "msrc/Images").rename(folder / "msrc/images")
    (folder / "msrc/GroundTruth").rename(folder / "msrc/targets")
    wanted = official.names[1:] if lists else official.names
    if lists:
        (folder / "msrc/train.txt").write_text("\r\n".join(f"{name}.bmp" for name in wanted) + "\r\n\r\n")
    lecture = MSRC(folder, "train")
    assert lecture.names == wanted and not lecture.synthetic
    for name, image, mask in zip(lecture.names, lecture.images, lecture.masks, strict=True):
        i = official.names.index(name)
        assert image.equal(official.images[i]) and mask.equal(official.masks[i])
    assert len(MSRC(folder, "val")) == 3, "splits without a list in the folder follow the course's"


def test_lists_are_disjoint_and_complete():
    lists = registry("msrc_splits")
    assert {split: sum(s == split for s in lists.values()) for split in SPLITS} == SPLITS and len(lists) == 463
    for split in SPLITS:
        if (file := data_dir() / f"msrc/{split}.txt").is_file():
            assert {n for n, s in lists.items() if s == split} == {*file.read_text().split()}


def test_stand_in(synthetic):
    train, val = synthetic(MSRC), synthetic(MSRC, split="val")
    assert train.synthetic and len({tuple(mask.shape) for mask in train.masks}) > 2
    shown = torch.cat([mask.flatten() for mask in train.masks]).unique().tolist()
    assert set(shown) == {*range(23), VOID} - set(MSRC.untrained)
    void = sum(int((m == VOID).sum()) for m in train.masks) / sum(m.numel() for m in train.masks)
    assert 0.02 < void < 0.3
    assert train.sha256 == synthetic(MSRC).sha256 != val.sha256


def test_real_images():
    if not (data_dir() / "msrc/Images").is_dir():
        pytest.skip("real msrc needed")
    data = MSRC(split="val")
    assert len(data) == 59 and not data.synthetic
    labels = torch.cat([mask.flatten() for mask in data.masks])
    assert 0.15 < float((labels == VOID).float().mean()) < 0.25 and labels[labels != VOID].max() == 22
