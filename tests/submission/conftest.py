import pytest
from submission.projects import Project


@pytest.fixture
def project(tmp_path, monkeypatch) -> Project:
    for variable in ("CVF20_OUT", "CVF20_RUNS", "CVF20_DATA", "CVF20_SYNTHETIC", "CVF20_FRESH"):
        monkeypatch.delenv(variable, raising=False)
    return Project(tmp_path / "project")
