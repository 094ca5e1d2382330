"""Padding to one size: pixels stay, reflections are reflections, what was added is void."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_unet
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.labels import VOID
from cvf20.training.loop import evaluate_model, forward, make_accelerator, validate
from cvf20.transforms import PadTo, ScaleInto, eval_transforms, to_input


def pair(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    return tv_tensors.Image(image), tv_tensors.Mask(torch.randint(0, 3, (height, width), generator=generator).byte())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20))
def test_image_is_reflected_and_mask_void_outside(height, width):
    image, mask = pair(height, width)
    padded, labels = PadTo((20, 24))(image, mask)
    assert isinstance(padded, tv_tensors.Image) and isinstance(labels, tv_tensors.Mask)
    expected = np.pad(image.numpy(), ((0, 0), (0, 20 - height), (0, 24 - width)), mode="reflect")
    assert padded.dtype == torch.uint8 and np.array_equal(padded.numpy(), expected)
    assert labels[:height, :width].equal(mask)
    with pytest.raises(ValueError, match=rf"\(21, {width}\) does not fit into size=\(20, 24\)"):
        PadTo((20, 24))(*pair(21, width))
    assert int((labels == VOID).sum()) == 20 * 24 - height * width and labels.dtype == torch.uint8


def test_scores_are_those_of_the_images_at_their_own_size():
    """A network whose output depends on single pixels cannot notice the padding, and neither do the metrics."""
    torch.manual_seed(0)
    pixelwise = torch.nn.Conv2d(3, 3, 1)
    transforms = v2.Compose([PadTo((20, 24)), to_input()])
    own = [to_input()(*pair(*size)) for size in ((13, 24), (20, 9))]
    batch = [transforms(*pair(*size)) for size in ((13, 24), (20, 9))]
    accelerator = make_accelerator("fp32")
    together = validate(pixelwise, DataLoader(batch, 2), accelerator=accelerator)
    correct = [(forward(pixelwise, i[None], accelerator).argmax(1)[0] == m).double() for i, m in own]
    assert together["accuracy"] == pytest.approx(float(torch.cat([c.flatten() for c in correct]).mean()))
    expected = np.mean([float(c.mean()) for c in correct])
    assert evaluate_model(pixelwise, batch, 2, "fp32") == pytest.approx(expected)
    assert validate(tiny_unet(), DataLoader(batch, 2), accelerator=accelerator).keys() == {"mIoU", "accuracy", "mAP"}


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
