"""Folding batch norm away: the same function, and nothing left that looks at the batch."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvf20.models import LightDecoderModel, ResnetBasedModel, UNet
from cvf20.models.folding import fold_batch_norm


def with_statistics(model: nn.Module) -> nn.Module:
    """Batch norms that have seen something, so that they are not the identity."""
    for norm in (m for m in model.modules() if isinstance(m, _BatchNorm)):
        nn.init.normal_(norm.running_mean, std=0.2), nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5), nn.init.normal_(norm.bias, std=0.2)
    return model


BUILDS = [
    lambda: ResnetBasedModel(4, full_resolution=False),
    lambda: LightDecoderModel(4, width=8),
    lambda: UNet(2, 3, 4, 4, norm_type="batch"),
    lambda: UNet(1, 3, 4, 4, norm_type="batch", dim=3),
]


@pytest.mark.parametrize("build", BUILDS)
def test_the_same_function_without_batch_norm(build):
    model = with_statistics(build()).double().eval()
    before = copy.deepcopy(model.state_dict())
    folded = fold_batch_norm(model)
    x = torch.rand(2, 3, *(12, 14, 9)[: getattr(model, "dim", 2)], dtype=torch.float64)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-6, atol=1e-6)
    assert not any(isinstance(m, _BatchNorm) for m in folded.modules()) and not folded.training
    assert all(model.state_dict()[name].equal(tensor) for name, tensor in before.items())
    if not any(isinstance(m, nn.Dropout2d) for m in folded.modules()):
        folded.train()
        torch.testing.assert_close(folded(x)[:1], folded(x[:1]))  # a training batch does not see itself


class NormFirst(nn.Module):
    """Registers the convolution ahead of the norm, and runs the norm ahead of the convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.other = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(self.norm(x))


class Elsewhere(NormFirst):
    def forward(self, x):
        return self.conv(self.norm(self.other(x)))


class ReadTwice(NormFirst):
    def forward(self, x):
        seen = self.conv(x)
        return self.norm(seen) + seen


def test_what_runs_before_the_norm_counts_not_what_is_registered_before_it():
    network, x = with_statistics(Elsewhere()).eval(), torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(fold_batch_norm(network)(x), network(x))
    for other in (NormFirst, ReadTwice):
        with pytest.raises(ValueError, match="batch norm 'norm' follows"):
            fold_batch_norm(other())
    with pytest.raises(ValueError, match=r"batch norm '2' follows ReLU\(\)"):
        fold_batch_norm(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)))
