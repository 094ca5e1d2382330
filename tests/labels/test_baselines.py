"""simple_train / simple_predict: counting by hand, and the assignment's numbers on the real scenes."""

from types import SimpleNamespace

import pytest
import torch

from cvf20.baselines import simple_predict, simple_train
from cvf20.datasets import StanfordBackground
from cvf20.labels import VOID
from cvf20.metrics import average_precision


def labelled(*masks, num_classes=3):
    return SimpleNamespace(masks=[torch.tensor(mask, dtype=torch.uint8) for mask in masks], num_classes=num_classes)


def test_frequencies_count_what_is_not_void():
    frequencies = simple_train(labelled([[0, 1, VOID]], [[0, 2, VOID]], [[1, 2, VOID]], [[0, VOID, VOID]]))
    assert frequencies.shape == (3, 1, 3) and frequencies.dtype == torch.float32
    wanted = torch.tensor([[3 / 4, 0, 0], [1 / 4, 1 / 3, 0], [0, 2 / 3, 0]]).unsqueeze(1)
    torch.testing.assert_close(frequencies, wanted)


def test_more_than_255_images_do_not_wrap_around():
    frequencies = simple_train(labelled(*[[[1]]] * 300, *[[[0]]] * 100))
    assert frequencies.flatten().tolist() == [0.25, 0.75, 0]


def test_every_image_gets_the_same_scores():
    frequencies = torch.rand(3, 4, 5)
    scores = simple_predict(frequencies, 7)
    assert scores.shape == (7, 3, 4, 5)
    assert all(image.equal(frequencies) for image in scores)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="other than 0 to 0"):
        simple_train(labelled([[1]], num_classes=1))
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
