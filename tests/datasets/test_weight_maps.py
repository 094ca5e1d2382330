"""Weights move with their masks."""

import numpy as np
import torch
from scipy import ndimage
from tiny import Patches
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvf20.datasets import WithWeightMaps, YeastMovie
from cvf20.labels import VOID
from cvf20.losses import border_weight_map
from cvf20.transforms import SeparateTouching, train_transforms

how = dict(crop=(0.3, 0.8), quarter_turns=True, degrees=30, displacement=1, colour=0.2, fill="void")
strong = train_transforms((12, 12), **how)


def mask_itself(mask: torch.Tensor) -> torch.Tensor:
    return mask / 1000 + 0.5


def test_weights_follow_their_mask_exactly():
    data = WithWeightMaps(Patches(4, transforms=strong), mask_itself)
    for image, mask, weights in (data[i % 4] for i in range(20)):
        assert image.shape[-2:] == mask.shape == weights.shape
        assert type(weights) is torch.Tensor and weights.dtype == torch.float32 and mask.dtype == torch.int64
        kept = mask != VOID
        wanted = mask_itself(mask.as_subclass(torch.Tensor))
        torch.testing.assert_close(weights[kept], wanted[kept], rtol=0, atol=5e-5)


def test_weights_are_made_once_handed_out_as_copies_and_part_of_the_digest():
    calls, bare = [], Patches(3)
    bare.transforms = None
    data = WithWeightMaps(bare, lambda mask: calls.append(mask.shape) or border_weight_map(mask))
    for _ in range(2):
        for i in range(len(data)):
            data[i][2].zero_()
    assert calls == [(1, 16, 16)] * 3
    assert data[0][2].equal(border_weight_map(bare.masks[0][None])[0])
    assert data.sha256 == WithWeightMaps(bare, border_weight_map).sha256
    assert len({each.sha256 for each in (bare, data, WithWeightMaps(bare, mask_itself))}) == 3


def test_augmented_cells_stay_apart(synthetic):
    augment = train_transforms((192, 192), (0.5,), (0.25,), crop=(0.15, 0.3), quarter_turns=True, degrees=45)
    data = synthetic(YeastMovie, target="instances", transforms=v2.Compose([augment, SeparateTouching()]))
    instances = synthetic(YeastMovie, target="instances", transforms=augment)
    torch.manual_seed(0)
    mask = data[0][1]
    torch.manual_seed(0)
    cells = instances[0][1].numpy()
    assert mask.dtype == torch.int64 and set(mask.unique().tolist()) == {0, 1}
    labels, count = ndimage.label(mask.numpy())
    assert all(len(np.unique(cells[labels == i])) == 1 for i in range(1, count + 1)), "no component holds two cells"
    kept = cells[mask.numpy() == 1]
    assert (kept > 0).all() and len(set(np.unique(cells)) - set(kept)) <= 1, "the background has no component"


def test_void_stays_void_and_unaugmented_cells_are_the_binary_target(synthetic):
    mask = tv_tensors.Mask(torch.tensor([[0, 4, 4, VOID, VOID]]))
    assert SeparateTouching()(mask).tolist() == [[0, 1, 1, VOID, VOID]]
    instances = synthetic(YeastMovie, split="all", target="instances", transforms=SeparateTouching())
    assert instances[0][1][:260, :346].equal(synthetic(YeastMovie, split="val").masks[0])
