"""A small project, built into everything that is handed in: complete, the same every time, and it runs by itself."""

import base64
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import nbformat
import papermill
import pytest
import torch
from nbformat.v4 import new_output
from submission.projects import Project, png, working_notebook

from cvf20.paths import project_dir
from cvf20.submission import __main__ as command
from cvf20.submission import build as module
from cvf20.submission import run
from cvf20.submission.archive import archive_faults
from cvf20.submission.build import build
from cvf20.submission.execute import kernel

OPEN = 'course = "CV"\ntitle = "Pixels"\ngroup = "FILL IN: group"\n'
OPEN += "".join(f'[[members]]\nname = "{name}"\nid = "{id}"\ndid = "half"\n' for name, id in (("Ada", 11), ("Bo", 22)))
FILLED = OPEN.replace("FILL IN: group", "7")
NETWORK_RESULT = dict(
    name="03_unet_best", seed=0, data="stanford_background", quick=False, synthetic=False, seconds=60.0
)
NETWORK_RESULT |= {"notebook": "03_unet", "metrics": {"val": {"mIoU": 0.5}}, "recipe": {}}


def fill(project: Project) -> Path:
    """Two published notebooks (the second fails if it sees a name of the first), the package, and a trained network."""
    clash = "sum = max = None\nleft_over = 1"
    alone = "assert sum([1, 2]) == 3 and 'left_over' not in globals()\nprint('quick is', quick, os.getcwd())"
    for stem, last in (("02_baselines", clash), ("03_unet", alone)):
        nb = working_notebook(stem, last=last)
        nb.cells[0].source += "\n\nThe sum $\\sum_i x_i$ of *all*."
        nb.cells[2].source = nb.cells[2].source.replace('os.environ["CVF20_OUT"]', '"build"')
        for place, cell in enumerate(nb.cells[1:], start=1):
            cell.execution_count = place
        data = {"text/markdown": "| a | b |\n|---|---|\n| 1 | $x^2$ |"}
        nb.cells[4].outputs = [new_output("display_data", data=data)]
        picture, words = {"image/png": base64.b64encode(png([0, 255])).decode()}, {"image/png": {"alt": "a line"}}
        nb.cells[3].outputs = [new_output("display_data", data=picture, metadata=words)]
        nbformat.write(nb, project.root / f"notebooks/{stem}.ipynb")
        (project.root / f"figures/{stem}_line.png").write_bytes(png([0, 255]))
    root = project_dir()
    shutil.copytree(root / "cvf20", project.root / "cvf20", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "run_all.sh"):
        shutil.copy(root / name, project.root / name)
    (project.root / "submission.toml").write_text(FILLED)
    folder = project.root / "runs/03_unet_best-seed0-abc"
    folder.mkdir(parents=True)
    for path in (project.root / "results/03_unet_best-seed0.json", folder / "result.json"):
        path.write_text(json.dumps(NETWORK_RESULT))
    torch.save({"a": torch.ones(3)}, folder / "best.pt")
    return project.root


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(project's folder, zip, what was said)"""
    root = fill(Project(tmp_path_factory.mktemp("hand-in") / "project"))
    said = []
    return root, build(root, runs=root / "runs", say=said.append), "\n".join(said)


@pytest.fixture
def unpacked(built, tmp_path):
    """The hand-in as it lies on another machine; nothing of the project can be reached."""
    subprocess.run(["unzip", "-q", str(built[1])], cwd=tmp_path, check=True)
    return tmp_path / "CV_11_22"


def test_everything_is_built(built, unpacked):
    root, archive, said = built
    assert archive == root / "dist/CV_11_22.zip" and list(archive_faults(archive)) == []
    names = {"submission.ipynb", "submission.html", "report.pdf", archive.name}
    assert {path.name for path in (root / "dist").iterdir()} == names
    nb = nbformat.read(root / "dist/submission.ipynb", as_version=4)
    assert "Ada" in nb.cells[0].source and nb.cells[-1].source.startswith("assert sum")
    page = (root / "dist/submission.html").read_text()
    assert page.count("<math") == 4 and "Ada" in page and 'alt="a line"' in page and "<script" not in page
    assert (root / "dist/report.pdf").read_bytes().startswith(b"%PDF-")
    inside = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert {
        "weights/A_03_unet_best-seed0.pt",
        "weights/README.md",
        "notebooks/03_unet.ipynb",
        "cvf20/paths.py",
    } <= inside
    assert not any("best.pt" in name or "runs/" in name for name in inside)
    assert "| weights/ |" in said and "not answered: A2b" in said and "DRAFT" not in said


def test_again_is_byte_for_byte_the_same(built, tmp_path):
    root, archive, _ = built
    again = build(root, dist=tmp_path, runs=root / "runs", say=lambda line: None)
    assert again.read_bytes() == archive.read_bytes()


def test_one_sheet_has_its_own_folder(built, tmp_path):
    archive = build(built[0], "B", dist=tmp_path, runs=built[0] / "runs", say=lambda line: None)
    assert archive == tmp_path / "B/CV_B_11_22.zip"
    with zipfile.ZipFile(archive) as file:
        names = {name.split("/", 1)[1] for name in file.namelist()}
        text = file.read("CV_B_11_22/submission.ipynb").decode()
    assert "notebooks/03_unet.ipynb" in names and "notebooks/02_baselines.ipynb" not in names
    assert "B3 · Task" in text and "C6 · Task" not in text


def test_failure_leaves_what_was_built(built, tmp_path, monkeypatch):
    root = tmp_path / "project"
    shutil.copytree(built[0], root, ignore=shutil.ignore_patterns("cvf20"))
    before = {path.name: path.read_bytes() for path in (root / "dist").iterdir()}
    nb = nbformat.read(root / "notebooks/03_unet.ipynb", as_version=4)
    nb.cells[0].source += "\n\n$\\frac{a$"
    nbformat.write(nb, root / "notebooks/03_unet.ipynb")
    with pytest.raises(ValueError, match="formula: found"):
        build(root, say=lambda line: None)
    assert {path.name: path.read_bytes() for path in (root / "dist").iterdir()} == before


def test_draft_says_how_to_end_it_and_its_zip_does_not_outlive_it(built, tmp_path, monkeypatch):
    root = tmp_path / "project"
    shutil.copytree(built[0], root, ignore=shutil.ignore_patterns("cvf20", "dist"))
    monkeypatch.setattr(module, "report", lambda *_: b"%PDF-")
    monkeypatch.setattr(module, "page", lambda *_: "<p>")
    (root / "submission.toml").write_text(OPEN)
    said = []
    assert build(root, say=said.append).name == "CV_DRAFT_11_22.zip"
    assert "fill in submission.toml" in "\n".join(said) and "  group = 'FILL IN: group'" in said
    (root / "submission.toml").write_text(FILLED)
    build(root, say=said.append)
    assert [path.name for path in root.glob("dist/*.zip")] == ["CV_11_22.zip"]


def test_nothing_to_hand_in(project):
    (project.root / "submission.toml").write_text(FILLED)
    with pytest.raises(ValueError, match="answers nothing of sheet B"):
        build(project.root, "B")
    with pytest.raises(ValueError, match="sheet: found 'E'"):
        build(project.root, "E")


def test_the_notebook_runs_from_the_zip_alone(unpacked, tmp_path):
    """In a fresh kernel, quickly; its second part would fail if it saw what the first has defined."""
    with kernel(tmp_path / "jupyter", {"PYTHONPATH": ""}):
        nb = papermill.execute_notebook(
            str(unpacked / "submission.ipynb"),
            str(tmp_path / "out.ipynb"),
            parameters={"quick": True},
            kernel_name="python3",
            cwd=str(unpacked),
            progress_bar=False,
        )
    assert nb.cells[-1].outputs[0].text == f"quick is True {unpacked}\n"


def colab(folder: Path, source: str) -> list[str]:
    """Run the set-up cell in `folder` with a stand-in for google.colab; returns where it ended, and whose cvf20 it has."""
    code = (
        "import sys, types\nfor name in ('google', 'google.colab'):\n    sys.modules[name] = types.ModuleType(name)\n"
    )
    code += source + "\nimport os, cvf20\nprint(os.getcwd(), cvf20.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def set_up(built) -> str:
    nb = nbformat.read(built[0] / "dist/submission.ipynb", as_version=4)
    (cell,) = [cell for cell in nb.cells if "google.colab" in cell.source]
    return cell.source


def versions() -> dict[str, str]:
    return {each.name: each.version for each in importlib.metadata.distributions()}


def test_colab_with_the_zip_beside_the_notebook(built, tmp_path):
    shutil.copy(built[1], tmp_path)
    before = versions()
    here, package = colab(tmp_path, set_up(built))
    assert here == str(tmp_path / "CV_11_22") and package == f"{here}/cvf20/__init__.py"
    assert versions() == before  # torch and numpy above all
    below = colab(tmp_path / "CV_11_22/notebooks", set_up(built))  # opened from inside the unpacked zip
    assert below[0] == here


def test_colab_with_a_git_address(built, unpacked, tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *arguments], cwd=unpacked, check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    source = set_up(built).replace('repository = ""', f'repository = "file://{unpacked}"')
    here, package = colab(empty, source)
    assert here == str(empty / "cvf20") and package == f"{here}/cvf20/__init__.py"


def test_colab_with_neither_says_what_to_do(built, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="zip beside this notebook"):
        exec(set_up(built), {})


def test_a_full_run_ends_with_the_hand_in(project, monkeypatch, capsys):
    project.write("03_trial")
    calls = []
    monkeypatch.setattr(run, "build", lambda root, runs, say: calls.append((root, runs)))
    monkeypatch.setattr(run, "execute", lambda *_, **__: None)
    monkeypatch.setattr(run, "check", lambda *_, **__: [])
    monkeypatch.setattr(run, "publish", lambda *_: ([], []))
    assert run.main([], project.root) == 0 and calls == []  # nothing is handed in without submission.toml
    (project.root / "submission.toml").write_text(FILLED)
    assert run.main(["--quick"], project.root) == 0 and calls == []
    assert run.main([], project.root) == 0 and calls == [(project.root, project.root / "runs")]

    def fail(root, runs, say):
        raise ValueError("formula: found")

    monkeypatch.setattr(run, "build", fail)
    assert run.main([], project.root) == 1
    assert "all is published, but the hand-in was not built: formula: found" in capsys.readouterr().out


def test_command(built, monkeypatch, capsys):
    monkeypatch.setattr(command, "project_dir", lambda: built[0])
    calls = []
    monkeypatch.setattr(command, "build", lambda *arguments: calls.append(arguments))
    assert command.main(["build"]) == 0 and command.main(["build", "--sheet", "C"]) == 0
    assert calls == [(built[0], None), (built[0], "C")]
    with pytest.raises(SystemExit):
        command.main(["build", "--sheet", "E"])
    assert command.main(["check", str(built[1]), str(built[0] / "dist/submission.ipynb")]) == 0
    assert capsys.readouterr().out.endswith("0 errors, 0 notes in 2 notebooks\n")
    broken = built[0].parent / "x.zip"
    broken.write_text("x")
    (built[0].parent / "submission.ipynb").write_text("{")
    assert command.main(["check", str(broken), str(built[0].parent / "submission.ipynb")]) == 1
    printed = capsys.readouterr().out
    assert "x.zip: is no zip" in printed and "submission.ipynb: found no notebook" in printed


def test_a_missing_library_is_said(monkeypatch, capsys):
    def without_typst(*_):
        raise ModuleNotFoundError("No module named 'typst'")

    monkeypatch.setattr(command, "build", without_typst)
    assert command.main(["build"]) == 1
    assert capsys.readouterr().out == "build: No module named 'typst'\n"


def test_check_of_the_whole_project_says_what_lacks(built, tmp_path, monkeypatch, capsys):
    root = tmp_path / "project"
    shutil.copytree(built[0], root, ignore=shutil.ignore_patterns("cvf20"))
    monkeypatch.setattr(command, "project_dir", lambda: root)
    assert command.main(["check"]) == 1
    printed = capsys.readouterr().out
    assert "notebooks/04_tuning.ipynb: is missing, and with it answers to A2b, A2c, A-t, B4" in printed
    assert "note: submission.toml: no hours for A1a" in printed
    assert "note: results: sheet B has no run" in printed
    (root / "submission.toml").write_text(OPEN)
    (root / "README.md").write_text("| C6 | x | [02](notebooks/02_baselines.ipynb) |\n")
    command.main(["check"])
    printed = capsys.readouterr().out
    assert "note: submission.toml: group is 'FILL IN: group'" in printed
    assert "error: README.md: does not say where C2 is answered" in printed
    assert "error: README.md: does not link 03_unet for C6" in printed
    (root / "submission.toml").write_text("x = 1")
    command.main(["check"])
    assert "error: submission.toml: submission.toml: unknown x" in capsys.readouterr().out
