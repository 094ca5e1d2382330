import pytest
import torch
from torchvision import tv_tensors

from cvf20.transforms import ScaleInto


@pytest.mark.parametrize("size", [(40, 100), (100, 30)])
def test_scaling_keeps_proportions(size):
    labels = torch.zeros(60, 80, dtype=torch.int32)
    labels[10:50, 7:23], labels[10:50, 23:37], labels[20:, 68:] = 3, 12, 700
    image, mask = ScaleInto(size)(tv_tensors.Image(labels.expand(3, -1, -1).to(torch.uint8)), tv_tensors.Mask(labels))
    assert image.shape[-2:] == mask.shape
    assert all(length <= limit for length, limit in zip(mask.shape, size, strict=True))
    assert any(length == limit for length, limit in zip(mask.shape, size, strict=True))
    assert mask.shape[0] / mask.shape[1] == pytest.approx(60 / 80, rel=0.03)
    assert set(mask.unique().tolist()) == set(labels.unique().tolist())
