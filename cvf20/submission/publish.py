"""From build/ to what is published: file by file, each whole or not at all, nothing removed; and weights/ by sheet."""

import os
import shutil
from pathlib import Path

from cvf20.models.weights import write_half
from cvf20.submission.notebook import SHEETS, TIME, number, of_sheet, read, render, uses_stand_in
from cvf20.training.results import is_stand_in, read_result

FOLDERS = ("results", "figures", "notebooks")  # notebooks last: whoever sees a new one finds all that it names
SCORES = {"A": ("stanford_background", "mIoU"), "B": ("yeast_colonies", "IoU"), "D": ("msrc", "accuracy")}
SCORES["C"] = SCORES["A"]  # sheet → data set, metric on its validation images


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


def best_of(sheet: str, project: Path) -> dict | None:
    """The result of the sheet's best run on real data and full budget, with its score; None where there is none yet."""
    data, metric = SCORES[sheet]
    numbers = {own for task in of_sheet(sheet) if task.id != TIME for own in task.notebooks}
    files = [file for own in sorted(numbers) for file in sorted((project / "results").glob(f"{own}_*.json"))]
    found = [result for result, why in map(read_result, files) if not why and result["data"] == data]
    scored = []
    for r in [r for r in found if not r["quick"] and not is_stand_in(r) and "overfit" not in r["name"]]:
        score = r["metrics"].get("val", {}).get(metric)  # an "overfit" one is validated on its training images
        if score is not None:
            scored.append(r | {"label": f"{r['name']}-seed{r['seed']}", "score": score})
    return max(scored, key=lambda result: result["score"], default=None)


def missing(project: Path, sheets: list[str]) -> list[str]:
    """A finding for each sheet whose network is not in weights/; a note where an older result cannot build it."""
    found = []
    for best in filter(None, (best_of(sheet, project) for sheet in sheets)):
        file, level = f"weights/{best['label']}.pt", "error" if best.get("network") else "note"
        if not (project / file).is_file():
            found.append(f"{level}: {file} is missing. To mend: ./run_all.sh {best['name'][:2]} --fresh")
    return found


def hand_on(project: Path, runs: Path) -> None:
    """Write the weights of what the sheets hand on, as far as runs/ holds them, and how each is loaded."""
    best = {sheet: best_of(sheet, project) for sheet in SHEETS}
    networks = {sheet: result for sheet, result in best.items() if result and result.get("network")}
    for sheet, result in networks.items():
        source = runs / f"{result['label']}-{result['key'][:12]}/best.pt"
        if source.is_file():
            write_half(source, project / f"weights/{result['label']}.pt", result["key"])
            print(f"sheet {sheet} hands on weights/{result['label']}.pt")
    there = {sheet: r for sheet, r in networks.items() if (project / f"weights/{r['label']}.pt").is_file()}
    if there:
        (project / "weights/README.md").write_text(render("weights.md", networks=there), encoding="utf-8")
