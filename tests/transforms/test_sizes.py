"""Padding to one size: pixels stay, reflections are reflections, what was added is void."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from cvf20.labels import VOID
from cvf20.transforms import PadTo, ScaleInto, eval_transforms


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 23))
def test_image_is_reflected_and_mask_void_outside(height, width):
    image = tv_tensors.Image(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.randint(0, 3, (height, width), dtype=torch.uint8))
    padded, labels = PadTo((20, 24))(image, mask)
    assert isinstance(padded, tv_tensors.Image) and isinstance(labels, tv_tensors.Mask)
    expected = np.pad(image.numpy(), ((0, 0), (0, 20 - height), (0, 24 - width)), mode="reflect")
    assert padded.dtype == torch.uint8 and np.array_equal(padded.numpy(), expected)
    assert labels[:height, :width].equal(mask)
    with pytest.raises(ValueError, match=rf"\(20, 24\) does not fit into size=\(20, {width}\)"):
        PadTo((20, width))(padded, labels)
    assert int((labels == VOID).sum()) == 20 * 24 - height * width and labels.dtype == torch.uint8


@pytest.mark.parametrize("size", [(40, 100), (100, 30)])
def test_scaling_keeps_proportions(size):
    labels = torch.zeros(60, 80, dtype=torch.int32)
    labels[10:50, 7:23], labels[10:50, 23:37], labels[20:, 68:] = 3, 12, 700
    image, mask = ScaleInto(size)(tv_tensors.Image(labels.expand(3, -1, -1).to(torch.uint8)), tv_tensors.Mask(labels))
    assert image.shape[-2:] == mask.shape
    assert max(length / limit for length, limit in zip(mask.shape, size, strict=True)) == 1
    assert mask.shape[0] / mask.shape[1] == pytest.approx(60 / 80, rel=0.03)
    assert set(mask.unique().tolist()) == set(labels.unique().tolist())


def test_an_image_keeps_its_channels():
    """256 × 256 of one channel, normalised with three means, would come out as three channels."""
    grey, mask = tv_tensors.Image(torch.zeros(1, 8, 8, dtype=torch.uint8)), tv_tensors.Mask(torch.zeros(8, 8).byte())
    with pytest.raises(ValueError, match="mean has 3 values, wanted 1 or as many as the 1 channels"):
        eval_transforms()(grey, mask)
    assert eval_transforms(mean=(0.5,), std=(0.5,))(grey, mask)[0].shape == (1, 8, 8)
