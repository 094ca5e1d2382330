"""Killed or out of space at any step, publishing leaves the old state, or one that the next start completes."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
from submission.projects import tree

from cvf20.submission import publish as module
from cvf20.submission.publish import publish, recover

OLD = {
    "notebooks/02_base.ipynb": "old 02",
    "notebooks/03_unet.ipynb": "old 03",
    "figures/02_base.png": "old",
    "figures/03_stale.png": "old",
    "figures/03_unet.png": "old",
    "figures/03_unet_curves.png": "old",
    "results/02_base-seed0.json": "old",
    "results/03_stale-seed0/a.png": "old",
    "results/03_unet-seed0/a.png": "old",
    "results/03_unet-seed0/b.png": "old",
    "notebooks/notes.md": "mine",
}
BUILT = {
    "notebooks/02_base.ipynb": "unpublished",
    "notebooks/03_unet.ipynb": "new 03",
    "figures/02_base.png": "unpublished",
    "figures/03_new.png": "new",
    "figures/03_unet.png": "new",
    "results/03_unet-seed0.json": "new",
    "results/03_unet-seed0/a.png": "new",
}
NEW = {name: text for name, text in OLD.items() if "03_" not in name}
NEW |= {name: text for name, text in BUILT.items() if "03_" in name}
KILLED = 9  # os._exit runs no finally and flushes nothing: on the disk it is kill -9, and takes no time
MODIFYING = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


@pytest.fixture
def folders(tmp_path):
    """(build, project) with the files above."""
    for folder, files in (("build", BUILT), ("project", OLD)):
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path / "build", tmp_path / "project"


@pytest.fixture(autouse=True)
def quick_flush(monkeypatch):
    """A killed process loses nothing that it has handed to the system; flushing matters to a power cut only."""
    flushed = []
    monkeypatch.setattr(module, "_flush", flushed.append)
    return flushed


def published(project) -> dict[str, str]:
    return {name: content.decode() for name, content in tree(project).items()}


def fail_at(step: int, fail):
    """From now on, `fail` is called before the step-th change of a file or folder."""
    count = 0

    def hook(event, arguments):
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in MODIFYING:
            count += 1
            if count == step:
                fail()

    sys.addaudithook(hook)


def in_child(work) -> int:
    """Call `work` in a forked process, whose hooks end with it; 0: done, 1: OSError, 9: killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_one_notebook_replaces_its_own_files_only(folders):
    build, project = folders
    put, dropped = publish(build, project, ["03"])
    assert published(project) == NEW
    assert set(put) == {name for name in BUILT if "03_" in name}
    assert set(dropped) == {name for name in OLD if "03_" in name and name not in BUILT}
    assert not (project / ".publish").exists()
    assert not (project / "results/03_stale-seed0").exists()


def test_everything_is_on_the_disk_before_the_journal_has_its_name(folders, quick_flush, monkeypatch):
    build, project = folders
    before = []
    rename = os.replace

    def replace(source, target):
        if os.path.basename(target) == "journal.json":
            before.extend(quick_flush)
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    put, _ = publish(build, project, ["03"])
    new = project / ".publish/new"
    wanted = {new / name for name in put} | {(new / name).parent for name in put} | {project / ".publish/journal.part"}
    assert wanted <= set(before)
    assert {project / "figures", project / "results/03_unet-seed0"} <= set(quick_flush[len(before) :])


def test_first_publication_makes_the_folders(folders):
    build, project = folders
    for folder in ("notebooks", "figures", "results"):
        shutil.rmtree(project / folder)
    publish(build, project, ["02", "03"])
    assert published(project) == BUILT


def test_folder_may_become_a_file_and_back(folders):
    build, project = folders
    (project / "figures/03_new.png").mkdir()
    (project / "figures/03_new.png/part.txt").write_text("old")
    (build / "figures/03_stale.png").mkdir()
    (build / "figures/03_stale.png/part.txt").write_text("new")
    publish(build, project, ["03"])
    assert published(project) == NEW | {"figures/03_stale.png/part.txt": "new"}


def test_killed_at_every_step(folders, tmp_path):
    """Whole before the journal, completed at the next start after it; and every step is one of the two."""
    build, original = folders
    outcomes = []
    for step in range(1, 200):
        project = tmp_path / f"killed-{step}"
        shutil.copytree(original, project)

        def work(step=step, project=project):
            fail_at(step, lambda: os._exit(KILLED))
            publish(build, project, ["03"])

        code = in_child(work)
        committed = (project / ".publish/journal.json").exists()
        before = published(project)
        if code and not committed:
            assert before in (OLD, NEW), step  # NEW: all is moved, only the tidying up is left
        assert recover(project) == committed
        assert published(project) == (NEW if committed else before)
        assert not (project / ".publish").exists()
        outcomes.append((code, published(project) == NEW))
        if code == 0:
            break
    killed = [new for code, new in outcomes if code == KILLED]
    assert killed == sorted(killed) and {False, True} == set(killed)  # first the old state, then the new one
    assert outcomes[-1] == (0, True)


def test_killed_during_recovery(folders, tmp_path):
    """A recovery that is itself killed, again and again, still ends with the new state."""
    build, original = folders
    for first in range(10, 40, 3):
        project = tmp_path / f"again-{first}"
        shutil.copytree(original, project)

        def work(first=first, project=project):
            fail_at(first, lambda: os._exit(KILLED))
            publish(build, project, ["03"])

        in_child(work)
        committed = (project / ".publish/journal.json").exists()
        for step in range(1, 50):

            def again(step=step, project=project):
                fail_at(step, lambda: os._exit(KILLED))
                recover(project)

            if in_child(again) == 0:
                break
        assert not (project / ".publish").exists()
        if committed:
            assert published(project) == NEW


def test_no_space_at_every_step(folders, tmp_path):
    """An error of the disk is passed on; at once or after the next start everything is old, or everything is new."""
    build, original = folders

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    codes = []
    for step in range(1, 80):
        project = tmp_path / f"full-{step}"
        shutil.copytree(original, project)

        def work(step=step, project=project):
            fail_at(step, full)
            publish(build, project, ["03"])

        code = in_child(work)
        if code == 1 and not (project / ".publish/journal.json").exists():
            assert published(project) in (OLD, NEW)
        recover(project)
        assert published(project) in (OLD, NEW)
        codes.append(code)
    assert codes.count(1) > 20 and codes[-1] == 0  # the last steps are beyond the end


def test_disk_that_is_really_full(folders, tmp_path):
    """On a file system of 200 kB, with pictures that do not fit; without the right to mount, a limit on file sizes."""
    build, original = folders
    (build / "figures/03_new.png").write_bytes(b"x" * 300_000)
    project = tmp_path / "small"
    project.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(project)]
    mounted = os.geteuid() == 0 and shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        shutil.copytree(original, project, dirs_exist_ok=True)
        if mounted:
            with pytest.raises(OSError, match="No space left"):
                publish(build, project, ["03"])
        else:

            def work():
                import resource

                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
                publish(build, project, ["03"])

            assert in_child(work) == 1
        assert published(project) == OLD
        assert not (project / ".publish").exists()
        (build / "figures/03_new.png").write_text("new")
        publish(build, project, ["03"])  # with room again, the next one succeeds
        assert published(project) == NEW
    finally:
        if mounted:
            subprocess.run(["umount", str(project)], check=True)
