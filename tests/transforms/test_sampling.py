"""Sampling of rare classes: who is repeated how often, which crops are preferred, and what stays as it was."""

import pytest
import torch
from tiny import Patches
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID
from cvf20.transforms.sampling import RareClassCrop, class_counts, class_weights


def test_counts_of_foreground_and_background():
    data = Patches(2, num_classes=1)
    data.masks = [torch.zeros(3, 3, dtype=torch.uint8), torch.ones(3, 3, dtype=torch.uint8)]
    assert class_counts(data).tolist() == [9, 9]
    data.masks.append(torch.tensor([[7]]))
    with pytest.raises(ValueError, match="target holds the label 7, wanted 0 to 1"):
        class_counts(data)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_weights(power):
    counts = torch.tensor([1000, 10, 0, 1])
    weight = class_weights(counts, power)
    assert float((weight * counts).sum() / counts.sum()) == pytest.approx(1)
    assert weight[2] == 0 and float(weight[3] / weight[0]) == pytest.approx(1000**power, rel=1e-5)


@pytest.mark.parametrize("void", [False, True])
def test_a_crop_is_chosen_by_the_mean_weight_of_its_pixels(monkeypatch, void):
    """Two crops to choose from: the left half holds class 0, the right half class 1 of three times the weight."""
    mask = torch.zeros(8, 16, dtype=torch.uint8)
    mask[:, 8:] = VOID if void else 1
    left, right = ({"top": 0, "left": start, "height": 8, "width": 8} for start in (0, 8))
    boxes = iter([left, right] * 2000)
    monkeypatch.setattr(v2.RandomResizedCrop, "make_params", lambda self, inputs: next(boxes))
    crop = RareClassCrop((4, 4), torch.tensor([1.0, 3.0]), tries=2)
    chosen = [crop.make_params([tv_tensors.Mask(mask)]) == right for _ in range(2000)]
    assert sum(chosen) / 2000 == (0 if void else pytest.approx(0.75, abs=0.05))


@pytest.mark.parametrize("label", [0, VOID])
def test_nothing_of_weight_is_no_obstacle(label):
    crop, labels = RareClassCrop((8, 8), torch.tensor([0.0, 1.0])), torch.full((32, 32), label, dtype=torch.uint8)
    assert crop(tv_tensors.Image(torch.zeros(3, 32, 32)), tv_tensors.Mask(labels))[0].shape == (3, 8, 8)
