from functools import partial

import pytest
import torch

from cvf20.models import UNet
from cvf20.models.watershed import WatershedNet, foreground_probability, inner_energy, split_output


def test_one_tensor_holds_the_three_heads():
    net = WatershedNet(partial(UNet, 2, 3, fmaps=4), bins=4).eval()
    output = net(torch.randn(2, 3, 21, 30))
    heads = split_output(output)
    assert [tuple(head.shape) for head in heads] == [(2, channels, 21, 30) for channels in (1, 4, 2)]
    assert torch.equal(torch.cat(heads, 1), output)


def test_readings_of_the_output():
    output = torch.zeros(1, 7, 1, 3)
    output[:, 0] = torch.tensor([-50.0, 0, 50])
    output[0, 1, 0, 0] = output[0, 4, 0, 2] = 60  # background bin, innermost bin
    for reading in (foreground_probability, inner_energy):
        assert reading(output)[0, 0].tolist() == pytest.approx([0, 0.5, 1])
