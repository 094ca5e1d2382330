"""All notebooks run, quickly, through the command that a user gives; and those committed are fit to be handed in."""

import os
import shutil
import subprocess
import sys
import types

import pytest

from cvf20.paths import data_dir, project_dir
from cvf20.submission import colab
from cvf20.submission.check import check
from cvf20.submission.notebook import read

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


def set_up(path) -> str:
    """Source of the one cell that prepares Colab."""
    (cell,) = [cell for cell in read(path).cells if cell.cell_type == "code" and "google.colab" in cell.source]
    return cell.source


def test_set_up_is_the_same_everywhere():
    assert {set_up(path) for path in NOTEBOOKS} == {colab.set_up()}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """An empty working directory in which every program that is called is written down; git makes its folder."""
    calls = []

    def run(command, check):
        calls.append(command[:2] if command[0] == "git" else command[1:])
        if command[0] == "git":
            (tmp_path / command[-1]).mkdir()

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    return calls


def test_set_up_does_nothing_but_on_colab(calls, tmp_path):
    exec(set_up(NOTEBOOKS[0]), {})
    assert calls == [] and os.getcwd() == str(tmp_path)


INSTALL = ["-m", "cvf20.submission.requirements", "--install"]


@pytest.mark.parametrize(
    ("there", "begin", "repository", "expected", "end"),
    [
        (None, ".", "https://example.org/cvf20.git", [["git", "clone"], INSTALL], "cvf20"),
        ("hand-in.zip", ".", "", [INSTALL], "hand-in"),
        ("hand-in", ".", "", [INSTALL], "hand-in"),
        ("hand-in", "hand-in", "", [INSTALL], "hand-in"),
        ("hand-in", "hand-in/notebooks", "", [INSTALL], "hand-in"),
    ],
)
def test_set_up_on_colab(calls, tmp_path, monkeypatch, there, begin, repository, expected, end):
    """With git in an empty folder; beside the zip; and beside, in, or below an unpacked copy."""
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    if there:
        copy = tmp_path / there.removesuffix(".zip")
        (copy / "notebooks").mkdir(parents=True)
        (copy / "pyproject.toml").touch()
        if there.endswith(".zip"):
            shutil.make_archive(str(copy), "zip", tmp_path, copy.name)
            shutil.rmtree(copy)
    monkeypatch.chdir(tmp_path / begin)
    exec(set_up(NOTEBOOKS[0]).replace('repository = ""', f'repository = "{repository}"'), {})
    assert calls == expected and os.getcwd() == str(tmp_path / end)
