"""Networks rebuilt from their weights, or from the words that built them."""

import pytest
import torch
from torch import nn

from cvf20.models import BaseConv, LightDecoderModel, ResnetBasedModel, UNet
from cvf20.models.your_models import ResidualUNet
from cvf20.training.rebuild import from_spec, rebuild


@pytest.mark.parametrize(
    "network",
    [
        BaseConv(1, 4, (5, 6)),
        ResnetBasedModel(3),
        ResnetBasedModel(23, full_resolution=False),
        LightDecoderModel(5, width=8),
        LightDecoderModel(5, "resnet18", width=12),
    ],
    ids=lambda network: type(network).__name__,
)
def test_weights_tell_how_it_was_built(network):
    twin = rebuild(type(network).__name__, network.state_dict())
    assert type(twin) is type(network) and not twin.training
    assert all(a.equal(b) for a, b in zip(twin.state_dict().values(), network.state_dict().values(), strict=True))


def test_half_precision_weights_become_float32():
    network = BaseConv(3, 2, (4,))
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in network.state_dict().items()
    }
    twin = rebuild("BaseConv", half)
    assert all(p.dtype == torch.float32 for p in twin.parameters())


def test_words():
    unet = from_spec("UNet(2, 3, 9, (4, 8, 16), norm_type='batch', upsampling='transposed')")
    assert (
        isinstance(unet, UNet)
        and unet.fmaps == [4, 8, 16]
        and isinstance(unet.upsampling_modules[0], nn.ConvTranspose2d)
    )
    own = ResidualUNet(1, 3, 2, 4)
    assert isinstance(rebuild("ResidualUNet", own.state_dict(), "ResidualUNet(1, 3, 2, 4)"), ResidualUNet)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("UNet(", "literal arguments"),
        ("__import__('os').getcwd()", "literal arguments"),
        ("UNet(2, open('x'))", "literal arguments"),
        ("Unet(2, 3, 9, 4)", "Unet is not one of.*UNet"),
        ("UNet(2)", "missing"),
        ("UNet(2, 3, 9, 4, upsampling='cubic')", "upsampling='cubic'"),
    ],
)
def test_words_that_build_nothing(spec, message):
    with pytest.raises(ValueError, match=message):
        from_spec(spec)


def test_a_unets_weights_do_not_tell():
    with pytest.raises(ValueError, match="UNet: its weights do not tell.*--model"):
        rebuild("UNet", UNet(1, 3, 2, 4).state_dict())


def test_weights_of_another_network():
    with pytest.raises(ValueError, match="do not fit UNet"):
        rebuild("UNet", UNet(1, 3, 2, 4).state_dict(), "UNet(1, 3, 2, 8)")
