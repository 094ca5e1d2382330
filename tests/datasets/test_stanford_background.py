import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from cvf20.datasets import StanfordBackground
from cvf20.paths import data_dir
from cvf20.transforms import class_counts

SPLITS = {"train": 570, "val": 72, "test": 71}


@pytest.fixture
def splits(real):
    return {split: real(StanfordBackground, split=split) for split in SPLITS}


def test_sizes_and_types(splits, real):
    assert {split: len(dataset) for split, dataset in splits.items()} == SPLITS
    assert len(real(StanfordBackground, keep_leaks=True)) == 572
    image, mask = splits["val"][0]
    assert isinstance(image, tv_tensors.Image) and image.shape == (3, 224, 288) and image.dtype == torch.uint8
    assert isinstance(mask, tv_tensors.Mask) and mask.shape == (224, 288) and mask.dtype == torch.uint8
    assert StanfordBackground.classes == tuple((data_dir() / "stanford_background/classes.txt").read_text().split())
    assert StanfordBackground.palette.shape == (9, 3) and len({*map(tuple, StanfordBackground.palette)}) == 9


def test_splits_are_disjoint_by_content(splits, real):
    """Two training images are in val and test, one of them encoded once more: correlations of thumbnails tell."""

    def thumbnails(dataset):
        small = np.stack([image.numpy().reshape(3, 14, 16, 18, 16).mean((0, 2, 4)).ravel() for image in dataset.images])
        centred = small - small.mean(1, keepdims=True)
        return centred / np.linalg.norm(centred, axis=1, keepdims=True)

    everything, val, test = real(StanfordBackground, keep_leaks=True), *map(thumbnails, (splits["val"], splits["test"]))
    for held_out, leak in ((val, "img_0076"), (test, "img_0342")):
        alike = (thumbnails(everything) @ held_out.T).max(1)
        assert everything.names[alike.argmax()] == leak and alike.max() > 0.99
        assert (thumbnails(splits["train"]) @ held_out.T).max() < 0.98
    assert (val @ test.T).max() < 0.98


def test_stand_in_has_about_the_class_shares_of_the_real_scenes(real, monkeypatch):
    wanted = class_counts(real(StanfordBackground)).double()
    monkeypatch.setenv("CVF20_SYNTHETIC", "1")
    found = class_counts(StanfordBackground()).double()
    found, wanted = found / found.sum(), wanted / wanted.sum()
    assert (found - wanted).abs().max() < 0.06 and (found / wanted).log().abs().max() < np.log(2.2)  # rare classes, too
