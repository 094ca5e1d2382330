"""Fixtures: a project without notebooks, and one whose notebook has run."""

import base64
import json

import nbformat
import pytest
from nbformat.v4 import new_output
from submission.projects import Project, png, stream, working_notebook


@pytest.fixture
def project(tmp_path, monkeypatch) -> Project:
    for variable in ("CVF20_OUT", "CVF20_RUNS", "CVF20_DATA"):
        monkeypatch.delenv(variable, raising=False)
    return Project(tmp_path / "project")


@pytest.fixture
def executed(project):
    """A project with one notebook as a run would leave it; returns (notebook's path, figures/, results/)."""
    nb = working_notebook("03_unet")
    count = 0
    for cell in nb.cells:
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
    picture = {"image/png": base64.b64encode(png([0, 255])).decode(), "text/plain": "<Figure>"}
    words = {"image/png": {"alt": "a line"}}
    nb.cells[3].outputs = [
        new_output("display_data", data=picture, metadata=words),
        stream("figures/03_unet_line.png\n"),
    ]
    nb.cells[4].outputs = [stream("results/03_unet_net-seed0.json\n")]
    path = project.root / "notebooks/03_unet.ipynb"
    nbformat.write(nb, path)
    (project.root / "figures/03_unet_line.png").write_bytes(png([0, 255]))
    result = dict(name="03_unet_net", seed=0, notebook="03_unet", data="squares", synthetic=False, quick=False)
    result |= dict(metrics={"val": {"IoU": 0.5}}, recipe={}, seconds=1.0)
    (project.root / "results/03_unet_net-seed0.json").write_text(json.dumps(result))
    return path, project.root / "figures", project.root / "results"
