"""What holds for every network of the package: it compiles, learns, and its weights find their way back."""

from functools import partial

import pytest
import torch
from torch import nn

from cvf20.models import BaseConv, LightDecoderModel, ResnetBasedModel, UNet, WatershedNet
from cvf20.models.case_study import CASE_STUDY
from cvf20.models.spec import build, spec_of
from cvf20.models.your_models import AttentionUNet, DilatedBaseUNet, HalfResolutionUNet, ResidualUNet

COLOUR = (2, 3, 64, 48)
NETWORKS = {
    "BaseConv": (lambda: BaseConv(3, 4, (4, 8)), COLOUR),
    "UNet": (lambda: UNet(2, 3, 4, 4, norm_type="batch", activation=nn.PReLU()), COLOUR),
    "UNet, index": (lambda: UNet(2, 3, 4, 4, downsampling="index", upsampling="index", norm_type="group"), COLOUR),
    "UNet, sum": (lambda: UNet(2, 3, 4, 4, upsampling="bilinear", merge="sum", norm_type="instance"), COLOUR),
    "UNet, end": (partial(UNet, 1, 3, 1, 4, upsampling="transposed", final_activation="sigmoid", dropout=0.1), COLOUR),
    "UNet, 1D": (lambda: UNet(2, 1, 2, 4, dim=1, norm_type="batch", downsampling="stride"), (2, 1, 37)),
    "UNet, 3D": (lambda: UNet(1, 1, 2, 4, dim=3, norm_type="batch"), (2, 1, 9, 8, 7)),
    **{own.__name__: (partial(own, 2, 3, 4, 4, norm_type="batch"), COLOUR) for own in (AttentionUNet, DilatedBaseUNet)},
    **{own.__name__: (partial(own, 2, 3, 4, 4), COLOUR) for own in (HalfResolutionUNet, ResidualUNet)},
    "ResnetBasedModel": (lambda: ResnetBasedModel(4, full_resolution=False), COLOUR),
    "LightDecoderModel": (lambda: LightDecoderModel(4, width=8), COLOUR),
    "WatershedNet": (lambda: WatershedNet(partial(UNet, 2, 3, fmaps=4), 4), COLOUR),
    **{net.__name__: (net, (2, 1, 96, 96)) for net in CASE_STUDY},
}


NORMS, ACTIVATIONS = (nn.BatchNorm2d, "instance", "layer", None), ("LeakyReLU", "elu", nn.SiLU, None)
for norm, activation in zip(NORMS, ACTIVATIONS, strict=True):
    NETWORKS[f"UNet, {norm}"] = partial(UNet, 1, 3, 4, 4, norm_type=norm, activation=activation), COLOUR


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_compiles_learns_and_is_built_again(name):
    make, shape = NETWORKS[name]
    network, x = make(), torch.rand(shape)
    network(x).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    compiled = torch.compile(network.eval(), backend="eager")
    twin = build(spec_of(compiled)).eval()
    twin.load_state_dict(compiled.state_dict())
    with torch.no_grad():
        expected = network(x)
        assert twin(x).equal(expected)
        torch.testing.assert_close(compiled(x), expected)
    network.load_state_dict({f"_orig_mod.{key}": value for key, value in twin.state_dict().items()})
