"""Networks that students wrote for the course's own file run unchanged: every name that its hooks and forwards offer."""

from functools import partial

import pytest
import torch
from torch import nn

from cvf20.models import UNet, load_by_position
from cvf20.models.base import EncoderDecoderSkeleton, get_padding, skip_none_sequential

NAMES = (4, 8, 16)  # feature maps of depth 2


class Block(nn.Module):
    """As students write blocks for **self.conv_norm_act_dict: a convolution and a shortcut."""

    def __init__(self, f_in, f_out, conv_type, norm_type, activation, kernel_size=3):
        super().__init__()
        self.shortcut = conv_type(f_in, f_out, kernel_size=1)
        conv = conv_type(f_in, f_out, kernel_size=kernel_size, padding=get_padding(kernel_size))
        self.layers, self.last = skip_none_sequential(conv, norm_type(f_out)), activation()

    def forward(self, x):
        current = self.layers(x) + self.shortcut(x)
        return current if self.last is None else self.last(current)


class NamedLayers(UNet):
    def construct_layer(self, f_in, f_out, kernel_size=(5, 3)):
        padding = get_padding(kernel_size, (1, 2))
        conv = self.conv_type(f_in, f_out, kernel_size=kernel_size, padding=padding, dilation=(1, 2))
        return skip_none_sequential({"conv": conv, "norm": self.norm_type(f_out), "activation": self.activation()})


class BlocksByDictionary(UNet):
    def construct_encoder_module(self, depth):
        f_in = self.in_channels if depth == 0 else self.fmaps[depth - 1]
        return Block(f_in, self.fmaps[depth], **self.conv_norm_act_dict)

    def construct_decoder_module(self, depth):
        f_out = self.fmaps[0] if depth == 0 else self.fmaps[depth - 1]
        return Block(self.merged_fmaps[depth], f_out, **self.conv_norm_act_dict, kernel_size=5)


class InputAndOutput(UNet):
    """With attributes before super().__init__, as hooks need them; those named like choices of ours change nothing else."""

    def __init__(self, depth, in_channels, out_channels, fmaps, **kwargs):
        self.growth, self.dropout, self.upsampling, self.convs_per_level = 2, 0.3, "transposed", 1
        super(InputAndOutput, self).__init__(depth, in_channels, out_channels, fmaps, **kwargs)  # noqa: UP008
        self.merge = self.downsampling = nn.Identity()

    def construct_input_module(self):
        return nn.BatchNorm2d(self.in_channels)

    def construct_skip_module(self, depth):
        f, wide = self.fmaps[depth], self.growth * self.fmaps[depth]
        layers = self.construct_layer(f, wide), self.construct_layer(wide, f, kernel_size=1)
        return nn.Sequential(nn.Dropout2d(self.dropout), *layers)

    def construct_output_module(self):
        layers = [self.conv_type(self.fmaps[0], self.out_channels, kernel_size=1)]
        if self.final_activation is not None:
            layers.append(self.final_activation())
        return nn.Sequential(*layers)


class OwnForward(UNet):
    """Its own samplings, and the forward pass written out, with the course's check of the size."""

    def construct_upsampling_module(self, depth):
        f, factor = self.fmaps[depth], self.scale_factors[depth]
        return nn.ConvTranspose2d(f, f, kernel_size=factor, stride=factor)

    def construct_downsampling_module(self, depth):
        f = self.fmaps[depth]
        return self.conv_type(f, f, kernel_size=3, stride=self.scale_factors[depth], padding=1)

    def forward(self, input_):
        axes = len(input_.shape)
        assert all(input_.shape[-i] % self.divisibility_constraint[-i] == 0 for i in range(1, axes - 1))
        encoded, current = [], self.initial_module(input_)
        for encode, downsample in zip(self.encoder_modules, self.downsampling_modules, strict=True):
            current = encode(current)
            encoded.append(current)
            current = downsample(current)
        current = self.base_module(current)
        blocks = self.upsampling_modules, self.skip_modules, self.merge_modules, self.decoder_modules
        for state, upsample, skip, merge, decode in reversed(list(zip(encoded, *blocks, strict=True))):
            current = decode(merge(upsample(current), skip(state)))
        return self.final_module(current)


