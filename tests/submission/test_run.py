"""run_all.sh's program on small projects: what it publishes, what not, and that nothing of a person's is lost."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import nbformat
import pytest
from filelock import FileLock
from submission.projects import RESULT, environment, notebook, png

from cvf20.paths import project_dir
from cvf20.submission import run
from cvf20.submission.build import build
from cvf20.submission.run import Run, main


@pytest.fixture
def nothing_runs(monkeypatch):
    """Every notebook counts as done."""
    monkeypatch.setattr(Run, "notebooks", lambda self: self.states.update(dict.fromkeys(self.books, "done")))


def test_full_run_publishes_and_leaves_what_a_person_made(project, monkeypatch, capsys):
    """With MPLBACKEND=Agg in the environment, which would drop every figure; from another working directory; a kernel
    of another name, a copy, a tenth notebook, a figure of a free name, and files that no notebook makes.
    """
    monkeypatch.setenv("MPLBACKEND", "Agg")
    last = "print('50 %', end='\\r', flush=True)\nprint('x' * 300_000, flush=True)\n"
    last += "print(pathlib.Path.home() / 'x', out, os.getcwd(), os.environ['CVF20_DATA'])\nimport warnings\nwarnings.warn('odd')"
    project.write("02_base", last=last + "\nshow(plt.figure(figsize=(1, 1)), 'mine', 'Free.')")
    project.write("10_mine", last="plt.plot([1, 2]); plt.show()")
    copy = project.put("notebooks/02_base-Copy1.ipynb", "{")
    places = ("figures/02_board.png", "figures/board.png", "figures/07_a.png", "results/02_old-seed0.json")
    hand_made = {place: project.put(place) for place in places}
    here = os.getcwd()
    assert main(["--jobs", "2"], project.root) == 0
    assert os.getcwd() == here
    printed = capsys.readouterr().out
    assert "02_base-Copy1.ipynb is left out: 02_base.ipynb has its number" in printed and copy.read_text() == "{"
    assert {path.read_text() for path in hand_made.values()} == {"made by hand"}
    assert "02 | left, though no run made them: results/02_old-seed0.json, figures/02_board.png" in printed
    assert set(project.tree()) - set(hand_made) == {
        *("notebooks/02_base.ipynb", "notebooks/02_base-Copy1.ipynb", "notebooks/10_mine.ipynb"),
        *("figures/02_base_line.png", "figures/10_mine_line.png", "figures/mine.png"),
        *("results/02_base_net-seed0.json", "results/10_mine_net-seed0.json"),
    }
    nb = nbformat.read(project.root / "notebooks/02_base.ipynb", as_version=4)
    assert nb.metadata.kernelspec == {"name": "venv", "display_name": "Mine"} and nb.cells[3].id == "cell-3"
    texts = [output.text for output in nb.cells[5].outputs if output.get("name") == "stdout"]
    assert texts == ["x" * 300_000 + "\n~/x . . data\n"] and str(project.root) not in nbformat.writes(nb)
    assert nb.cells[3].outputs[0].data["image/png"] and "`figures/02_base_line.png`" in str(nb.cells[3].outputs[1])
    assert "note: notebooks/02_base.ipynb, cell 6: warns" in printed  # and did not stand in the way
    assert "10_mine took" in printed and "02 | published 3 files" in printed


def test_two_runs_in_one_folder(project, capsys):
    project.write("03_unet")
    with FileLock(project.put("build/.lock")):
        assert main([], project.root) == 1
    printed = capsys.readouterr().out
    assert "another run works in" in printed and "begins" not in printed


def test_a_fault_of_one_notebook_leaves_the_others_alone(project, capsys):
    """01 fails, 02 reads it, 03 names a figure that is missing, 04 is drawn data, 05 is edited, 06 is fine."""
    project.write("01_first", last="1 / 0")
    project.write("02_reads", last="print('01_first_net')")
    project.write("03_lies", last="print('figures/03_nothing.png')")
    project.write("04_drawn", last="result('04_drawn_net', sample=True)")
    edit = "p = pathlib.Path('notebooks/05_edited.ipynb'); p.write_text(p.read_text().replace('# 05', '# My 05'))"
    edited = project.write("05_edited", last=edit)
    project.write("06_fine", last="print('threads', os.environ['OMP_NUM_THREADS'])")
    before = project.tree()
    assert main(["--keep-going", "--jobs", "2"], project.root) == 1
    printed, after = capsys.readouterr().out, project.tree()
    assert {name for name in after if after[name] != before.get(name)} == {
        *("notebooks/06_fine.ipynb", "figures/06_fine_line.png", "results/06_fine_net-seed0.json"),
        "notebooks/05_edited.ipynb",
    }
    assert "01_first, cell 6: ZeroDivisionError: division by zero" in printed and "# My 05" in edited.read_text()
    half_done = project.outputs("01_first", "build/notebooks")
    assert half_done[3][0].data["image/png"] and "02_reads begins" not in printed
    assert "03 | error: notebooks/03_lies.ipynb, cell 6: names figures/03_nothing.png, which is missing" in printed
    assert f"06 | threads {max(1, os.cpu_count() // 2)}\n" in printed
    assert "04 | not published, it used a stand-in or a small sample" in printed
    assert "05 | not published, it was edited while it ran" in printed
    states = "01_first failed, 02_reads not run, 03_lies failed, 04_drawn not published, 05_edited not published;"
    assert states in printed.split("\n")[-2]


def test_one_notebook_sees_the_others_results_and_runs_alone(project, monkeypatch):
    """No report, no hand-in; leftovers of an earlier run are not taken for results."""
    monkeypatch.setattr(run, "build", lambda *_, **__: pytest.fail("a hand-in"))
    project.put("submission.toml", "")
    for stem in ("02_base", "09_report"):
        project.write(stem)
        project.put(f"figures/{stem}_line.png", png([0, 9]))
        project.put(f"results/{stem}_net-seed0.json", RESULT)
    project.write("03_unet", last="print(sorted(os.listdir(out / 'figures')))")
    project.put("build/figures/03_leftover.png", "of a failed run")
    before = project.tree()
    assert main(["3"], project.root) == 0
    after = project.tree()
    assert {name for name in after if after[name] != before.get(name)} == {name for name in after if "03_unet" in name}
    assert project.outputs("03_unet")[5][0].text == "['02_base_line.png', '03_unet_line.png', '09_report_line.png']\n"


def test_quick_run_publishes_nothing(project, capsys):
    project.write("03_unet", last="print('quick is', quick)")
    before = project.tree()
    assert main(["--quick"], project.root) == 0
    assert project.tree() == before
    built = project.root / "build/quick"
    assert '"quick is True' in (built / "notebooks/03_unet.ipynb").read_text()
    assert json.loads((built / "results/03_unet_net-seed0.json").read_text())["quick"]
    assert "publishes nothing" in capsys.readouterr().out


FAULTS = [
    (dict(last="x = ("), "SyntaxError: '(' was never closed"),
    (dict(parameters="quick = True\nseed = 0"), "a quick run would be full. To mend: quick = False in a"),
    (dict(last="# x\n\n![a](missing.png)"), "shows missing.png, which is missing"),
    (dict(last="# x\n\n![a](attachment:image.png)"), "shows attachment:image.png, which is missing"),
]


@pytest.mark.parametrize(("changes", "words"), FAULTS)
def test_faults_are_told_before_anything_runs(project, capsys, changes, words):
    project.write("03_unet", **changes)
    project.write("04_tuning")
    assert main([], project.root) == 1
    printed = capsys.readouterr().out
    assert words in printed and "nothing was run" in printed and "begins" not in printed


def test_missing_answers_are_told_before_and_stop_nothing(project, capsys, nothing_runs):
    project.save("03_unet", notebook("## D5 · x", stem="03_mine"))
    assert main([], project.root) == 0
    assert "03_unet.ipynb: does not answer A1a, A1b, A2a, A-t, B3, C6, D4, D7" in capsys.readouterr().out


def test_interrupted_run_says_what_was_published(project):
    """In its own process, which listens to an interrupt even where these tests run in the background; on a terminal
    that knows ASCII only, where a notebook prints an arrow.
    """
    project.write("01_done", last="print('→')")
    project.write("03_unet", last="(out / 'begun').touch()\nimport time; time.sleep(100)")
    code = "import sys; from pathlib import Path; from cvf20.submission.run import main; "
    command = [sys.executable, "-c", code + f"main(['--jobs', '1'], Path({str(project.root)!r}))"]
    pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(PYTHONIOENCODING="ascii"))
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process, end = subprocess.Popen(command, cwd=project_dir(), preexec_fn=listen, **pipe), time.monotonic() + 200
    while not (project.root / "build/begun").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=200)[0]
    assert process.returncode == 130 and (project.root / "figures/01_done_line.png").is_file()
    assert "stopped; published so far: 01\n" in printed and "01 | ?\n" in printed


def test_a_full_run_ends_with_the_hand_in(project, monkeypatch, capsys, nothing_runs):
    project.save("03_trial", notebook(stem="03_trial"))
    calls = []
    monkeypatch.setattr(run, "build", calls.append)
    assert main([], project.root) == 0 and calls == []  # nothing is handed in without submission.toml
    project.put("submission.toml", "")
    assert main(["--quick"], project.root) == 0 and main(["03"], project.root) == 0 and calls == []
    assert main([], project.root) == 0 and calls == [project.root]
    monkeypatch.setattr(run, "build", build)
    assert main([], project.root) == 1 and "run_all: submission.toml: course is" in capsys.readouterr().out


def plan(project, **asked):
    """A run as the command line asks for it."""
    default = dict(
        numbers=[], quick=False, data=None, synthetic=False, fresh=False, jobs="1", keep_going=False, launch=""
    )
    return Run(argparse.Namespace(**default | asked), project.root)


def test_choice_of_notebooks(project, capsys):
    for stem in ("01_a", "02_b", "03_unet", "09_report"):
        project.write(stem)
    assert list(plan(project).books) == ["01", "02", "03", "09"]
    assert list(plan(project, numbers=["3", "01_a"]).books) == ["01", "03"]
    with pytest.raises(ValueError, match="no notebook 07: wanted some of 01, 02, 03, 09"):
        plan(project, numbers=["07"])
    project.write("03_d")  # a second of this number: the house's own is the one
    assert plan(project).books["03"].stem == "03_unet" and "03_d.ipynb is left out" in capsys.readouterr().out


def test_who_waits_for_whom(project):
    project.write("01_a", last="# reads '03_x' and 07_x")
    project.write("03_unet", last="load('01_a')")
    project.write("09_report")
    run = plan(project)
    assert {name: run.needs(name) for name in run.books} == {"01": set(), "03": {"01"}, "09": {"01", "03"}}


def test_options_reach_the_notebooks(project, tmp_path, monkeypatch):
    project.write("03_unet")
    assert plan(project).told.keys() == {"CVF20_OUT", "CVF20_RUNS", "CVF20_DATA"}
    built = project.root / "build/quick"
    asked = dict(quick=True, synthetic=True, fresh=True, data=str(tmp_path))
    assert plan(project, **asked).told == {
        **{"CVF20_OUT": str(built), "CVF20_RUNS": str(built / "runs"), "CVF20_DATA": str(tmp_path)},
        **{"CVF20_SYNTHETIC": "1", "CVF20_FRESH": "1"},
    }
    assert plan(project, synthetic=True).runs == project.root / "build/synthetic/runs"
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    assert plan(project, quick=True).build == tmp_path / "out/quick"
    with pytest.raises(ValueError, match="--data nowhere: wanted"):
        plan(project, data="nowhere")
    monkeypatch.setenv("CVF20_OUT", str(project.root))
    with pytest.raises(ValueError, match="CVF20_OUT"):
        plan(project)


def test_fresh_forgets_the_runs_of_these_notebooks_only(project, nothing_runs):
    project.write("02_base")
    project.write("03_unet")
    for name in ("02_net", "03_net", "mine"):
        project.put(f"runs/{name}/best.pt")
    main(["03"], project.root)
    assert len(list((project.root / "runs").iterdir())) == 3
    main(["03", "--fresh"], project.root)
    assert sorted(path.name for path in (project.root / "runs").iterdir()) == ["02_net", "mine"]
    main(["--fresh"], project.root)
    assert not list((project.root / "runs").iterdir())
