"""run_all.sh's program on small projects: what it publishes, what it refuses to publish, and that nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
import pytest
from submission.projects import SOMEONE, tree

from cvf20.paths import project_dir
from cvf20.submission.check import check
from cvf20.submission.run import lock, main, make_plan, parser, prepare

STOP = "pathlib.Path('pid').write_text(str(os.getpid()))\nimport time; time.sleep(100)"
COMMAND = "import sys; from pathlib import Path; from cvf20.submission.run import main; "


def start(project, *arguments, **environment) -> subprocess.Popen:
    """The same program in its own process, which listens to an interrupt even where these tests run in the background."""
    code = COMMAND + f"sys.exit(main({list(arguments)!r}, Path({str(project.root)!r})))"
    pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    environment = {**os.environ, **environment}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=project_dir(), preexec_fn=listen, **pipe)


def wait_for(condition, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_full_run_publishes_what_passes_the_check(project, monkeypatch, capsys):
    """With MPLBACKEND=Agg in the environment, which would drop every figure; from another working directory."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    last = "import sys; print(sys.executable, out, os.getcwd(), os.environ['CVF20_DATA'])"
    project.write("02_base", last=last)
    project.write("03_unet")
    for stale in ("figures/03_old.png", "results/02_old-seed0.json", "figures/07_other.png"):
        (project.root / stale).write_text("old")
    here = os.getcwd()
    assert main(["--jobs", "2"], project.root) == 0
    assert os.getcwd() == here
    paths = sorted((project.root / "notebooks").iterdir())
    findings = check(paths, project.root / "figures", project.root / "results")
    assert [(finding.file, finding.what) for finding in findings] == [
        ("figures/07_other.png", "belongs to no notebook")
    ]
    assert set(tree(project.root)) == {
        *("notebooks/02_base.ipynb", "notebooks/03_unet.ipynb", "figures/07_other.png"),
        *("figures/02_base_line.png", "figures/03_unet_line.png"),
        *("results/02_base_net-seed0.json", "results/03_unet_net-seed0.json"),
    }
    nb = nbformat.read(paths[0], as_version=4)
    assert nb.cells[5].outputs[0].text == "<python>/bin/" + Path(sys.executable).name + " . . data\n"
    assert str(project.root) not in paths[0].read_text()
    printed = capsys.readouterr().out
    assert "03 | figures/03_unet_line.png" in printed and "03_unet took" in printed and "published 6 files" in printed


def test_one_notebook_sees_the_others_results_and_publishes_its_own(project):
    project.publish_by_hand("02_base")
    project.publish_by_hand("03_unet", last="print(sorted(os.listdir(out / 'figures')))")
    before = tree(project.root)
    (project.root / "build/figures").mkdir(parents=True)
    (project.root / "build/figures/02_leftover.png").write_text("of a failed run")
    assert main(["3"], project.root) == 0
    after = tree(project.root)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in after if "03_unet" in name}
    assert after.keys() == before.keys()
    nb = nbformat.read(project.root / "notebooks/03_unet.ipynb", as_version=4)
    assert nb.cells[5].outputs[0].text == "['02_base_line.png', '03_unet_line.png']\n"


def test_quick_run_touches_nothing_published(project, capsys):
    project.write("03_unet", last="print('quick is', quick)")
    before = tree(project.root)
    assert main(["--quick"], project.root) == 0
    assert tree(project.root) == before
    built = project.root / "build/quick"
    assert '"quick is True' in (built / "notebooks/03_unet.ipynb").read_text()
    assert json.loads((built / "results/03_unet_net-seed0.json").read_text())["quick"]
    assert "publishes nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("x = 1\n1 / 0", "03_unet, cell 6, In [5]: ZeroDivisionError: division by zero"),
        ("os.kill(os.getpid(), 9)", "DeadKernelError"),
        ("print('SYNTHETIC stand-in')", "03_unet.ipynb, cell 6: made from a stand-in"),
        ("import warnings; warnings.warn('odd')", "UserWarning: odd"),
    ],
)
def test_broken_notebook_damages_nothing_and_is_named(project, capsys, last, message):
    project.publish_by_hand("03_unet", last=last)
    before = tree(project.root)
    assert main([], project.root) == 1
    printed = capsys.readouterr().out
    assert message in printed and "03_unet, cell 6" in printed.replace(".ipynb", "")
    assert "what is published is as it was" in printed
    assert tree(project.root) == before
    half_done = nbformat.read(project.root / "build/notebooks/03_unet.ipynb", as_version=4)
    assert half_done.cells[3].outputs[0].data["image/png"]


def test_keep_going_runs_the_others(project, capsys):
    project.write("01_first", last="1 / 0")
    project.write("02_reads_it", last="print('01_first_net')")
    project.write("03_unet")
    assert main(["--keep-going"], project.root) == 1
    printed = capsys.readouterr().out
    assert "03_unet took" in printed and "02_reads_it begins" not in printed and "2 of 3 notebooks" in printed
    assert not list((project.root / "figures").iterdir())