class Skeleton(EncoderDecoderSkeleton):
    """Written on the skeleton itself, with attributes of its own."""

    def __init__(self, depth, in_channels, out_channels, fmaps, **others):
        self.in_channels, self.out_channels, self.fmaps = in_channels, out_channels, fmaps
        super().__init__(depth)

    def construct_encoder_module(self, depth):
        return nn.Conv2d(self.in_channels if depth == 0 else self.fmaps[depth - 1], self.fmaps[depth], 3, padding=1)

    def construct_decoder_module(self, depth):
        return nn.Conv2d(2 * self.fmaps[depth], self.fmaps[max(0, depth - 1)], 3, padding=1)

    def construct_downsampling_module(self, depth):
        return nn.MaxPool2d(kernel_size=2, stride=2, padding=0)

    def construct_upsampling_module(self, depth):
        return nn.Upsample(scale_factor=2)

    def construct_base_module(self):
        return nn.Conv2d(self.fmaps[self.depth - 1], self.fmaps[self.depth - 1], 3, padding=1)

    def construct_output_module(self):
        return nn.Conv2d(self.fmaps[0], self.out_channels, kernel_size=1)


SUBCLASSES = [NamedLayers, BlocksByDictionary, OwnForward, InputAndOutput, Skeleton]
ARGUMENTS = {
    "as it is": {},
    "a class": {"norm_type": nn.BatchNorm2d, "activation": nn.PReLU, "final_activation": nn.Sigmoid},
    "an instance": {"norm_type": None, "activation": nn.LeakyReLU(0.2), "final_activation": nn.Sigmoid()},
    "a callable": {"norm_type": partial(nn.GroupNorm, 1), "activation": lambda: nn.ELU(0.5)},
    "a name": {"activation": "ReLU", "scale_factor": [2, 2]},
}


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("network", SUBCLASSES, ids=lambda network: network.__name__)
def test_subclasses_run_and_learn(network, arguments):
    model = network(2, 1, 3, NAMES, **ARGUMENTS[arguments])
    out = model(torch.rand(2, 1, 12, 8))
    assert out.shape == (2, 3, 12, 8)
    out.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    if arguments == "an instance":  # copied, never shared
        used = [id(m) for m in model.modules() if isinstance(m, nn.LeakyReLU)]
        assert id(ARGUMENTS[arguments]["activation"]) not in used and len(used) == len(set(used))
    if network is InputAndOutput:
        theirs, ours = model.decoder_modules, UNet(2, 1, 3, NAMES, **ARGUMENTS[arguments]).decoder_modules
        assert model.skip_modules[0][0].p == 0.3 and repr(theirs) == repr(ours)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_names_for_every_dimension(dim):
    model = UNet(2, 1, 1, NAMES, dim=dim, scale_factor=[2, 3])
    assert model.conv_type is getattr(nn, f"Conv{dim}d") and model.divisibility_constraint == [6] * dim
    assert model.norm_type(4) is None and isinstance(model.activation(), nn.ReLU) and model.final_activation is None
    assert [get_padding(5, dilation=2), get_padding((1, 3), (1, 4)), get_padding(3, (1, 2))] == [4, (0, 4), (1, 2)]


def test_weights_of_the_courses_class_load():
    """Its layers have these names, in this order: the decoder before the base."""
    ours = UNet(1, 1, 3, (4, 8), norm_type=nn.BatchNorm2d)
    parts = [f"conv.{part}" for part in ("weight", "bias")]
    parts += [f"norm.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    blocks = [f"{block}.{i}" for block in ("encoder_modules.0", "decoder_modules.0", "base_module") for i in (0, 1)]
    names = [f"{block}.{part}" for block in blocks for part in parts]
    assert list(ours.state_dict()) == [*names, "final_module.weight", "final_module.bias"]
    theirs = UNet(1, 1, 3, (4, 8), norm_type=nn.BatchNorm2d).eval()
    state = {f"layer{i}": value for i, value in enumerate(theirs.state_dict().values())}  # names of any other class
    x = torch.rand(1, 1, 8, 8)
    assert load_by_position(ours, state).eval()(x).equal(theirs(x))
