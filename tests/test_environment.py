"""The two ways of installing agree, and the shell's part makes one whole environment, whatever interrupts it."""

import os
import re
import shutil
import subprocess
import tomllib

import pytest

from cvf20.paths import project_dir

ROOT = project_dir()
CONDA_NAMES = {"pytorch": "torch"}
FAKE_PYTHON = """#!/bin/sh
# stands for python: makes an "environment" that is a copy of itself, and writes down what is installed
case "$*" in
    "-m venv "*) echo "venv" >>"$LOG"; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip install "*)
        for last; do :; done
        echo "pip ${last##*/}" >>"$LOG"
        if [ -e "$LOG.kill" ]; then kill -9 "$PPID"; fi ;;
    "-P - "*) test -e "$LOG.imports" ;;
    "-m jupyterlab "*) shift 2; echo "lab $*" ;;
    "-P -m cvf20.submission.run"*) shift 3; echo "ran $*" ;;
    "-m ruff "*) echo "ruff $3" ;;
    "-m pytest "*) shift 2; echo "pytest $* with data ${CVF20_DATA-nowhere}" ;;
esac
"""


def bounds(lines) -> dict[str, str]:
    """Lower bound of every requirement that has one: "numpy>=1.26" → {"numpy": "1.26"}."""
    return dict(re.findall(r"^(?:\s*- )?([\w-]+)>=([\d.]+)", "\n".join(lines), re.MULTILINE))


def test_conda_file_names_the_main_packages_with_the_same_bounds():
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = {CONDA_NAMES.get(name, name): bound for name, bound in bounds(lines).items()}
    assert project["requires-python"] == f">={packages.pop('python')}"
    assert packages.items() <= bounds(project["dependencies"]).items()
    assert packages.keys() == set("torch torchvision numpy scipy scikit-image matplotlib tensorboard papermill".split())
    assert [line.strip() for line in lines[-2:]] == ["- pip:", "- -e ."]


@pytest.fixture
def shell(tmp_path):
    """Runs a script of a copy of the project with a fake python; returns its output and what was installed meanwhile."""
    bin_folder, log = tmp_path / "bin", tmp_path / "log"
    bin_folder.mkdir()
    for name in ("python", "python3"):
        (bin_folder / name).write_text(FAKE_PYTHON)
        (bin_folder / name).chmod(0o755)

    class Shell:
        project = tmp_path / "a project"

        def __call__(self, script, *arguments, fails=False):
            log.write_text("")
            environment = {"PATH": f"{bin_folder}:/usr/bin:/bin", "LOG": str(log)}
            command = ["bash", str(self.project / script), *arguments]
            done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
            assert (done.returncode != 0) == fails, done.stderr
            return done.stderr if fails else done.stdout, log.read_text().splitlines()

        def switch(self, name, on):
            file = log.with_name(f"log.{name}")
            file.touch() if on else file.unlink()

    shell = Shell()
    (shell.project / "scripts").mkdir(parents=True)
    for name in ("run_all.sh", "run_tests.sh", "scripts/env.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, shell.project / name)
    return shell


def test_first_use_installs_and_the_second_does_not(shell):
    assert shell("run_all.sh", "--quick", "0 3") == ("ran --quick 0 3\n", ["venv", "pip a project"])
    assert shell("run_all.sh") == ("ran \n", [])


def test_interrupted_installation_is_made_anew(shell):
    shell.switch("kill", True)
    shell("run_all.sh", fails=True)
    shell.switch("kill", False)
    assert shell("run_all.sh")[1] == ["venv", "pip a project"]


TESTS = "ruff check\nruff format\npytest -q -n auto --dist loadfile -k x with data nowhere\n"


@pytest.mark.parametrize(
    ("command", "extra", "said"),
    [(("run_tests.sh", "-k", "x"), "test", TESTS), (("run_all.sh", "--lab", "-x"), "jupyter", "lab -x {}/notebooks\n")],
)
def test_tests_and_lab_add_to_the_environment(shell, command, extra, said):
    shell("run_all.sh")
    assert shell(*command) == (said.format(shell.project), [f"pip a project[{extra}]"])
    assert shell("run_all.sh")[1] == shell(*command)[1] == []


def test_moved_project_gets_a_new_environment(shell):
    shell("run_all.sh")
    shell.project = shell.project.rename(shell.project.with_name("moved"))
    assert shell("run_all.sh")[1] == ["venv", "pip moved"]


def test_current_environment_is_used_where_the_package_imports(shell):
    shell.switch("imports", True)
    assert shell("run_all.sh")[1] == []
    assert shell("run_tests.sh")[1] == ["pip a project[test]"]
    assert not (shell.project / ".venv").exists()


def test_no_python_is_said(shell, tmp_path):
    for name in ("python", "python3", *(f"python3.{minor}" for minor in range(11, 15))):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    assert "no Python 3.11 or newer" in shell("run_all.sh", fails=True)[0]


@pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="an unpacked hand-in has no hidden files")
def test_continuous_integration_runs_both_commands_as_a_new_user_does():
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert "./run_all.sh --quick && ./run_tests.sh" in lines and "export CVF20_OFFLINE=1" in lines
    for name in (".ci/run", "run_all.sh", "run_tests.sh", "scripts/lowest.sh"):
        assert os.access(ROOT / name, os.X_OK)
