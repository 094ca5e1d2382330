"""What serves where there is no data: small real samples where their terms allow it, else drawn stand-ins."""

import hashlib

import pytest
import torch

from cvf20.datasets import MSRC, Nuclei, PennFudan, StanfordBackground, YeastColonies, YeastMovie, stand_ins
from cvf20.datasets.base import SAMPLES
from cvf20.datasets.download import registry
from cvf20.labels.instances import instance_numbers

DRAWN = dict.fromkeys((StanfordBackground, PennFudan, MSRC), {"train": 48, "val": 16, "test": 16})
DRAWN[YeastColonies] = {"train": 60, "val": 20}
LOOKS = [
    (StanfordBackground, "val", (3, 224, 288), set(range(9))),
    (YeastColonies, "val", (1, 256, 256), {0, 1}),
    (YeastMovie, "val", (1, 260, 346), {0, 1}),
    (Nuclei, "dense", (1, 520, 696), {0, 1}),
]


@pytest.mark.parametrize(("cls", "split", "shape", "values"), LOOKS)
def test_they_look_like_the_real_data_to_a_loader(synthetic, capsys, cls, split, shape, values):
    dataset = synthetic(cls, split=split)
    assert not any(capsys.readouterr()), "it was asked for"
    assert (dataset.synthetic, dataset.sample) == (cls in DRAWN, cls not in DRAWN)
    assert dataset.title == f"{cls.label} ({'SYNTHETIC' if dataset.synthetic else 'sample'}) ({split})"
    assert {(tuple(i.shape), i.dtype, m.dtype) for i, m in dataset} == {(shape, torch.uint8, torch.uint8)}
    assert set(torch.stack(dataset.masks).unique().tolist()) == values
    assert len(set(dataset.names)) == len(dataset) and len(dataset.palette) == len(dataset.classes)


@pytest.mark.parametrize("cls", DRAWN)
def test_drawn_the_same_on_every_run_and_never_twice(synthetic, cls):
    splits = {split: synthetic(cls, split=split) for split in DRAWN[cls]}
    assert {split: len(data) for split, data in splits.items()} == DRAWN[cls]
    pictures = [image.numpy().tobytes() for data in splits.values() for image in data.images]
    assert len(set(pictures)) == len(pictures)
    for drawn in (stand_ins.drawn, stand_ins.colony, stand_ins.noise):
        drawn.cache_clear()
    assert splits["val"].sha256 == synthetic(cls, split="val").sha256


def test_samples_are_small_state_source_and_licence_and_are_the_registered_bytes():
    assert sum(file.stat().st_size for file in SAMPLES.rglob("*") if file.is_file()) < 3_000_000
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    for needed in ("berkyalcinkaya/yeastvision", "Redistribution and use", "AS IS", "CC0 1.0", "dsbowl-2018"):
        assert needed in text
    for file in (SAMPLES / "nuclei").rglob("images/*.png"):
        known = registry("nuclei")[file.relative_to(SAMPLES / "nuclei").as_posix()]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == known


@pytest.mark.parametrize("cls", [YeastMovie, Nuclei])
def test_samples_are_parts_of_the_real_data(real, monkeypatch, cls):
    for split in cls.splits:
        with monkeypatch.context() as patched:
            patched.setenv("CVF20_SYNTHETIC", "1")
            sample = cls(split=split, target="instances")
        full = real(cls, split=split, target="instances")
        assert len(full) > len(sample) >= 1 and sum(len(instance_numbers(mask)) for mask in sample.masks) >= 2
        for name, image, mask in zip(sample.names, sample.images, sample.masks, strict=True):
            i = full.names.index(name)
            assert image.equal(full.images[i]) and mask.equal(full.masks[i])
