"""How a network is built, as text: written by the network itself, read back without evaluating anything."""

import copy
import functools
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cvf20.models import BaseConv, ResnetBasedModel, UNet, WatershedNet, your_models
from cvf20.models.spec import build, spec_of

PRINTED = "cvf20.models.UNet(4, 3, 9, (16, 32, 64, 128, 256), norm_type=torch.nn.BatchNorm2d, upsampling='transposed')"


class Swish(nn.Module):
    def forward(self, x):
        return x * x.sigmoid()


class Own(UNet):
    """A student's class that fixes some arguments and adds one."""

    def __init__(self, width, *args, **kwargs):
        super().__init__(1, 1, 2, width, *args, **kwargs)


def own_norm(features):
    return nn.GroupNorm(2, features)


HERE = __name__

OF_PARTIAL = "cvf20.models.WatershedNet(functools.partial(cvf20.models.UNet, 2, 1, fmaps=4), 5)"
NETWORKS = {
    PRINTED: UNet(4, 3, 9, (16, 32, 64, 128, 256), norm_type=nn.BatchNorm2d, upsampling="transposed"),
    "cvf20.models.UNet(0, 1, 1, [4], activation=torch.nn.ELU(alpha=1.0))": UNet(0, 1, 1, [4], activation=nn.ELU()),
    "cvf20.models.BaseConv(1, 4, (5,))": BaseConv(1, np.int64(4), (torch.tensor(5),)),
    OF_PARTIAL: WatershedNet(functools.partial(UNet, 2, 1, fmaps=4), 5),
    "torch.nn.LeakyReLU(negative_slope=0.1)": nn.LeakyReLU(0.1),
}


@pytest.mark.parametrize("text", NETWORKS)
def test_a_network_says_how_it_is_built_and_is_built_from_it(text):
    network = NETWORKS[text]
    assert spec_of(network) == text
    twin = build(text)
    assert type(twin) is type(network) and repr(twin) == repr(network) and spec_of(twin) == text
    twin.load_state_dict(network.state_dict())


def test_students_classes_and_functions_by_import_path(monkeypatch):
    monkeypatch.setitem(sys.modules, HERE, SimpleNamespace(Swish=Swish, Own=Own, own_norm=own_norm))
    network = Own(4, norm_type=own_norm, activation=Swish, final_activation=Swish())
    text = f"{HERE}.Own(4, norm_type={HERE}.own_norm, activation={HERE}.Swish, final_activation={HERE}.Swish())"
    assert spec_of(network) == text
    assert repr(build(text)) == repr(network)


def test_weights_are_no_part_of_the_text():
    network = ResnetBasedModel(2, ResnetBasedModel(2).encoder.state_dict(), full_resolution=False)
    assert spec_of(network) == "cvf20.models.ResnetBasedModel(2, None, full_resolution=False)"
    assert build(spec_of(network.replace_output(5))).output.out_channels == 5


def test_copies_keep_it_and_wrappers_are_looked_through():
    network = UNet(1, 3, 2, 4)
    text = spec_of(network)
    assert spec_of(copy.deepcopy(network)) == spec_of(pickle.loads(pickle.dumps(network))) == text
    compiled = torch.compile(network, backend="eager")
    for wrapped in (compiled, nn.DataParallel(network), torch.optim.swa_utils.AveragedModel(compiled)):
        assert spec_of(wrapped) == text


def test_what_cannot_be_written_is_none():
    class Local(UNet):
        pass

    lambdas, weights = {"norm_type": lambda f: nn.BatchNorm2d(f)}, {"activation": nn.Sequential(nn.ReLU())}
    written = [UNet(1, 1, 1, 4, **lambdas), UNet(1, 1, 1, 4, **weights), Local(1, 1, 1, 4), nn.Sequential(nn.ReLU())]
    assert [spec_of(network) for network in written] == [None] * 4


def test_a_class_of_a_notebook_or_script_is_found_once_it_has_moved_to_your_models(monkeypatch):
    monkeypatch.setattr(Own, "__module__", "__main__")
    assert spec_of(Own(4)) == "__main__.Own(4)"
    with pytest.raises(ValueError, match="no class __main__.Own .*your_models.py"):
        build("__main__.Own(4)")
    monkeypatch.setattr(your_models, "Own", Own, raising=False)
    for text in ("__main__.Own(4)", "not_there.Own(4)"):
        assert build(text)(torch.rand(1, 1, 8, 8)).shape == (1, 2, 8, 8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cvf20.models.UNet(", "never closed|unexpected EOF"),
        ("__import__('os').getcwd()", "no class"),
        ("subprocess.getoutput('true')", "subprocess.getoutput is no network"),
        ("cvf20.models.UNet(1, 1, 1, open('x'))", "no class open"),
        ("cvf20.models.UNet(1, 1, 1, [c for c in 'ab'])", "malformed"),
        ("cvf20.models.UNet(2)", "missing"),
        ("cvf20.models.UNet(2, 3, 9, 4, upsampling='cubic')", "upsampling='cubic'"),
        ("cvf20.models.UNet", "a call is wanted"),
    ],
)
def test_texts_that_build_nothing(text, words):
    with pytest.raises(ValueError, match=words):
        build(text)


def test_state_dicts_load_whether_compiled_or_wrapped_or_compiled_in_part():
    network, twin, partly = (UNet(1, 3, 2, 4, norm_type="batch") for _ in range(3))
    twin.load_state_dict(nn.DataParallel(torch.compile(network, backend="eager")).state_dict())
    assert all(a.equal(b) for a, b in zip(twin.state_dict().values(), network.state_dict().values(), strict=True))
    partly.base_module = torch.compile(partly.base_module, backend="eager")
    partly.load_state_dict(network.state_dict())
    twin.load_state_dict(partly.state_dict())