def test_killed_while_a_notebook_runs(project):
    """kill -9: published files stay, the kernel ends too, the next run takes the lock over and finishes."""
    project.publish_by_hand("03_unet", last=STOP)
    before = tree(project.root)
    process = start(project)
    wait_for(lambda: (project.root / "pid").exists() and (project.root / "pid").read_text())
    with pytest.raises(ValueError, match=f"another run .process {process.pid}. is at work"):
        with lock(project.root / "build"):
            pass
    second = start(project)
    assert "another run" in second.communicate()[0] and second.returncode == 1
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not alive(int((project.root / "pid").read_text())))
    assert tree(project.root) == before
    project.write("03_unet", value=2)
    assert main([], project.root) == 0
    assert tree(project.root) != before


def test_interrupted_run_ends_at_once(project):
    project.write("03_unet", last=STOP)
    process = start(project)
    wait_for(lambda: (project.root / "pid").exists() and (project.root / "pid").read_text())
    process.send_signal(signal.SIGINT)
    assert "stopped" in process.communicate(timeout=200)[0]
    assert process.returncode == 130


def test_next_start_completes_an_interrupted_publication(project, capsys):
    project.write("03_unet", last="1 / 0")
    staged = project.root / ".publish/new/figures/02_base.png"
    staged.parent.mkdir(parents=True)
    staged.write_text("new")
    (project.root / ".publish/journal.json").write_text(json.dumps({"put": ["figures/02_base.png"], "drop": []}))
    assert main(["--quick"], project.root) == 1
    assert staged.exists()  # a quick run leaves alone what is published
    assert main([], project.root) == 1
    assert "completed the publication" in capsys.readouterr().out
    assert (project.root / "figures/02_base.png").read_text() == "new"


def test_full_disk_names_the_notebook_and_damages_nothing(project):
    """A limit on the size of files stands for the disk: the notebook with its output does not fit any more."""
    project.publish_by_hand("03_unet", last="print('x' * 300_000)")
    before = tree(project.root)
    code = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
    code += COMMAND + f"sys.exit(main([], Path({str(project.root)!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_dir())
    assert done.returncode == 1
    assert "FAILED" in done.stdout and "03_unet, cell 6" in done.stdout and "File too large" in done.stdout
    assert tree(project.root) == before


def test_edited_while_it_ran(project, capsys):
    edit = "p = pathlib.Path('notebooks/03_unet.ipynb'); p.write_text(p.read_text().replace('# 03', '# My 03'))"
    project.write("03_unet", last=edit)
    (project.root / "figures/03_old.png").write_text("old")
    assert main([], project.root) == 1
    assert "was edited while it ran" in capsys.readouterr().out
    assert list((project.root / "figures").iterdir()) == [project.root / "figures/03_old.png"]


def test_faults_of_a_source_are_told_before_anything_runs(project, capsys):
    path = project.write("03_unet", last=f"open('{SOMEONE}/x')")
    path.write_text(path.read_text().replace('"python3"', '"my-env"'))
    assert main([], project.root) == 1
    printed = capsys.readouterr().out
    assert "my-env" in printed and f"{SOMEONE}/x" in printed and "begins" not in printed


def plan(project, *arguments):
    return make_plan(parser().parse_args(arguments), project.root)


def test_choice_of_notebooks(project):
    for stem in ("01_a", "02_b", "03_c", "09_report"):
        project.write(stem)
    assert plan(project).numbers == ["01", "02", "03", "09"]
    assert plan(project, "3", "01_a").numbers == ["01", "03", "09"]
    with pytest.raises(ValueError, match="no notebook 07: wanted some of 01, 02, 03, 09"):
        plan(project, "07")
    project.write("03_d")
    with pytest.raises(ValueError, match="two notebooks share a number: 01_a, 02_b, 03_c, 03_d"):
        plan(project)


def test_options_reach_the_notebooks(project, tmp_path, monkeypatch):
    project.write("03_unet")
    assert "CVF20_SYNTHETIC" not in plan(project).environment
    found = plan(project, "--quick", "--synthetic", "--data", str(tmp_path), "--jobs", "1000").environment
    built = project.root / "build/quick"
    assert found == {
        **{"CVF20_OUT": str(built), "CVF20_RUNS": str(built / "runs"), "CVF20_DATA": str(tmp_path)},
        **{"CVF20_SYNTHETIC": "1", "OMP_NUM_THREADS": "1"},
    }
    assert plan(project, "--synthetic").runs == project.root / "build/synthetic/runs"
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    assert plan(project, "--quick").build == tmp_path / "out/quick"
    with pytest.raises(ValueError, match="--data nowhere"):
        plan(project, "--data", "nowhere")
    with pytest.raises(ValueError, match="--jobs 0"):
        plan(project, "--jobs", "0")
    monkeypatch.setenv("CVF20_OUT", str(project.root))
    with pytest.raises(ValueError, match="CVF20_OUT"):
        plan(project)


def test_fresh_forgets_the_runs_of_these_notebooks_only(project):
    project.write("02_base")
    project.write("03_unet")
    for name in ("02_net", "03_net"):
        (project.root / "runs" / name).mkdir(parents=True)
    prepare(plan(project, "03"), fresh=False)
    assert len(list((project.root / "runs").iterdir())) == 2
    prepare(plan(project, "03"), fresh=True)
    assert [path.name for path in (project.root / "runs").iterdir()] == ["02_net"]
