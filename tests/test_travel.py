"""What was trained and published here is rendered anywhere else without one step of training, to the same numbers."""

import json
import shutil

import pytest
from copies import Copy
from submission.projects import RESULT, WORK, Project, notebook

TRAINING = """
import torch
from torch import nn
from torch.utils.data import TensorDataset
from cvf20.learner import Learner
from cvf20.training.runs import cached

def refuse(*args, **kwargs):
    raise AssertionError("an optimiser takes a step")

if os.environ.get("NO_STEPS"):
    torch.optim.AdamW.step = refuse

generator = torch.Generator().manual_seed(0)
images = torch.rand(8, 3, 8, 8, generator=generator)
data = TensorDataset(images, (images.mean(1) > 0.5).long())

def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))

learner = Learner(network, nn.CrossEntropyLoss(), data, data, epochs=2, batch_size=4, name="03_net", seed=seed, quick=quick)
print(learner.fit()["metrics"]["val"])
"""
USE = """
def confidence():
    return {"mean": learner.predict(images).amax(1).mean(), "map": learner.predict(images)[0, 0].half()}

found = cached("03_confidence", confidence, quick=quick)
print(round(float(found["mean"]), 6), learner.test(data))
fig, axis = plt.subplots(figsize=(2, 2))
axis.imshow(found["map"].float())
show(fig, "03_map", "How sure the network is.")
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy in which a notebook trained a network, used it, and was published."""
    copy = Copy(tmp_path_factory.mktemp("travel"))
    project = Project(copy.root)
    project.save("03_unet", notebook(WORK.format(result=RESULT), TRAINING, USE))
    copy.first = copy("./run_all.sh 03")
    return copy


def rendered(copy) -> dict:
    """What is published, without the times and places of this run."""
    nb = json.loads((copy.root / "notebooks/03_unet.ipynb").read_text(encoding="utf-8"))
    said = [output.get("text") or output["data"] for cell in nb["cells"] for output in cell.get("outputs", [])]
    files = [path for folder in ("figures", "results") for path in (copy.root / folder).rglob("*") if path.is_file()]
    lines = [line for part in said for line in (part if isinstance(part, list) else [json.dumps(part)])]
    return {path.name: path.read_bytes() for path in files} | {
        "said": [x for x in lines if "loaded" not in x and "epoch" not in x]
    }


def test_a_published_notebook_renders_in_a_clone_without_training_to_the_same_numbers(copy):
    assert copy.first.returncode == 0, copy.first.stdout
    before = rendered(copy)
    assert {"03_net-seed0.json", "03_net-seed0.csv", "03_map.png"} <= set(before) and len(before["said"]) > 3
    shutil.rmtree(copy.root / "runs")
    again = copy("./run_all.sh 03", NO_STEPS="1", OMP_NUM_THREADS="1")
    assert again.returncode == 0 and "loaded from results/" in again.stdout, again.stdout
    assert not list((copy.root / "runs").rglob("*.pt"))
    after = rendered(copy)
    assert after == before


def test_training_anew_is_asked_for_by_fresh(copy):
    again = copy("./run_all.sh --fresh 03", NO_STEPS="1")
    assert again.returncode == 1 and "an optimiser takes a step" in again.stdout
