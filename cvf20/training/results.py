"""One JSON per finished run, beside it its curves and shown predictions; tables over them."""

import csv
import json
import math
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import nn

from cvf20.paths import out_dir, project_dir, runs_dir
from cvf20.show.tables import markdown_table  # noqa: F401
from cvf20.training.fingerprint import fingerprint

REQUIRED = ("name", "seed", "notebook", "data", "synthetic", "quick", "metrics", "recipe", "seconds")

NOTEBOOKS = (
    "01_augmentation",
    "02_baselines",
    "03_unet",
    "04_tuning",
    "05_losses",
    "06_topology_loss",
    "07_resnet18_transfer",
    "08_instance_segmentation",
    "09_report",
)


def notebook_of(name: str) -> str:
    """The notebook that a run's or figure's name begins with: "03_unet_bn" → "03_unet"."""
    for notebook in NOTEBOOKS:
        if name[:3] == notebook[:3]:
            return notebook
    raise ValueError(f"name {name!r} must begin with a notebook's number, one of {', '.join(n[:3] for n in NOTEBOOKS)}")


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: a killed process leaves the previous content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def new_result(name: str, seed: int, data, *, metrics: dict, recipe: dict, seconds: float, quick: bool, **more) -> dict:
    """What every result says; data: the data set it was made on, `more`: what only this kind of result says."""
    return {
        "name": name,
        "seed": seed,
        "notebook": notebook_of(name),
        "data": data.name,
        "synthetic": data.synthetic,
        "quick": quick,
        "metrics": metrics,
        "recipe": recipe,
        "seconds": round(seconds, 1),
        "commit": commit(),
        "data_sha256": data.sha256,
        **more,
    }


def write_result(result: dict, folder: Path | None = None) -> Path:
    """Store `result` as results/<name>-seed<seed>.json below $CVF20_OUT (or in `folder`); returns the file's path."""
    missing = [key for key in REQUIRED if key not in result]
    if missing:
        raise ValueError(f"result {result.get('name')!r} lacks {', '.join(missing)}")
    path = (folder or out_dir() / "results") / f"{result['name']}-seed{result['seed']}.json"
    write_text(path, json.dumps(_plain(result), indent=1, sort_keys=True) + "\n")
    return path


def _plain(value):
    """JSON has no nan; numbers of numpy and torch become Python's own."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_curves(rows: list[dict], path: Path) -> None:
    """One CSV line per epoch."""
    columns = list(rows[0])
    lines = [",".join(columns)] + [",".join(repr(row[c]) for c in columns) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def read_curves(path: Path) -> dict[str, list[float]]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {column: [float(row[column]) for row in rows] for column in rows[0]}


def read_scalars(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of every scalar in a run's TensorBoard event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    events = EventAccumulator(str(run / "events")).Reload()
    series = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    return {tag: ([e.step for e in entries], [e.value for e in entries]) for tag, entries in series.items()}


def publish_run(run: Path, name: str) -> None:
    """Copy a finished run's curves and shown predictions to $CVF20_OUT/results."""
    results = out_dir() / "results"
    results.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "curves.csv", results / f"{name}.csv")
    pictures = results / name
    shutil.rmtree(pictures, ignore_errors=True)
    if any((run / "predictions").glob("*.png")):
        shutil.copytree(run / "predictions", pictures)


def measured(
    name: str, compute: Callable[[], dict], recipe: dict, parts: list, *, data, quick: bool = False, seed: int = 0
) -> dict:
    """The metrics that `compute()` gives, kept in runs/ while recipe, data and code are unchanged; written as a result.

    For what is no training run of the Learner, e.g. a measurement of time. parts: see `fingerprint`
    """
    digest = fingerprint({**recipe, "seed": seed, "quick": quick, "data": data.sha256}, parts)[:12]
    file = runs_dir() / f"{name}-seed{seed}-{digest}.json"
    if not file.exists():
        started = time.perf_counter()
        metrics = compute()
        seconds = time.perf_counter() - started
        result = new_result(name, seed, data, metrics=metrics, recipe=recipe, seconds=seconds, quick=quick)
        write_text(file, json.dumps(_plain(result), indent=1))
    result = json.loads(file.read_text())
    write_result(result)
    return result["metrics"]


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """p-values corrected for their number by Holm's step-down method (1979), under the same keys."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.get)):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - rank)))
        adjusted[name] = largest
    return adjusted


def load_results(pattern: str = "*", folder: Path | None = None) -> list[dict]:
    """All results whose file name fits the pattern, e.g. "03_*", sorted by name and seed."""
    files = sorted((folder or out_dir() / "results").glob(f"{pattern}.json"))
    return sorted((json.loads(file.read_text()) for file in files), key=lambda r: (r["name"], r["seed"]))


def commit() -> str:
    """The repository's commit, "-dirty" where cvf20 differs from it; empty outside a repository."""
    ask = ["git", "-C", str(project_dir())]
    try:
        head = subprocess.run([*ask, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        state = subprocess.run(
            [*ask, "status", "--porcelain", "--untracked-files=no", "cvf20"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("-dirty" if state.stdout else "")


def mean_std(values: Iterable[float], percent: bool = False, digits: int = 3) -> str:
    """ "0.712 ± 0.004 (3)": mean, sample standard deviation and number of seeds; one value stands alone."""
    values = [v * 100 if percent else v for v in values]
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f} ({len(values)})"


def parameters(model: nn.Module) -> int:
    """Number of weights, frozen ones included."""
    return sum(p.numel() for p in model.parameters())
