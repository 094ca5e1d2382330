"""Sampling of rare classes: who is repeated how often, which crops are preferred, and what stays as it was."""

import pytest
import torch
from tiny import Patches
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID
from cvf20.transforms.sampling import RareClassCrop, class_counts, class_weights


def with_corner(size=32, corner=8):
    """Class 0 everywhere, class 1 in a corner; the image is the mask, times 100."""
    mask = torch.zeros(size, size, dtype=torch.uint8)
    mask[:corner, :corner] = 1
    return tv_tensors.Image(100 * mask[None].repeat(3, 1, 1)), tv_tensors.Mask(mask)


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
    boxes = iter([left, right] * 400)
    monkeypatch.setattr(v2.RandomResizedCrop, "make_params", lambda self, inputs: next(boxes))
    crop = RareClassCrop((4, 4), torch.tensor([1.0, 3.0]), tries=2)
    chosen = [crop.make_params([tv_tensors.Mask(mask)]) == right for _ in range(400)]
    assert sum(chosen) / 400 == (0 if void else pytest.approx(0.75, abs=0.06))


def test_crops_prefer_the_rare_class():
    image, mask = with_corner()
    weight = class_weights(class_counts_of(mask), 1.0)

    def share(tries):
        torch.manual_seed(0)
        crop = RareClassCrop((16, 16), weight, tries, scale=(0.1, 0.3))
        return sum(float((crop(image, mask)[1] == 1).float().mean()) for _ in range(200)) / 200

    plain, eight = share(1), share(8)
    assert eight > 2 * plain > 0


def class_counts_of(mask):
    return torch.bincount(mask.flatten().long())


def test_nothing_of_weight_is_no_obstacle():
    image, mask = with_corner()
    for labels in (torch.full_like(mask, VOID), torch.zeros_like(mask)):
        cut, _ = RareClassCrop((8, 8), torch.tensor([0.0, 1.0]))(image, tv_tensors.Mask(labels))
        assert cut.shape == (3, 8, 8)
