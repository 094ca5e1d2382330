"""From build/ to what is published: file by file, each whole or not at all; of what is published nothing is removed."""

import json
import os
import shutil
from pathlib import Path

from cvf20.submission.notebook import number, read, stand_in

FOLDERS = ("results", "figures", "notebooks")  # notebooks last: whoever sees a new one finds all that it names


def files_of(root: Path, own: str | None) -> list[Path]:
    """figures/03_a.png, results/03_a-seed0/b.png … below root, for own = "03"; None: those of free names."""
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file()]
    places = [(path, path.relative_to(root).parts) for path in files]
    return [path for path, parts in places if number(parts[1]) == own and not any(p.startswith(".") for p in parts)]


def copy_file(source: Path, target: Path) -> None:
    """The target is the old file or the new one, whole, whatever happens."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def prepare(build: Path, project: Path, numbers: set[str]) -> None:
    """Empty build/ of what these notebooks will make; put what is published of the others beside it, for them to read."""
    for folder in FOLDERS:
        (build / folder).mkdir(parents=True, exist_ok=True)
        remove([path for path in (build / folder).iterdir() if number(path.name) in numbers])
    others = {number(path.name) for folder in FOLDERS for path in (project / folder).glob("*")} - numbers
    for path in [path for other in others for path in files_of(project, other)]:
        copy_file(path, build / path.relative_to(project))


def remove(paths: list[Path]) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def reason_against(target: Path, source: Path, made: list[Path]) -> str:
    """Why the notebook `target` and the files that it made are not published; "" where nothing speaks against it."""
    nb = read(target)
    if [cell.source for cell in read(source).cells] != [cell.source for cell in nb.cells]:
        return "it was edited while it ran: run it again"
    results = [path for path in made if path.suffix == ".json" and path.parent.name == "results"]
    if unreal := next((path.name for path in results if is_stand_in(json.loads(path.read_bytes()))), "") or stand_in(
        nb
    ):
        return f"made from a stand-in or a small sample ({unreal}): put the real data into data/"
    return ""


def is_stand_in(result: dict) -> bool:
    """Whether a result is of a drawn stand-in or a small sample; key points are drawn by design."""
    return bool(result.get("sample") or result.get("synthetic") and result.get("data") != "keypoints")


def publish(build: Path, project: Path, made: list[Path]) -> list[str]:
    """Copy what was made; returns the places."""
    for path in made:
        copy_file(path, project / path.relative_to(build))
    return [path.relative_to(build).as_posix() for path in made]
