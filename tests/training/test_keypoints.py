"""Training on key points: it learns, it repeats itself, a finished run is loaded."""

import json

import pytest
import torch
from torch import nn

from cvf20.datasets.keypoints import Faces
from cvf20.models.case_study import GlobalPoolingNet
from cvf20.training import keypoints as case_study
from cvf20.training.keypoints import fit_keypoints, predict_keypoints, run_case_study, score
from cvf20.training.results import REQUIRED


class Tiny(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(144, 30))


@pytest.fixture(scope="module")
def faces():
    return Faces("train", 40), Faces("val", 20)


def test_pass_mark_is_a_mean_squared_error_of_0005():
    assert score(0.005) == pytest.approx(case_study.PASS_MARK)


def test_the_loss_falls_and_the_same_seed_repeats_it(faces):
    def run(seed):
        torch.manual_seed(0)
        return fit_keypoints(Tiny(), faces[0], steps=60, seed=seed)

    first = run(1)
    assert sum(first[-5:]) < sum(first[:5]) / 3
    assert run(1) == first and run(2) != first


def test_predictions_do_not_depend_on_their_neighbours(faces):
    model = GlobalPoolingNet()
    data = faces[1]
    alone = model.eval()(data[3][0][None])
    assert torch.allclose(predict_keypoints(model, data)[3], alone[0], atol=1e-5)


def test_a_finished_run_is_loaded_and_its_result_written_again(faces, tmp_path, monkeypatch):
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("CVF20_RUNS", str(tmp_path / "runs"))
    first = run_case_study(Tiny, *faces, seed=1, steps=5)
    file = tmp_path / "out" / "results" / "03_case_study_Tiny-seed1.json"
    written = json.loads(file.read_text())
    assert set(REQUIRED) <= set(written) and written["synthetic"] and written["data"] == "keypoints"
    assert written["metrics"]["val"]["score"] == pytest.approx(1 / (2 * written["metrics"]["val"]["mse"]))

    file.unlink()
    monkeypatch.setattr(torch.optim, "AdamW", None)  # training again would fail
    again = run_case_study(Tiny, *faces, seed=1, steps=5)
    assert again.result == first.result and again.losses == first.losses and file.exists()
    assert again.predicted.equal(first.predicted)


def test_other_data_is_another_run(faces, tmp_path, monkeypatch):
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("CVF20_RUNS", str(tmp_path / "runs"))
    for train in (faces[0], Faces("train", 41)):
        run_case_study(Tiny, train, faces[1], quick=True)
    run_case_study(Tiny, *faces, quick=True)
    assert len(list((tmp_path / "runs").glob("*/value.json"))) == 2
