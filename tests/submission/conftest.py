import pytest
from submission.projects import Project


@pytest.fixture
def project(tmp_path, monkeypatch) -> Project:
    for variable in ("CVF20_OUT", "CVF20_RUNS", "CVF20_DATA", "CVF20_SYNTHETIC", "CVF20_FRESH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("cvf20.submission.run.best_jobs", lambda: 1)  # else measured for seconds
    return Project(tmp_path / "project")
