"""From build/ to what is published: file by file, each whole or not at all; of what is published nothing is removed."""

import os
import shutil
from pathlib import Path

from cvf20.submission.notebook import number, read, uses_stand_in
from cvf20.training.results import is_stand_in, read_result

FOLDERS = ("results", "figures", "notebooks")  # notebooks last: whoever sees a new one finds all that it names


def files_of(root: Path, own: str | None) -> list[Path]:
    """Below root figures/03_a.png, results/03_a-seed0/b.png … for own = "03"; None: those of free names."""
    files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file()]
    places = [(path, path.relative_to(root).parts) for path in files]
    return [path for path, parts in places if number(parts[1]) == own and not any(p.startswith(".") for p in parts)]


def copy_files(paths: list[Path], source: Path, target: Path) -> None:
    """Copy from below `source` to below `target`; each file is the old or the new one, whole, whatever happens."""
    for place in [path.relative_to(source) for path in paths]:
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        temporary = target / place.with_name(f".{place.name}.new")
        shutil.copyfile(source / place, temporary)
        os.replace(temporary, target / place)


def prepare(build: Path, project: Path, numbers: set[str]) -> None:
    """Empty build/ of what these notebooks will make; put what is published of the others beside it, for them to read."""
    for folder in FOLDERS:
        (build / folder).mkdir(parents=True, exist_ok=True)
        remove([path for path in (build / folder).iterdir() if number(path.name) in numbers])
    for other in {number(path.name) for folder in FOLDERS for path in (project / folder).glob("*")} - numbers:
        copy_files(files_of(project, other), project, build)


def remove(paths: list[Path]) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def reason_against(made: list[Path], source: Path) -> str:
    """Why the files that a notebook made, itself the last, are not published; "" where nothing speaks against it."""
    nb = read(made[-1])
    if [cell.source for cell in read(source).cells] != [cell.source for cell in nb.cells]:
        return "it was edited while it ran: run it again"
    results = [read_result(path)[0] for path in made if path.suffix == ".json" and path.parent.name == "results"]
    drawn = uses_stand_in(nb) or any(map(is_stand_in, results))
    return "it used a stand-in or a small sample: put the real data into data/" * drawn
