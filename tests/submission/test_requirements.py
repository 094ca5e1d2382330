"""Only what is missing is installed, and torch and numpy stay what they are."""

import subprocess
import sys

import pytest

from cvf20.paths import project_dir
from cvf20.submission import requirements as module
from cvf20.submission.requirements import install, main, missing, requirements, split

HERE = {"torch": "2.6.0+cu124", "numpy": "2.0.2", "tqdm": "4.9"}


@pytest.fixture
def colab(monkeypatch):
    monkeypatch.setattr(module, "installed", HERE.get)


def test_every_dependency_of_the_project_is_a_lower_bound():
    names = [split(requirement)[0] for requirement in requirements(project_dir(), ("test",))]
    assert {"torch", "torchvision", "ipykernel", "pytest"} <= set(names)
    assert len(names) == len(set(names))


def test_missing_compares_numbers_not_letters(colab):
    assert missing(["torch>=2.4", "numpy>=1.26", "tqdm>=4.66", "optuna>=3.6"]) == ["tqdm>=4.66", "optuna>=3.6"]
    assert missing(["torch>=2.6.0", "numpy>=2"]) == []


def test_install_pins_what_must_stay(colab, monkeypatch):
    calls = []

    def run(command, check):
        pins = open(command[command.index("--constraint") + 1]).read().split()
        calls.append((command[command.index("--constraint") + 2 :], pins, check))

    monkeypatch.setattr(subprocess, "run", run)
    install(["optuna>=3.6"])
    assert calls == [(["optuna>=3.6"], ["torch==2.6.0+cu124", "numpy==2.0.2"], True)]


def test_command_lists_what_is_missing(colab, capsys):
    assert main(["test"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "pytest>=8.0" in lines and "torch>=2.4" not in lines


def test_unknown_extra_and_bound_are_named():
    with pytest.raises(ValueError, match="'tests'.*test"):
        requirements(project_dir(), ("tests",))
    with pytest.raises(ValueError, match="numpy<2"):
        split("numpy<2")


def test_needs_nothing_but_the_standard_library():
    """An empty environment asks first what it lacks: -I -S hides everything that is installed."""
    code = f"import sys; sys.path.insert(0, {str(project_dir())!r}); import cvf20.submission.requirements"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
