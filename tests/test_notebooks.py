"""All notebooks run, quickly, through the command that a user gives; and those committed are fit to be handed in."""

import os
import subprocess
import sys

import pytest

from cvf20.paths import data_dir, project_dir
from cvf20.submission.check import check

ROOT = project_dir()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="notebooks/ holds no notebook")


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """Exit code, output and folder of one quick run of everything; on stand-ins where there is no data."""
    out = tmp_path_factory.mktemp("build")
    real = data_dir().is_dir() and any(path.is_dir() for path in data_dir().iterdir())
    command = [sys.executable, "-m", "cvf20.submission.run", "--quick", "--keep-going"]
    environment = {**os.environ, "CVF20_OUT": str(out), "MPLBACKEND": "Agg"}
    pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = subprocess.run(command + ["--synthetic"] * (not real), env=environment, cwd=ROOT, **pipe)
    return done.returncode, done.stdout, out / "quick"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_passes_the_check(quick_run, path):
    _, output, out = quick_run
    findings = check([out / "notebooks" / path.name], out / "figures", out / "results", draft=True)
    assert f"{path.stem} took" in output, output
    assert [str(finding) for finding in findings if finding.level == "error"] == []


def test_quick_run_succeeds(quick_run):
    code, output, _ = quick_run
    assert code == 0, output


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebook_passes_the_check(path):
    findings = check([path], ROOT / "figures", ROOT / "results")
    assert [str(finding) for finding in findings if finding.level == "error"] == []
