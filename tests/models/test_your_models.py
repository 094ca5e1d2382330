"""The group's own models: subclasses that re-implement hooks only, and keep U-Net's laws."""

import inspect

import pytest
import torch
from torch import nn

from cvf20.models import UNet, your_models
from cvf20.models.base import Concatenate
from cvf20.models.layers import Residual
from cvf20.models.your_models import DilatedBaseUNet, GatedMerge, HalfResolutionUNet, ResidualUNet

OWN = [value for value in vars(your_models).values() if inspect.isclass(value) and issubclass(value, UNet)][1:]


@pytest.mark.parametrize("model", OWN)
def test_only_hooks_are_re_implemented_and_the_size_stays(model):
    """B6: construct_NAME_module methods and nothing else."""
    own = {name for name in vars(model) if not name.startswith("__")}
    assert own and all(name.startswith("construct_") and name.endswith("_module") for name in own)
    for choices in ({"upsampling": "transposed"}, {"norm_type": "batch", "merge": "sum"}):
        assert model(2, 1, 3, (4, 8, 16), **choices)(torch.randn(2, 1, 22, 30)).shape == (2, 3, 22, 30)


def test_residual_blocks_are_everywhere():
    """With all convolutions at zero but the shortcuts, something of the input still comes through."""
    net, x = ResidualUNet(2, 1, 1, (4, 8, 16)), torch.randn(1, 1, 8, 8, requires_grad=True)
    for block in (*net.encoder_modules, net.base_module, *net.decoder_modules):
        assert isinstance(block, Residual)
        for parameter in block.block.parameters():
            nn.init.zeros_(parameter)
    net(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_the_dilated_base_drops_channels_like_every_other_block():
    plain, dropping = (DilatedBaseUNet(1, 1, 1, (4, 8), dropout=dropout).base_module for dropout in (0.0, 0.5))
    assert not any(isinstance(m, nn.Dropout2d) for m in plain.modules()) and dropping[-1].p == 0.5


def test_half_resolution_works_on_a_quarter_of_the_positions():
    """Its first layer sees half the height and width; far from the border a shifted input gives a shifted output."""
    net = HalfResolutionUNet(1, 1, 1, (4, 8)).eval()
    seen = []
    net.encoder_modules[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    net(torch.randn(1, 1, 8, 12))
    assert seen == [(1, 4, 4, 6)]
    x = torch.randn(1, 1, 96, 96)
    out, moved = net(x), net(x.roll((4, 4), (2, 3)))
    assert torch.allclose(moved[..., 36:64, 36:64], out[..., 32:60, 32:60], atol=1e-5)


def test_a_closed_gate_stops_the_skip_and_an_open_one_lets_it_through():
    merge, skip = GatedMerge(2, Concatenate(), nn.Conv2d), torch.randn(1, 2, 4, 4)
    for bias, expected in ((-100.0, torch.zeros_like(skip)), (100.0, skip)):
        nn.init.constant_(merge.decide.bias, bias)
        assert torch.allclose(merge(torch.randn(1, 2, 4, 4), skip)[:, 2:], expected)
