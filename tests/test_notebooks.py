"""All notebooks run, quickly, through the command that a user gives; and those committed are fit to be handed in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cvf20.paths import project_dir
from cvf20.submission.check import check, check_outputs, check_source, is_error

ROOT = project_dir()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="notebooks/ holds no notebook")


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """Exit code, output and folder of one quick run of everything, by the command as README prints it."""
    out = tmp_path_factory.mktemp("build")
    changes = {"CVF20_OUT": str(out), "MPLBACKEND": "Agg"}
    changes["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", str(ROOT / "run_all.sh"), "--quick", "--keep-going"]
    pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    done = subprocess.run(command, env=os.environ | changes, cwd=out, **pipe)
    return done.returncode, done.stdout, out / "quick"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_passes_the_check(quick_run, path):
    _, output, out = quick_run
    assert f"{path.stem} took" in output, output
    findings = check_source(path) + check_outputs(out / "notebooks" / path.name, out, draft=True)
    assert list(filter(is_error, findings)) == []


def test_quick_run_succeeds(quick_run):
    code, output, _ = quick_run
    assert code == 0, output


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebook_passes_the_check(path):
    assert list(filter(is_error, check(path, ROOT))) == []
