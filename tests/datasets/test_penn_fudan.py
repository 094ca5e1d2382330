import numpy as np
import pytest
import torch
from PIL import Image

from cvf20.datasets import PennFudan
from cvf20.labels import VOID
from cvf20.labels.instances import instance_numbers


def test_splits_are_those_of_the_sorted_names(real):
    splits = {split: real(PennFudan, split=split, target="instances") for split in PennFudan.splits}
    assert {split: len(data) for split, data in splits.items()} == {"train": 100, "val": 20, "test": 50}
    names = sorted({name for data in splits.values() for name in data.names})
    assert splits["test"].names == names[120:] and splits["val"].names == names[5:120:6]
    assert sum(len(instance_numbers(mask)) for data in splits.values() for mask in data.masks) == 423


def test_targets_agree_and_never_reach_void(real):
    instances, binary = real(PennFudan, split="val", target="instances"), real(PennFudan, split="val")
    assert instances.masks[0].dtype == torch.int32 and binary.masks[0].dtype == torch.uint8
    for people, mask, image in zip(instances.masks, binary.masks, instances.images, strict=True):
        assert torch.equal(mask, (people > 0).to(torch.uint8)) and image.shape == (3, *mask.shape)
        assert people.max() < VOID
    with pytest.raises(ValueError, match="target='mask'.*binary, instances"):
        PennFudan(target="mask")
    with pytest.raises(ValueError, match="split='all'"):
        PennFudan(split="all")


def test_no_person_has_the_number_of_void(tmp_path, synthetic):
    data, wanted = synthetic(PennFudan, target="instances"), [[0, 1, 254], [256, 257, 301]]
    people = np.array([[0, 1, 254], [255, 256, 300]], np.uint16)
    for folder, name, pixels in (("PNGImages", "a", np.zeros((2, 3, 3), np.uint8)), ("PedMasks", "a_mask", people)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    assert data.read_sample(*(tmp_path / file for file in data.files("a")))[1].tolist() == wanted
