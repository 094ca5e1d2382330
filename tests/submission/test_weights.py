"""The best network of a sheet is the best finished one; its weights, halved, still make the same network."""

import io
import json

import pytest
import torch

from cvf20.submission.cover import training_seconds
from cvf20.submission.weights import NETWORKS, Best, best_of, collect, half, read_me


@pytest.fixture
def run(project):
    """Writes a result, and its weights if asked; returns the result."""

    def write(name, score, seed=0, data="stanford_background", metric="mIoU", state=None, **changes):
        result = dict(name=name, seed=seed, notebook=name, data=data, quick=False, synthetic=False, seconds=1.5)
        result |= dict(metrics={"val": {metric: score}}, recipe={}, **changes)
        (project.root / f"results/{name}-seed{seed}.json").write_text(json.dumps(result))
        if state is not None:
            folder = project.root / f"runs/{name}-seed{seed}-abc"
            folder.mkdir(parents=True)
            torch.save(state, folder / "best.pt")
            (folder / "result.json").write_text(json.dumps(result))
        return result

    write.results, write.runs = project.root / "results", project.root / "runs"
    return write


def test_the_highest_score_of_the_sheets_notebooks_and_data_wins(run):
    run("03_unet_best", 0.5)
    run("03_unet_best", 0.6, seed=1)
    run("07_resnet", 0.8)
    run("03_yeast", 0.99, data="yeast_colonies", metric="IoU")
    run("03_toy", 0.9, quick=True)
    run("03_stand_in", 0.9, synthetic=True)
    run("03_none", None)
    best = best_of("A", run.results)
    assert (best.run, best.seed, best.value, best.file) == ("03_unet_best", 1, 0.6, None)
    run("07_overfit", 0.9)
    assert best_of("C", run.results).run == "07_resnet"
    assert best_of("B", run.results) is None
    run("03_case_study_FlattenNet", 170.0, data="keypoints", metric="score", synthetic=True)  # drawn by design
    assert best_of("D", run.results).run == "03_case_study_FlattenNet"
    run("07_msrc", 0.7, data="msrc", metric="accuracy")
    assert best_of("D", run.results).run == "07_msrc"


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_broken_result_is_passed_over(run, content):
    run("03_unet_best", 0.5)
    (run.results / "03_x-seed0.json").write_text(content)
    assert best_of("A", run.results).run == "03_unet_best"
    assert training_seconds(run.results, ["03_unet"]) == {"03_unet": 1.5}


def test_seconds_of_a_search_hold_those_of_its_trials(run):
    for name in ("04_search", "04_trial_ab12", "04_best"):
        run(name, 0.5)
    assert training_seconds(run.results, ["04_tuning", "03_unet"]) == {"04_tuning": 3.0}


def test_weights_belong_to_the_very_run(run):
    run("03_unet_best", 0.5, state={"a": torch.ones(1)})
    assert best_of("A", run.results, run.runs).file == run.runs / "03_unet_best-seed0-abc/best.pt"
    run("03_unet_best", 0.51)  # published by another machine
    assert best_of("A", run.results, run.runs).file is None


def test_what_is_not_there_is_said(run):
    run("03_unet_best", 0.5)
    run("07_unknown", 0.9, state={"a": torch.ones(1)})
    found = list(collect(["A", "B", "C"], run.results, run.runs))
    lines = [line for _, line in found]
    assert "not in runs/" in lines[0] and "no finished run" in lines[1] and "line that loads it is missing" in lines[2]
    assert "load_state_dict" not in read_me(found)


@pytest.mark.parametrize("name", NETWORKS)
def test_half_the_weights_make_the_same_network(tmp_path, monkeypatch, name):
    """The lines that README gives are run as they stand, on the weights of a network with a past."""
    module, expression = NETWORKS[name]
    scope = {}
    exec(f"from {module} import *\nmodel = {expression}", scope)
    model = scope["model"].train()
    first = next(layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d))
    shape = (1, 1, 96, 96) if "case_study" in module else (2, first.in_channels, 32, 48)
    torch.manual_seed(0)
    model(torch.randn(shape))
    torch.save(model.state_dict(), tmp_path / "full.pt")
    best = Best("C", name, 0, "mIoU", 0.5, tmp_path / "full.pt")
    content = half(best.file)
    assert len(content) < 0.55 * best.file.stat().st_size and content == half(best.file)
    state = torch.load(io.BytesIO(content), weights_only=True)
    assert {value.dtype for value in state.values()} <= {torch.float16, torch.int64}
    (tmp_path / "weights").mkdir()
    (tmp_path / best.name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    loaded = {}
    exec("\n".join(best.lines()), loaded)
    image = torch.randn(shape)
    with torch.inference_mode():
        wanted, found = model.eval()(image), loaded["model"](image)
    assert not loaded["model"].training and found.dtype == torch.float32
    assert (found - wanted).abs().max() < 0.01 * wanted.abs().max()


def test_weights_of_a_case_study_lie_inside_its_run(tmp_path):
    torch.save({"weights": {"a": torch.ones(2)}, "result": "{}", "losses": [1.0]}, tmp_path / "x.pt")
    state = torch.load(io.BytesIO(half(tmp_path / "x.pt")), weights_only=True)
    assert state.keys() == {"a"} and state["a"].dtype == torch.float16


def test_too_large_for_half_precision_is_named(tmp_path):
    torch.save({"a": torch.ones(2), "b.weight": torch.tensor([1e5])}, tmp_path / "best.pt")
    with pytest.raises(ValueError, match="b.weight reaches 1e"):
        half(tmp_path / "best.pt")
