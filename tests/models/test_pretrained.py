"""Pretrained weights: which source wins, what the table says, and what happens without network or with a bad file."""

import threading

import pytest
import requests
import torch
from torchvision.models import ResNet18_Weights, WeightsEnum, resnet18

from cvf20.models import LightDecoderModel, ResnetBasedModel, pretrained
from cvf20.models.pretrained import load_pretrained
from cvf20.paths import data_dir

OWN_NAME = ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]


@pytest.fixture(autouse=True)
def weights_folder(tmp_path, monkeypatch):
    """An empty data folder and an empty download cache, and no network unless a test gives it one."""
    monkeypatch.setenv("CVF20_DATA", str(tmp_path))
    monkeypatch.setenv("CVF20_OFFLINE", "1")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    pretrained._unreachable.cache_clear()
    (tmp_path / "weights").mkdir()
    yield tmp_path / "weights"
    pretrained._unreachable.cache_clear()


@pytest.fixture(scope="module")
def whole():
    return resnet18().state_dict()


def without_last_block(state):
    return {k: v for k, v in state.items() if not k.startswith(("fc.", "layer4.1."))}


def test_partial_file(weights_folder, whole):
    torch.save(without_last_block(whole), weights_folder / "resnet18_imagenet_partial.pth")
    found = load_pretrained("resnet18")
    table = {row["layer"]: row for row in found.table()}
    assert found.source == "resnet18_imagenet_partial.pth"
    assert table["layer4.1"]["weights"] == "random" and table["layer4.0"]["weights"] == found.source
    assert sum(row["weights"] == "random" for row in found.table()) == 1
    encoder = ResnetBasedModel(9, found.state).encoder
    assert encoder.conv1.weight.equal(whole["conv1.weight"])
    assert sum(row["parameters"] for row in found.table()) == sum(p.numel() for p in encoder.parameters())


def test_a_block_that_is_there_in_part_is_counted(weights_folder, whole):
    torch.save(
        {"layer1.0.conv1.weight": whole["layer1.0.conv1.weight"]}, weights_folder / "resnet18_imagenet_partial.pth"
    )
    table = {row["layer"]: row["weights"] for row in load_pretrained("resnet18").table()}
    assert table["layer1.0"] == "1 of 12 tensors: resnet18_imagenet_partial.pth" and table["conv1"] == "random"


def test_torchvisions_own_file_wins_and_loses_its_head(weights_folder, whole):
    torch.save(without_last_block(whole), weights_folder / "resnet18_imagenet_partial.pth")
    torch.save(whole, weights_folder / OWN_NAME)
    found = load_pretrained("resnet18")
    assert found.source == OWN_NAME and not any(name.startswith("fc.") for name in found.state)
    assert {row["weights"] for row in found.table()} == {found.source}


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"", {"layer9.weight": torch.zeros(3)}])
def test_a_broken_file_in_the_download_cache_falls_back(weights_folder, whole, content):
    torch.save(without_last_block(whole), weights_folder / "resnet18_imagenet_partial.pth")
    file = weights_folder.parent / "hub/checkpoints" / OWN_NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    assert load_pretrained("resnet18").source == "resnet18_imagenet_partial.pth"


def test_nothing_there_is_random_and_one_line_says_so(capsys, recwarn):
    found = load_pretrained("resnet18")
    assert found.source == "random" and not found.state
    assert {row["weights"] for row in found.table()} == {"random"}
    ResnetBasedModel(9, found.state)
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    assert line.startswith("resnet18: random weights, since") and line.endswith("CVF20_OFFLINE forbids the download")
    assert not said.err and not recwarn


def test_network_goes_first(weights_folder, whole, monkeypatch):
    torch.save(without_last_block(whole), weights_folder / "resnet18_imagenet_partial.pth")
    monkeypatch.delenv("CVF20_OFFLINE")
    monkeypatch.setattr(requests, "head", lambda url, **_: _answer(200))
    asked = {}

    def get_state_dict(self, **arguments):
        asked.update(arguments)
        return whole

    monkeypatch.setattr(WeightsEnum, "get_state_dict", get_state_dict)
    assert load_pretrained("resnet18").source == "torchvision ResNet18_Weights.IMAGENET1K_V1"
    assert asked["weights_only"] and asked["check_hash"]


