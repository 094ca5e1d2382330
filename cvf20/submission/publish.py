"""Publishing: what a run built replaces what was published, all of it or nothing, whatever kills the process.

Everything new is first copied to .publish/new beside the published folders and flushed to the disk; then a journal,
written under its final name by one rename, says what is to be moved and what to be removed. That rename is the moment
of publication: before it nothing published has changed, after it `recover` can finish the moves, which need no space
on the disk. Standard library only.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDERS = ("notebooks", "figures", "results")


def publish(build: Path, project: Path, numbers: Iterable[str]) -> tuple[list[str], list[str]]:
    """Replace what the notebooks with these numbers have published in `project` by what they left in `build`.

    numbers: "03" stands for every file and folder named 03_… in notebooks/, figures/ and results/
    Returns the paths that were written and those that were removed. Raises OSError, with nothing published changed,
    where there is no room.
    """
    staging = project / ".publish"
    with _alone(project):
        _recover(project)
        try:
            new, old = _files(build, numbers), _files(project, numbers)
            for name in new:
                _copy(build / name, staging / "new" / name)
            journal = {"put": new, "drop": sorted(set(old) - set(new))}
            _write(staging / "journal.part", json.dumps(journal).encode())
            for folder, _, _ in os.walk(staging):
                _flush(Path(folder))
            os.replace(staging / "journal.part", staging / "journal.json")
        except BaseException:
            if not (staging / "journal.json").exists():
                shutil.rmtree(staging, ignore_errors=True)
            raise
        _recover(project)
    return journal["put"], journal["drop"]


def recover(project: Path) -> bool:
    """Finish a publication that was interrupted after its journal was written, discard one from before; True: finished."""
    with _alone(project):
        return _recover(project)


def numbered(folder: Path, numbers: Iterable[str]) -> list[Path]:
    """Files and folders directly in `folder` whose name begins with one of the numbers and an underscore."""
    starts = tuple(f"{number}_" for number in numbers)
    return sorted(path for path in folder.iterdir() if path.name.startswith(starts)) if folder.is_dir() else []


def _files(root: Path, numbers: Iterable[str]) -> list[str]:
    """Paths below root, of files only, that belong to the numbers."""
    numbers, found = list(numbers), []
    for folder in FOLDERS:
        for path in numbered(root / folder, numbers):
            inside = sorted(path.rglob("*")) if path.is_dir() else [path]
            found += [file.relative_to(root).as_posix() for file in inside if file.is_file()]
    return found


def _recover(project: Path) -> bool:
    staging = project / ".publish"
    journal_file = staging / "journal.json"
    if finish := journal_file.exists():
        journal = json.loads(journal_file.read_bytes())
        touched = {project / folder for folder in FOLDERS}
        for name in journal["drop"]:
            path = project / name
            if path.is_file():
                path.unlink()
            _remove_if_empty(path.parent, project)
        for name in journal["put"]:
            source, target = staging / "new" / name, project / name
            if source.exists():  # else it was moved before the interruption
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, target)
            touched.add(target.parent)
        for folder in touched:
            if folder.is_dir():
                _flush(folder)
        journal_file.unlink()
        _flush(staging)
    if staging.exists():
        shutil.rmtree(staging)
    return finish


def _remove_if_empty(folder: Path, project: Path) -> None:
    while folder.parent != project and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


@contextlib.contextmanager
def _alone(project: Path) -> Iterator[None]:
    """One publication at a time: a lock on the project's folder, which the system takes back from a killed process."""
    handle = os.open(project, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    _flush(target)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    _flush(path)


def _flush(path: Path) -> None:
    """Have the system write a file, or a folder's entries, to the disk: what is renamed later must be whole by then."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
