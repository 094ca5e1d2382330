"""The set-up cell finds the package wherever a notebook is opened, or says what to type."""

import importlib.util
import os
import shutil
import subprocess
import sys
import types
from importlib import metadata

import pytest

from cvf20.paths import project_dir
from cvf20.submission.cover import read_group
from cvf20.submission.notebook import fingerprint, read, set_up, write_address

NOTEBOOKS = sorted((project_dir() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ADDRESS = "https://example.org/group/cvf20.git"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A kernel that does not have cvf20, in an empty folder; what it runs as programs is written down."""
    calls = []

    def run(command, check):
        calls.append([str(part) for part in command])
        if command[0] == "git":
            package(tmp_path / "cvf20-repository")

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cvf20" else find(name))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return calls


def package(folder):
    (folder / "cvf20").mkdir(parents=True)
    (folder / "cvf20/__init__.py").touch()
    (folder / "notebooks").mkdir()
    return folder


def test_all_notebooks_have_it_with_the_address_of_submission_toml():
    wanted = set_up(read_group(project_dir() / "submission.toml")["repository"])
    for path in NOTEBOOKS:
        assert [cell.source for cell in read(path).cells if cell.cell_type == "code"][0] == wanted, path.name


def test_the_address_is_written_from_submission_toml_and_nothing_else_changes(tmp_path):
    shutil.copy(NOTEBOOKS[0], tmp_path / "01.ipynb")
    assert write_address([tmp_path / "01.ipynb"], ADDRESS) == ["01.ipynb"]
    before, after = read(NOTEBOOKS[0]), read(tmp_path / "01.ipynb")
    differ = [one.source for one, other in zip(after.cells, before.cells, strict=True) if one != other]
    assert differ == [set_up(ADDRESS)] and fingerprint(before) == fingerprint(after)
    assert write_address([tmp_path / "01.ipynb"], ADDRESS) == []


def test_it_does_nothing_where_the_package_imports(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    exec(set_up(), {})
    assert sys.path == before and os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", [".", "notebooks", ".."])
def test_a_copy_near_by_is_found(elsewhere, tmp_path, monkeypatch, place):
    """From the root of the repository, from notebooks/, and from the folder that holds an unpacked hand-in."""
    home = package(tmp_path / "a copy")
    monkeypatch.chdir(home / place)
    exec(set_up(), {})
    assert sys.path[0] == str(home) and elsewhere == []


def test_a_zip_beside_the_notebook_is_unpacked(elsewhere, tmp_path):
    package(tmp_path / "work/hand-in")
    shutil.make_archive(str(tmp_path / "hand-in"), "zip", tmp_path / "work")
    shutil.rmtree(tmp_path / "work")
    shutil.make_archive(str(tmp_path / "photographs"), "zip", project_dir() / "data")
    exec(set_up(), {})
    assert sys.path[0] == str(tmp_path / "hand-in") and not (tmp_path / "README.md").exists()


def test_an_address_is_cloned_only_where_nothing_is_near(elsewhere, tmp_path):
    exec(set_up(ADDRESS), {})
    assert elsewhere == [["git", "clone", "--quiet", "--depth=1", ADDRESS, str(tmp_path / "cvf20-repository")]]
    exec(set_up(ADDRESS), {})
    assert len(elsewhere) == 1 and sys.path[0] == str(tmp_path / "cvf20-repository")


def test_colab_installs_what_is_missing_and_keeps_torch_and_numpy(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    home = package(tmp_path / "hand-in")
    exec(set_up(), {})
    kept = [f"{name}=={metadata.version(name)}" for name in ("torch", "numpy")]
    assert elsewhere == [[sys.executable, "-m", "pip", "install", "--quiet", *kept, "--editable", str(home)]]


def test_what_to_do_is_said_where_nothing_is_near_and_where_torch_is_missing(elsewhere, tmp_path, monkeypatch):
    with pytest.raises(ModuleNotFoundError, match="put the hand-in's zip beside this notebook"):
        exec(set_up(), {})
    home = package(tmp_path / "hand-in")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="lacks torch.*pip install --editable") as found:
        exec(set_up(), {})
    assert str(home) in str(found.value)
