"""U-Net: the printed architectures, every choice, every size, students' subclasses, clear errors."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cvf20.models import BaseConv, EncoderDecoderSkeleton, UNet
from cvf20.models.layers import IndexPool, IndexUnpool
from cvf20.models.your_models import ResidualUNet

PRINTED = {"norm_type": nn.BatchNorm2d, "upsampling": "transposed"}
SAMPLINGS = [
    ("max", "nearest"),
    ("average", "bilinear"),
    ("stride", "transposed"),
    ("index", "index"),
]


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_printed_networks_have_the_printed_numbers_of_parameters():
    assert parameters(BaseConv(3, 9)) == 24_393
    assert parameters(UNet(4, 3, 9, (16, 32, 64, 128, 256), **PRINTED)) == 1_944_185


def test_channel_plan_is_the_courses():
    unet = UNet(3, 1, 2, (4, 8, 16, 32))

    def plan(module):
        return [(c.in_channels, c.out_channels) for c in module.modules() if isinstance(c, nn.Conv2d)]

    assert plan(unet.encoder_modules) == [(1, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)]
    assert plan(unet.base_module) == [(16, 32), (32, 16)]
    assert plan(unet.decoder_modules) == [(8, 4), (4, 4), (16, 8), (8, 4), (32, 16), (16, 8)]
    assert unet.merged_fmaps == [8, 16, 32, 64]
    assert UNet(3, 1, 2, 4).fmaps == [4, 8, 16, 32]  # one number is doubled per level
    assert UNet(3, 1, 2, 4, merge="sum").merged_fmaps == [4, 8, 16, 32]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize(("down", "up"), SAMPLINGS)
@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_output_has_the_input_size_whatever_it_is(dim, down, up, merge):
    model = UNet(2, 3, 2, 4, dim=dim, downsampling=down, upsampling=up, merge=merge, norm_type="batch").eval()
    for size in (1, 2, 3, 7, 8):
        x = torch.rand(1, 3, *[size] * (dim - 1), size + 1)
        assert model(x).shape == (1, 2, *x.shape[2:])


@pytest.mark.parametrize("scale_factor", [3, (2, 3), ((1, 2), (3, 1))])
def test_scale_factors_per_level_and_axis(scale_factor):
    for down, up in SAMPLINGS:
        model = UNet(2, 3, 2, 4, scale_factor=scale_factor, downsampling=down, upsampling=up).eval()
        assert model(torch.rand(1, 3, 13, 10)).shape == (1, 2, 13, 10)


@pytest.mark.parametrize("norm_type", ["batch", "instance", "group", "layer", None, nn.BatchNorm2d, nn.InstanceNorm2d])
@pytest.mark.parametrize("activation", ["relu", "LeakyReLU", nn.PReLU, "elu", "gelu", nn.SiLU, None])
def test_norms_and_activations(norm_type, activation):
    model = UNet(1, 3, 1, 4, norm_type=norm_type, activation=activation, final_activation="sigmoid")
    out = model(torch.rand(2, 3, 8, 8))
    assert out.shape == (2, 1, 8, 8) and 0 <= out.min() and out.max() <= 1
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_every_block_has_its_own_activation():
    slopes = [m for m in UNet(2, 1, 1, 4, activation=nn.PReLU).modules() if isinstance(m, nn.PReLU)]
    assert len(slopes) == len(set(map(id, slopes))) == 10


def test_dropout_and_convolutions():
    torch.manual_seed(0)
    model = UNet(2, 3, 2, 16, dropout=0.5, convs_per_level=3)
    x = torch.rand(1, 3, 9, 12)
    assert model(x).shape == (1, 2, 9, 12)
    assert not torch.equal(model(x), model(x)), "dropout is random in training"
    model.eval()
    assert torch.equal(model(x), model(x))


def test_plain_unet_written_out_gives_the_same_output():
    model = UNet(1, 3, 2, (4, 8), norm_type="batch", upsampling="transposed").eval()
    x = torch.rand(2, 3, 6, 8)
    full = model.encoder_modules[0](x)
    deep = model.base_module(F.max_pool2d(full, 2))
    up = F.conv_transpose2d(deep, model.upsampling_modules[0].weight, model.upsampling_modules[0].bias, stride=2)
    expected = model.final_module(model.decoder_modules[0](torch.cat([up, full], 1)))
    torch.testing.assert_close(model(x), expected)


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


def test_average_pool_rounds_up_and_divides_by_what_is_there():
    pool = UNet(1, 1, 1, 2, downsampling="average").downsampling_modules[0]
    torch.testing.assert_close(pool(torch.tensor([[[[1.0, 3.0, 5.0]]]])), torch.tensor([[[[2.0, 5.0]]]]))


class StudentsUNet(UNet):
    """As students wrote it for the course: attributes before super().__init__, hooks that use the plan."""

    def __init__(self, *args, **kwargs):
        self.extra = 2
        super().__init__(*args, **kwargs)

    def construct_layer(self, f_in, f_out, kernel_size=3):
        return nn.Sequential(
            nn.Conv2d(f_in, f_out, kernel_size, padding=kernel_size // 2), nn.GroupNorm(self.extra, f_out), nn.ELU()
        )

    def construct_skip_module(self, depth):
        return self.construct_layer(self.fmaps[depth], self.fmaps[depth], kernel_size=1)

    def construct_decoder_module(self, depth):
        f_out = self.fmaps[depth - 1] if depth > 0 else self.fmaps[0]
        return self.construct_layer(self.merged_fmaps[depth], f_out, kernel_size=5)

    def construct_output_module(self):
        return nn.Conv2d(self.fmaps[0], self.out_channels, 1)


class StudentsSkeleton(EncoderDecoderSkeleton):
    """Hooks only; everything else comes from the defaults."""

    def construct_encoder_module(self, depth):
        return nn.Conv2d(3, 3, 3, padding=1)

    def construct_decoder_module(self, depth):
        return nn.Conv2d(6, 3, 3, padding=1)

    def construct_downsampling_module(self, depth):
        return nn.MaxPool2d(2)

    def construct_upsampling_module(self, depth):
        return nn.Upsample(scale_factor=2)


def test_students_subclasses_run_unchanged():
    model = StudentsUNet(3, 3, 1, [4, 8, 16, 32], 2, 2, None, nn.ReLU, None)
    assert model(torch.rand(1, 3, 17, 23)).shape == (1, 1, 17, 23)
    assert not any(isinstance(m, nn.ReLU) for m in model.modules())
    assert StudentsSkeleton(2)(torch.rand(1, 3, 11, 8)).shape == (1, 3, 11, 8)
    assert EncoderDecoderSkeleton(2)(torch.rand(1, 1, 4, 4)).shape == (1, 3, 4, 4)  # a concatenation per level


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"downsampling": "maximum"}, ["downsampling", "'maximum'", "'max', 'average', 'stride', 'index'"]),
        ({"upsampling": "cubic"}, ["upsampling", "'nearest', 'bilinear', 'transposed', 'index'"]),
        ({"downsampling": "index"}, ["one choice for both"]),
        ({"merge": "product"}, ["merge", "'concat', 'sum'"]),
        ({"norm_type": "bach"}, ["norm_type", "'batch', 'instance', 'group', 'layer'"]),
        ({"activation": "rel"}, ["activation", "'relu'"]),
        ({"activation": 3}, ["activation", "a class, an instance"]),
        ({"fmaps": (4, 8)}, ["depth=2 wants 3"]),
        ({"dim": 4}, ["dim=4", "1, 2, 3"]),
        ({"dropout": 1.0}, ["dropout=1.0"]),
        ({"convs_per_level": 0}, ["convs_per_level=0"]),
        ({"scale_factor": (2, 2, 2)}, ["scale_factor", "2 entries"]),
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
    with pytest.raises(ValueError, match=r"\(N, 3, \+ 2 axes\)"):
        UNet(2, 3, 1, 4)(torch.rand(3, 8, 8))


def test_index_unpooling_of_another_shape_is_an_error():
    class Wider(UNet):
        def construct_base_module(self):
            return self.construct_layer(self.fmaps[0], self.fmaps[1])

    with pytest.raises(ValueError, match="index unpooling needs"):
        Wider(1, 3, 1, 4, downsampling="index", upsampling="index")(torch.rand(1, 3, 8, 8))


def test_convolution_hook_reaches_every_block():
    calls = []

    class Counting(UNet):
        def construct_layer(self, f_in, f_out, kernel_size=3):
            calls.append((f_in, f_out))
            return super().construct_layer(f_in, f_out, kernel_size)

    Counting(2, 3, 1, 4)
    assert calls == [(3, 4), (4, 4), (4, 8), (8, 8), (8, 4), (4, 4), (16, 8), (8, 4), (8, 16), (16, 8)]


def test_sizes_of_all_choices_together():
    for (down, up), merge, network in itertools.product(SAMPLINGS, ["concat", "sum"], [UNet, ResidualUNet]):
        model = network(3, 1, 1, 4, downsampling=down, upsampling=up, merge=merge, norm_type="group")
        assert model(torch.rand(1, 1, 20, 33)).shape == (1, 1, 20, 33)
