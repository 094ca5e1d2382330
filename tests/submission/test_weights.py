"""What a sheet hands on is its best finished run; its weights, halved, make the same network by the line in README."""

import re

import pytest
import torch
from submission.projects import RESULT

from cvf20.models import UNet
from cvf20.models.spec import spec_of
from cvf20.models.weights import write_half
from cvf20.submission.publish import best_of, hand_on, missing


@pytest.fixture
def result(project):
    """Writes a result and returns it."""

    def write(name, score, seed=0, data="stanford_background", metric="mIoU", **changes):
        content = RESULT | dict(name=name, seed=seed, data=data, metrics={"val": {metric: score}}) | changes
        project.put(f"results/{name}-seed{seed}.json", content)
        return content

    return write


def test_the_highest_score_of_the_sheets_notebooks_and_data_wins(project, result):
    result("03_unet_best", 0.5)
    result("03_unet_best", 0.6, seed=1)
    result("07_resnet", 0.8)
    result("03_yeast", 0.99, data="yeast_colonies", metric="IoU", sample=True)
    result("03_toy", 0.9, quick=True)
    result("03_stand_in", 0.9, synthetic=True)
    result("03_none", None)
    result("07_overfit", 0.9)
    project.put("results/03_x-seed0.json", "{")
    assert (best_of("A", project.root)["label"], best_of("A", project.root)["score"]) == ("03_unet_best-seed1", 0.6)
    assert best_of("C", project.root)["label"] == "07_resnet-seed0"
    assert best_of("B", project.root) is None and best_of("D", project.root) is None


def test_weights_go_from_the_run_to_the_folder_and_load_by_readmes_lines(project, result, monkeypatch, capsys):
    torch.manual_seed(0)
    model = UNet(1, 3, 9, 4, norm_type="batch")
    model(torch.randn(2, 3, 16, 16))  # with a past
    content = result("03_unet_best", 0.5, key="0123456789abcdef", network=spec_of(model))
    folder = project.root / "runs/03_unet_best-seed0-0123456789ab"
    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / "best.pt")
    assert [line.split(":")[0] for line in missing(project.root, ["A"])] == ["error"]
    hand_on(project.root, project.root / "runs")
    assert capsys.readouterr().out == "".join(f"sheet {s} hands on weights/03_unet_best-seed0.pt\n" for s in "AC")
    assert missing(project.root, ["A", "B", "C", "D"]) == []
    stored = torch.load(project.root / "weights/03_unet_best-seed0.pt", weights_only=True)
    kinds = {value.dtype for value in stored["weights"].values()}
    assert stored["key"] == content["key"] and kinds == {torch.half, torch.int64}
    readme = (project.root / "weights/README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(project.root)
    scope = {}
    exec(re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1], scope)
    image = torch.randn(1, 3, 16, 16)
    with torch.inference_mode():
        wanted, found = model.eval()(image), scope["model"](image)
    assert not scope["model"].training and (found - wanted).abs().max() < 0.01 * wanted.abs().max()


def test_older_results_without_a_network_are_a_note(project, result):
    result("03_unet_best", 0.5)
    hand_on(project.root, project.root / "runs")
    assert not (project.root / "weights").exists()
    wanted = "note: weights/03_unet_best-seed0.pt is missing. To mend: ./run_all.sh 03 --fresh"
    assert missing(project.root, ["A"]) == [wanted]


def test_too_large_for_half_precision_is_named(tmp_path):
    torch.save({"a": torch.ones(2), "b.weight": torch.tensor([1e5])}, tmp_path / "best.pt")
    with pytest.raises(ValueError, match="b.weight reaches"):
        write_half(tmp_path / "best.pt", tmp_path / "weights/x.pt", "")
