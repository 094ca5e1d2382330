"""Networks on pretrained encoders: the printed architecture, every size, what freezing keeps still, honest errors."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torchvision.models import mobilenet_v2, resnet18

from cvf20.models import LightDecoderModel, ResnetBasedModel
from cvf20.models.encoders import make_encoder

BUILDS = {
    "printed": lambda: ResnetBasedModel(9),
    "fast": lambda: ResnetBasedModel(9, full_resolution=False),
    "mobilenet": lambda: LightDecoderModel(9, width=16),
    "resnet": lambda: LightDecoderModel(9, "resnet18", width=16),
}


@pytest.fixture(scope="module")
def networks():
    """One of each, in eval mode, not to be changed: drawing 14 million weights takes longer than copying them."""
    torch.manual_seed(0)
    built = {name: build().eval() for name, build in BUILDS.items()}
    for parameter in (p for network in built.values() for p in network.parameters() if p.dim() == 1):
        nn.init.uniform_(parameter, 0.5, 1.5)  # nothing is 0, so that whatever may learn does
    return built


@pytest.fixture(params=["fast", "mobilenet", "resnet"])
def model(request, networks):
    return copy.deepcopy(networks[request.param]).train()


def train_a_step(model: nn.Module) -> None:
    """One step of SGD with weight decay, in training mode."""
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    F.cross_entropy(model(torch.rand(2, 3, 40, 24)), torch.randint(0, 9, (2, 40, 24))).backward()
    optimizer.step()
    optimizer.zero_grad()


def changed(before: dict, module: nn.Module) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not tensor.equal(before[name])}


def test_numbers_of_parameters(networks):
    wanted = {
        networks["printed"]: 14_352_969,
        networks["printed"].encoder: 11_689_512 - 513_000,  # torchvision's whole network without its head
        networks["fast"]: 14_281_161,
        LightDecoderModel(23): 3_460_631,
    }
    assert [sum(p.numel() for p in network.parameters()) for network in wanted] == list(wanted.values())


@pytest.mark.parametrize(
    ("encoder", "theirs", "head"), [("resnet18", resnet18, "fc"), ("mobilenet_v2", mobilenet_v2, "classifier")]
)
def test_encoder_computes_what_torchvisions_network_does(encoder, theirs, head):
    """The last stage, pooled and classified by torchvision's own head, is torchvision's output."""
    whole, x = theirs().eval(), torch.rand(2, 3, 64, 64)
    for norm in whole.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.1), nn.init.uniform_(norm.weight, 0.5, 1.5)
    state = {k: v for k, v in whole.state_dict().items() if not k.startswith(head)}
    pooled = list(make_encoder(encoder, state).eval()(x).values())[-1].mean((2, 3))
    torch.testing.assert_close(getattr(whole, head)(pooled), whole(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("size", [(1, 1), (2, 33), (40, 70)])
def test_output_has_the_input_size_whatever_it_is(networks, name, size):
    with torch.no_grad():
        assert networks[name](torch.rand(1, 3, *size)).shape == (1, 9, *size)


def test_frozen_encoder_keeps_weights_and_statistics_until_it_is_unfrozen(model):
    assert model.freeze_encoder() is model
    before = copy.deepcopy(model.state_dict())
    train_a_step(model)  # which calls train(), as every epoch does
    moved = changed(before, model)
    assert moved and not any(name.startswith("encoder") for name in moved)
    assert {"output.weight", "output.bias"} <= moved and any("running_mean" in name for name in moved)
    assert model.training and not any(module.training for module in model.encoder.modules())
    for twin in (copy.deepcopy(model), AveragedModel(model).module):
        assert not twin.train().encoder.training and not any(p.requires_grad for p in twin.encoder.parameters())
    with torch.no_grad():  # the features do not depend on what else is in the batch
        x = torch.rand(2, 3, 40, 24)
        both, alone = (list(model.encoder(images).values())[-1] for images in (x, x[:1]))
        torch.testing.assert_close(both[:1], alone, rtol=1e-3, atol=1e-3)
    model.unfreeze_encoder()
    train_a_step(model)
    assert changed(before, model) == set(before) and all(p.requires_grad for p in model.parameters())


def test_replace_output_changes_nothing_else(model):
    twin = copy.deepcopy(model)
    assert twin.replace_output(23) is twin and twin.output.out_channels == 23
    assert changed(model.state_dict(), twin) == {"output.weight", "output.bias"}