def _answer(status):
    answer = requests.Response()
    answer.status_code = status
    return answer


def test_server_that_refuses_or_is_not_there_is_asked_once(weights_folder, whole, monkeypatch):
    torch.save(without_last_block(whole), weights_folder / "resnet18_imagenet_partial.pth")
    monkeypatch.delenv("CVF20_OFFLINE")
    calls = []

    def head(url, timeout, **_):
        calls.append(timeout)
        raise requests.ConnectionError(url)

    monkeypatch.setattr(requests, "head", head)
    assert [load_pretrained("resnet18").source for _ in range(2)] == ["resnet18_imagenet_partial.pth"] * 2
    assert len(calls) == 1 and calls[0] <= 5
    pretrained._unreachable.cache_clear()
    monkeypatch.setattr(requests, "head", lambda url, **_: _answer(403))
    assert load_pretrained("resnet18").source == "resnet18_imagenet_partial.pth"


def test_a_network_that_never_answers_is_not_waited_for(weights_folder, monkeypatch, capsys):
    monkeypatch.delenv("CVF20_OFFLINE")
    monkeypatch.setattr(pretrained, "PATIENCE", 0.05)
    hangs = threading.Event()

    def head(url, **_):
        hangs.wait(20)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", head)
    assert load_pretrained("resnet18").source == "random"
    hangs.set()
    assert "no answer within 0.05 seconds" in capsys.readouterr().out


def test_broken_download_falls_back(weights_folder, whole, monkeypatch):
    torch.save(without_last_block(whole), weights_folder / "resnet18_imagenet_partial.pth")
    monkeypatch.delenv("CVF20_OFFLINE")
    monkeypatch.setattr(requests, "head", lambda url, **_: _answer(200))

    def get_state_dict(self, **_):
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", get_state_dict)
    assert load_pretrained("resnet18").source == "resnet18_imagenet_partial.pth"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"layer9.weight": torch.zeros(3)}, "layer9.weight"),
        ({"conv1.weight": torch.zeros(3)}, "size mismatch for conv1.weight"),
        ([torch.zeros(3)], "holds list"),
        ({7: torch.zeros(3)}, "names to tensors"),
        ({"fc.bias": torch.zeros(1000)}, "no layer of the encoder"),
        (b"<html>not found</html>", "no readable state dict"),
        (torch.nn.ReLU(), "no readable state dict"),  # weights_only: nothing but tensors is unpickled
    ],
)
def test_bad_file_is_named(weights_folder, content, message):
    file = weights_folder / "resnet18_imagenet_partial.pth"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError, match=f"(?s)resnet18_imagenet_partial.pth.*{message}"):
        load_pretrained("resnet18")


def test_table_draws_no_random_number(weights_folder, whole):
    torch.save(without_last_block(whole), weights_folder / "resnet18_imagenet_partial.pth")
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_pretrained("resnet18").table()
    assert torch.rand(1).equal(expected)


def test_unknown_encoder_is_named():
    with pytest.raises(ValueError, match="encoder='resnet50'"):
        load_pretrained("resnet50")


@pytest.mark.parametrize(("encoder", "missing"), [("resnet18", ["layer4.1"]), ("mobilenet_v2", [])])
def test_the_real_files(encoder, missing, monkeypatch, weights_folder):
    monkeypatch.undo()
    if not (data_dir() / "weights" / pretrained.SOURCES[encoder][1]).is_file():
        pytest.skip("real weights needed")
    monkeypatch.setenv("CVF20_OFFLINE", "1")
    found = load_pretrained(encoder)
    if not found.source.startswith("torchvision"):
        assert [row["layer"] for row in found.table() if row["weights"] == "random"] == missing
    model = ResnetBasedModel(9, found.state) if encoder == "resnet18" else LightDecoderModel(9, encoder, found.state)
    assert all(model.encoder.state_dict()[name].equal(tensor) for name, tensor in found.state.items())
