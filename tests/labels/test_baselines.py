"""simple_train / simple_predict: counting by hand, and the assignment's numbers on the real scenes."""

from types import SimpleNamespace

import pytest
import torch

from cvf20.baselines import simple_predict, simple_train
from cvf20.datasets import StanfordBackground
from cvf20.labels import VOID
from cvf20.metrics import average_precision


def labelled(*masks):
    return SimpleNamespace(masks=[torch.tensor(mask, dtype=torch.uint8) for mask in masks], num_classes=3)


def test_frequencies_count_what_is_not_void_and_every_image_gets_them():
    """In masks of uint8, of which more than 255 do not wrap around."""
    masks = [[0, 1, VOID]], [[0, 2, VOID]], [[1, 2, VOID]], [[0, VOID, VOID]]
    frequencies = simple_train(labelled(*(masks * 100)))
    wanted = torch.tensor([[3 / 4, 0, 0], [1 / 4, 1 / 3, 0], [0, 2 / 3, 0]]).unsqueeze(1)
    torch.testing.assert_close(frequencies, wanted)
    assert simple_predict(frequencies, 7).equal(wanted.expand(7, 3, 1, 3))
    with pytest.raises(ValueError, match="0 to 2"):
        simple_train(labelled([[3]]))


def test_mean_average_precision_on_the_real_scenes():
    train, *held_out = (StanfordBackground(split=split) for split in ("train", "val", "test"))
    if train.synthetic:
        pytest.skip("needs the real scenes")
    frequencies = simple_train(train)
    for data, wanted in zip(held_out, (24.9, 23.9), strict=True):
        scores = simple_predict(frequencies, len(data))
        assert 100 * average_precision(scores, torch.stack(data.masks)).mean() == pytest.approx(wanted, abs=0.2)
