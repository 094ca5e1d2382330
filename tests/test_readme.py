"""README.md says what is so: its links lead somewhere, its minutes are the recorded ones, its commands do as printed."""

import re
import shlex
import shutil

import pytest
from copies import Copy
from PIL import Image
from submission.projects import Project

from cvf20.paths import project_dir
from cvf20.submission.cover import training_seconds
from cvf20.training.results import NOTEBOOKS

ROOT = project_dir()
README = (ROOT / "README.md").read_text(encoding="utf-8")
PUBLISHED = all((ROOT / "notebooks" / f"{stem}.ipynb").is_file() for stem in NOTEBOOKS)
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip() for kind, code in BLOCKS for line in code.splitlines() if kind == "bash" and line
]
NEEDS_A_BARE_MACHINE = {  # tests/test_environment.py runs these with a stand-in for python, .ci/run as they are
    "./run_tests.sh",
    "source .venv/bin/activate",
}
pytestmark = pytest.mark.skipif(not PUBLISHED, reason="the hand-in of one sheet holds its own notebooks only")


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 50
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_minutes_are_the_recorded_ones(stem):
    (row,) = re.findall(rf"^\| \[{stem[:2]} · .*\]\(notebooks/{stem}\.ipynb\) \|.*\| (\d+) \|$", README, re.MULTILINE)
    recorded = round(training_seconds(ROOT / "results", [stem]).get(stem, 0) / 60)
    assert int(row) == recorded, f"after a regeneration README's row of {stem} wants its new minutes: {recorded}"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project with one small notebook, in which README's own network was trained; runs a shell command."""
    shell = Copy(tmp_path_factory.mktemp("a copy"))
    project = shell.root
    Project(project).write("03_unet")
    Image.new("RGB", (64, 48), (90, 140, 60)).save(project / "photo.jpg")
    own, training = [code for kind, code in BLOCKS if kind == "python"]
    with open(project / "cvf20/models/your_models.py", "a", encoding="utf-8") as file:
        file.write(f"\n\n{own}")
    shorter = training.replace("epochs=10", "epochs=1").replace("(128, 160)", "(32, 40)").replace("9, 16", "9, 2")
    (project / "mine.py").write_text(shorter, encoding="utf-8")
    shell.trained = shell("python -P mine.py")
    shell.piped = shell("python -P < mine.py")
    for run in (project / "runs").glob("03_mine*"):  # as a full run publishes what it hands on
        (project / "weights").mkdir(exist_ok=True)
        shutil.copy(run / "best.pt", project / "weights/03_mine-seed0.pt")
        result = (run / "result.json").read_text(encoding="utf-8").replace('"synthetic": true', '"synthetic": false')
        (project / "results/03_mine-seed0.json").write_text(result, encoding="utf-8")
    return shell


def test_readmes_own_network_trains_from_a_file_and_from_standard_input(copy):
    assert copy.trained.returncode == 0 and "mIoU" in copy.trained.stdout, copy.trained.stdout
    assert copy.piped.returncode == 0, copy.piped.stdout


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - NEEDS_A_BARE_MACHINE))
def test_command_does_as_printed(copy, command, tmp_path):
    done = copy(command.replace("DIR", shlex.quote(str(tmp_path))))
    assert done.returncode == 0, done.stdout


def test_every_command_is_tried():
    assert len(COMMANDS) == len(set(COMMANDS)) >= 12 and NEEDS_A_BARE_MACHINE < set(COMMANDS)
