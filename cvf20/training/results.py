"""One JSON per finished run, beside it its curves and shown predictions; tables over them."""

import csv
import functools
import itertools
import json
import math
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import nn
from torch.utils.data import ConcatDataset, Subset

from cvf20.paths import out_dir, project_dir
from cvf20.training.describe import run_key

REQUIRED = ("name", "seed", "notebook", "data", "synthetic", "quick", "metrics", "recipe", "seconds")

NOTEBOOKS = ("01_augmentation", "02_baselines", "03_unet", "04_tuning", "05_losses", "06_topology_loss")
NOTEBOOKS += ("07_resnet18_transfer", "08_instance_segmentation", "09_report")


def notebook_of(name: str) -> str:
    """The notebook that a run's or figure's name begins with: "03_unet_bn" → "03_unet"; "" for another name."""
    return next((notebook for notebook in NOTEBOOKS if name.startswith(notebook[:3])), "")


def file_name(name: str) -> str:
    """The name, if it can be a file's; else a ValueError."""
    if not isinstance(name, str) or not name.strip() or name in (".", "..") or set(name) & set("/\\\0\n"):
        raise ValueError(f"name={name!r}: a file name without a slash is wanted, e.g. '03_unet'")
    return name


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Put a file in its place that is first written whole beside it: a killed process leaves the previous content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    write(temporary)
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    replace(path, lambda file: file.write_text(text, encoding="utf-8"))


def new_result(name: str, seed: int, data, *, metrics: dict, recipe: dict, seconds: float, quick: bool, **more) -> dict:
    """What every result says; data: the data set it was made on, `more`: what only this kind of result says."""
    sets = inside(data)
    about = {"name": file_name(name), "seed": seed, "notebook": notebook_of(name)}
    about["data"] = " + ".join(dict.fromkeys(getattr(each, "name", "data") for each in sets))
    about |= {kind: any(getattr(each, kind, False) for each in sets) for kind in ("synthetic", "sample")}
    about |= {"quick": quick, "metrics": metrics, "recipe": recipe, "seconds": round(seconds, 1)}
    return about | {"commit": commit(), "data_sha256": getattr(data, "sha256", None) or run_key(data), **more}


def inside(data) -> list:
    """The data sets that a Subset or ConcatDataset is made of; another one itself."""
    parts = data.datasets if isinstance(data, ConcatDataset) else [data.dataset] if isinstance(data, Subset) else []
    return [each for part in parts for each in inside(part)] or [data]


def write_result(result: dict) -> Path:
    """Store `result` as results/<name>-seed<seed>.json below $CVF20_OUT; returns the file's path."""
    path = out_dir() / "results" / f"{result['name']}-seed{result['seed']}.json"
    write_text(path, json.dumps(plain(result), indent=1) + "\n")
    return path


def plain(value):
    """JSON has no nan; numbers of numpy and torch become Python's own."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def words(value):
    """Settings as a recipe shows them: classes and functions by name, objects with what is public in them."""
    if isinstance(value, functools.partial):
        value = [value.func, value.args, value.keywords]
    if isinstance(value, dict):
        return {str(key): words(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [words(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist() if math.prod(value.shape) < 65 else f"{type(value).__name__} {list(value.shape)}"
    if value is None or isinstance(value, (bool, int, float, str)) or hasattr(value, "__qualname__"):
        return getattr(value, "__qualname__", value)
    own = getattr(value, "__dict__", {}) | (dict(value.named_children()) if isinstance(value, nn.Module) else {})
    return {type(value).__qualname__: words({k: v for k, v in own.items() if k[0] != "_" and k != "training"})}


def write_curves(rows: list[dict], path: Path) -> None:
    """One CSV line per epoch."""
    lines = [",".join(rows[0])] + [",".join(repr(value) for value in row.values()) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def read_rows(path: Path) -> list[dict]:
    """Curves epoch by epoch, as training handed them out."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{column: float(value) for column, value in row.items()} for row in csv.DictReader(file)]
    return [row | {"epoch": int(row["epoch"])} for row in rows]


def load_results(pattern: str = "*", folder: Path | None = None) -> list[dict]:
    """All results whose file name fits the pattern, e.g. "03_*", sorted by name and seed."""
    files = sorted((folder or out_dir() / "results").glob(f"{pattern}.json"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return sorted(found, key=lambda result: (result["name"], result["seed"]))


def is_stand_in(result: dict) -> bool:
    """Whether a result is of a drawn stand-in or a small sample; key points are drawn by design."""
    return bool(result.get("sample") or result.get("synthetic") and result.get("data") != "keypoints")


def read_result(file: Path) -> tuple[dict, str]:
    """The result in a file, and what is wrong with it: {} where it is none, "" where nothing is."""
    try:
        result = json.loads(file.read_bytes())
        missing = [key for key in REQUIRED if key not in result]
        return ({}, f"lacks {', '.join(missing)}") if missing else (result, "")
    except (ValueError, TypeError) as error:
        return {}, f"is no result ({error})"


def commit() -> str:
    """This project's commit, "-dirty" where cvf20 differs from it; empty where it is in no repository of its own."""
    if not (project_dir() / ".git").exists() or not shutil.which("git"):
        return ""  # perhaps inside another repository, whose commits say nothing about this code
    git, options = ["git", "-C", str(project_dir())], {"capture_output": True, "text": True}
    head = subprocess.run([*git, "rev-parse", "--short=12", "--verify", "--quiet", "HEAD"], **options).stdout.strip()
    changed = head and subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "cvf20"]).returncode
    return f"{head}-dirty" if changed else head


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """p-values corrected for their number by Holm's step-down method (1979), under the same keys."""
    names = sorted(p_values, key=p_values.get)
    scaled = (min(1.0, p_values[name] * (len(names) - rank)) for rank, name in enumerate(names))
    return dict(zip(names, itertools.accumulate(scaled, max), strict=True))


def mean_std(values: Iterable[float], digits: int = 3) -> str:
    """ "0.712 ± 0.004 (3)": mean, sample standard deviation and number of seeds; one value stands alone."""
    mean = f"{statistics.mean(values := list(values)):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f} ({len(values)})"


def parameters(model: nn.Module, trained: bool = False) -> int:
    """Number of weights; frozen ones included unless trained=True."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)
