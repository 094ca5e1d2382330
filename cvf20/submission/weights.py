"""weights/: in half precision the network that each sheet hands on, the one with the best validation score."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from cvf20.submission.check import is_stand_in, read_result
from cvf20.submission.tasks import SHEETS, TIME, of_sheet

SCORES = {  # sheet → data set, metric on its validation images
    "A": ("stanford_background", "mIoU"),
    "B": ("yeast_colonies", "IoU"),
    "C": ("stanford_background", "mIoU"),
    "D": ("msrc", "accuracy"),
}
LOADING = """```python
import torch
from cvf20.models.spec import build

model = build("{network}")
model.load_state_dict(torch.load("weights/{label}.pt", weights_only=True)["weights"])  # half precision, computes in float32
model.eval()
```"""


def best_of(sheet: str, results: Path) -> dict | None:
    """The result of the sheet's best run on real data and full budget; None where there is none yet."""
    data, metric = SCORES[sheet]
    stems = {stem for task in of_sheet(sheet) if task.id != TIME for stem in task.notebooks}
    found = [read_result(file)[0] for stem in stems for file in sorted(results.glob(f"{stem[:2]}_*.json"))]
    found = [result for result in found if result and result["data"] == data and not result["quick"]]
    found = [
        r for r in found if not is_stand_in(r) and "overfit" not in r["name"]
    ]  # validated on what it was trained on
    scored = [(r["metrics"].get("val", {}).get(metric), r["name"], -r["seed"], r) for r in found]
    return max((each for each in scored if each[0] is not None), default=[None])[-1]


def label(result: dict) -> str:
    return f"{result['name']}-seed{result['seed']}"


def missing(project: Path, sheets: list[str]) -> Iterator[tuple[str, str, str]]:
    """(level, what, how to mend) for each sheet whose network is not in weights/."""
    for sheet in sheets:
        best = best_of(sheet, project / "results")
        if best is None:
            yield "note", f"sheet {sheet} has no run to hand on", "run its notebooks"
        elif not (project / f"weights/{label(best)}.pt").is_file():
            level = "error" if best.get("network") else "note"  # older results cannot build theirs
            what = f"weights/{label(best)}.pt is missing, the network that sheet {sheet} hands on"
            yield level, what, f"./run_all.sh {best['name'][:2]} --fresh"


def hand_on(project: Path, runs: Path, say: Callable[[str], None]) -> None:
    """Write the weights of what the sheets hand on, as far as runs/ holds them, and how each is loaded."""
    pieces = ["# The networks that are handed on", "Half precision; run the lines in this folder's parent."]
    for sheet in SHEETS:
        best = best_of(sheet, project / "results")
        if not best or not best.get("network"):
            continue
        target = project / f"weights/{label(best)}.pt"
        source = runs / f"{label(best)}-{best['key'][:12]}" / "best.pt"
        if source.is_file():
            write_half(source, target, best["key"])
            say(f"sheet {sheet} hands on {label(best)}: weights/{target.name}")
        if target.is_file():
            metric = SCORES[sheet][1]
            pieces.append(f"Sheet {sheet}: `{label(best)}`, validation {metric} {best['metrics']['val'][metric]:.3f}.")
            pieces.append(LOADING.format(network=best["network"], label=label(best)))
    if len(pieces) > 2:
        (project / "weights/README.md").write_text("\n\n".join(pieces) + "\n", encoding="utf-8")


def write_half(source: Path, target: Path, key: str) -> None:
    """The state dict in `source`, floating point in half precision. Raises ValueError where a weight is too large for it."""
    import torch

    state = torch.load(source, weights_only=True, map_location="cpu")
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    for name, value in half.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(
                f"{source.parent.name}: {name} reaches {state[name].abs().max():.3g}, wanted at most 65504"
            )
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_name(f".{target.name}")
    torch.save({"key": key, "weights": half}, temporary)
    os.replace(temporary, target)
