import numpy as np
import pytest
import torch
from PIL import Image

from cvf20.datasets import PennFudan
from cvf20.labels.instances import instance_numbers


def test_splits_are_those_of_the_sorted_names_and_targets_agree(real):
    splits = {split: real(PennFudan, split=split, target="instances") for split in PennFudan.splits}
    assert {split: len(data) for split, data in splits.items()} == {"train": 100, "val": 20, "test": 50}
    names = sorted({name for data in splits.values() for name in data.names})
    assert splits["test"].names == names[120:] and splits["val"].names == names[5:120:6]
    assert sum(len(instance_numbers(mask)) for data in splits.values() for mask in data.masks) == 423
    binary = real(PennFudan, split="val")
    for people, mask, image in zip(splits["val"].masks, binary.masks, binary.images, strict=True):
        assert mask.equal((people > 0).to(torch.uint8)) and image.shape == (3, *mask.shape)


@pytest.mark.parametrize("wrong", [{"target": "mask"}, {"split": "all"}])
def test_wrong_choices_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}='{value}' of penn_fudan: expected one of"):
        PennFudan(**wrong)


def test_no_person_has_the_number_of_void(tmp_path, synthetic):
    data, people = synthetic(PennFudan, target="instances"), np.array([[0, 1, 254], [255, 256, 300]], np.uint16)
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(people).save(tmp_path / "mask.png")
    mask = data.read_sample(tmp_path / "image.png", tmp_path / "mask.png")[1]
    assert mask.tolist() == [[0, 1, 254], [256, 257, 301]] and mask.dtype == np.int32
