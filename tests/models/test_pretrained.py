"""Pretrained weights: which source wins, and what happens without network or with a bad file."""

import socket

import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from cvf20.models import LightDecoderModel, ResnetBasedModel
from cvf20.models.encoders import ENCODERS, load_pretrained
from cvf20.paths import data_dir

OWN = ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
PARTIAL = "resnet18_imagenet_partial.pth"


@pytest.fixture(scope="module")
def whole():
    return resnet18().state_dict()


@pytest.fixture
def folder(tmp_path, monkeypatch, whole):
    """A data folder that holds all but the last block, and no network unless a test gives it one."""
    monkeypatch.setenv("CVF20_DATA", str(tmp_path))
    monkeypatch.setenv("CVF20_OFFLINE", "1")
    (tmp_path / "weights").mkdir()
    part = {name: value for name, value in whole.items() if not name.startswith(("fc.", "layer4.1."))}
    torch.save(part, tmp_path / "weights" / PARTIAL)
    return tmp_path / "weights"


def test_partial_file(folder, whole):
    state = torch.get_rng_state()
    found = load_pretrained("resnet18")
    assert torch.get_rng_state().equal(state), "no random number is drawn"
    assert found.source == PARTIAL
    encoder = ResnetBasedModel(9, found.state).encoder
    missing = encoder.state_dict().keys() - found.state.keys()
    assert missing == {name for name in encoder.state_dict() if name.startswith("layer4.1")}
    assert encoder.conv1.weight.equal(whole["conv1.weight"])
    assert encoder.eval().layer4[1](x := torch.rand(1, 512, 4, 5)).equal(x), "without weights the identity, not noise"
    (folder / OWN).write_text("<html>not found</html>")
    assert load_pretrained("resnet18").source == PARTIAL, "a broken file of torchvision's falls back"
    torch.save(torch.nn.ReLU(), folder / PARTIAL)  # only tensors are unpickled
    with pytest.raises(ValueError, match=f"{PARTIAL} is no readable state dict"):
        load_pretrained("resnet18")


def test_torchvisions_own_file_wins_and_loses_its_head_and_nothing_is_random(folder, whole, capsys):
    torch.save(whole, folder / OWN)
    found = load_pretrained("resnet18")
    assert found.source == "torchvision ResNet18_Weights.IMAGENET1K_V1" and "fc.weight" not in found.state
    for file in (OWN, PARTIAL):
        (folder / file).unlink()
    found = load_pretrained("resnet18")
    assert found.source == "random" and not found.state
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("resnet18: random weights, since") and line.endswith("CVF20_OFFLINE forbids the download")


def test_a_server_that_does_not_answer_is_not_waited_for(folder, monkeypatch):
    monkeypatch.delenv("CVF20_OFFLINE")

    def urlopen(*_, **__):
        assert 0 < socket.getdefaulttimeout() <= 5
        raise TimeoutError("timed out")

    monkeypatch.setattr(torch.hub, "urlopen", urlopen)
    assert load_pretrained("resnet18").source == PARTIAL and socket.getdefaulttimeout() is None


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_real_files(encoder, monkeypatch):
    if not (data_dir() / "weights" / ENCODERS[encoder].partial).is_file():
        pytest.skip("real weights needed")
    monkeypatch.setenv("CVF20_OFFLINE", "1")
    found = load_pretrained(encoder)
    model = ResnetBasedModel(9, found.state) if encoder == "resnet18" else LightDecoderModel(9, encoder, found.state)
    assert found.state and all(model.encoder.state_dict()[name].equal(tensor) for name, tensor in found.state.items())
