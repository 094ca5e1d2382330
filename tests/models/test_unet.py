"""U-Net: the printed architectures, every choice, every size, students' subclasses, clear errors."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cvf20.models import BaseConv, UNet
from cvf20.models.layers import IndexPool, IndexUnpool

SAMPLINGS = [("max", "nearest"), ("max", "bilinear"), ("stride", "transposed"), ("index", "index")]


def test_printed_networks_have_the_printed_numbers_of_parameters():
    printed = UNet(4, 3, 9, (16, 32, 64, 128, 256), norm_type=nn.BatchNorm2d, upsampling="transposed")
    assert [sum(p.numel() for p in m.parameters()) for m in (BaseConv(3, 9), printed)] == [24_393, 1_944_185]


def test_channel_plan_is_the_courses():
    unet = UNet(3, 1, 2, 4)  # one number is doubled per level

    def plan(module):
        return [(c.in_channels, c.out_channels) for c in module.modules() if isinstance(c, nn.Conv2d)]

    assert plan(unet.encoder_modules) == [(1, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)]
    assert plan(unet.base_module) == [(16, 32), (32, 16)]
    assert plan(unet.decoder_modules) == [(8, 4), (4, 4), (16, 8), (8, 4), (32, 16), (16, 8)]
    assert unet.merged_fmaps == [8, 16, 32, 64] and UNet(3, 1, 2, 4, merge="sum").merged_fmaps == [4, 8, 16, 32]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize(("down", "up"), SAMPLINGS)
@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_output_has_the_input_size_whatever_it_is(dim, down, up, merge):
    model = UNet(2, 3, 2, 4, dim=dim, downsampling=down, upsampling=up, merge=merge, norm_type="batch").eval()
    for size in (1, 2, 3, 7, 8):
        x = torch.rand(1, 3, *[size] * (dim - 1), size + 1)
        assert model(x).shape == (1, 2, *x.shape[2:])
    for scale_factor in (3, (2, 3), ((1, 2), (3, 1))):  # per level and axis
        model = UNet(2, 3, 2, 4, scale_factor=scale_factor, downsampling=down, upsampling=up, merge=merge).eval()
        assert model(torch.rand(1, 3, 13, 10)).shape == (1, 2, 13, 10)


def test_plain_unet_written_out_gives_the_same_output():
    model = UNet(1, 3, 2, (4, 8), norm_type="batch", upsampling="transposed").eval()
    x, up = torch.rand(2, 3, 6, 8), model.upsampling_modules[0]
    full = model.encoder_modules[0](x)
    deep = F.conv_transpose2d(model.base_module(F.max_pool2d(full, 2)), up.weight, up.bias, stride=2)
    torch.testing.assert_close(model(x), model.final_module(model.decoder_modules[0](torch.cat([deep, full], 1))))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_index_unpooling_is_max_unpool_and_deterministic(dim):
    x = torch.rand(2, 3, *[6] * dim, requires_grad=True)
    pooled, indices, size = IndexPool((2,) * dim)(x)
    unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[dim - 1]
    torch.testing.assert_close(IndexUnpool()(pooled, indices, size), unpool(pooled, indices, 2))
    torch.use_deterministic_algorithms(True)
    try:
        IndexUnpool()(pooled, indices, size).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert (x.grad != 0).sum() == indices.numel(), "the gradient reaches the maxima and nothing else"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"downsampling": "maximum"}, ["downsampling", "'maximum'", "'max', 'stride', 'index'"]),
        ({"downsampling": "index"}, ["one choice for both"]),
        ({"norm_type": "bach"}, ["norm_type", "'batch', 'instance', 'group', 'layer'"]),
        ({"activation": "rel"}, ["activation", "'relu'"]),
        ({"fmaps": (4, 8)}, ["depth=2 wants 3"]),
        ({"dim": 4}, ["dim=4", "1, 2, 3"]),
        ({"scale_factor": (2, 2, 2)}, ["scale_factor", "3 and 2 entries"]),
    ],
)
def test_wrong_arguments_name_what_is_allowed(arguments, words):
    with pytest.raises(ValueError) as error:
        UNet(**{"depth": 2, "in_channels": 3, "out_channels": 1, "fmaps": 4, **arguments})
    assert all(word in str(error.value) for word in words), error.value


def test_inputs_too_small_name_the_smallest_size():
    for norm_type in ("instance", nn.InstanceNorm2d, lambda f: nn.InstanceNorm2d(f)):
        model = UNet(2, 3, 1, 4, norm_type=norm_type)
        with pytest.raises(ValueError, match=r"smallest size is \(5, 5\)"):
            model(torch.rand(1, 3, 4, 4))
        assert model(torch.rand(1, 3, 5, 1)).shape == (1, 1, 5, 1)
