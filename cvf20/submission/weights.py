"""weights/: in half precision the network that each sheet hands on, the one with the best validation score."""

from pathlib import Path

from cvf20.models.weights import write_half
from cvf20.submission.notebook import SHEETS, TIME, of_sheet, render
from cvf20.training.results import is_stand_in, read_result

SCORES = {"A": ("stanford_background", "mIoU"), "B": ("yeast_colonies", "IoU"), "D": ("msrc", "accuracy")}
SCORES["C"] = SCORES["A"]  # sheet → data set, metric on its validation images


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
