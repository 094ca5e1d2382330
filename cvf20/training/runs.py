"""What was computed once: its key, and the one function that looks it up, in runs/ and in what is published.

The key of a run is made of its recipe, its data, how its network is built, and the code: modules as they were imported
(`cvf20.imported`), a notebook's own functions and classes by their source and the globals that they read. It is the
same on every machine, thread count, precision and library version. When in doubt it differs.
"""

import io
import json
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from cvf20.paths import out_dir, project_dir, runs_dir
from cvf20.training import results
from cvf20.training.describe import run_key
from cvf20.training.devices import once


def published(name: str) -> Path:
    """A file of the published results/; one that never exists where CVF20_FRESH=1 says to look at nothing published."""
    return Path(os.devnull) / name if os.environ.get("CVF20_FRESH") == "1" else project_dir() / "results" / name


def stored(file: Path, key: str) -> dict | None:
    """What `_write` wrote into a file, if it belongs to the key."""

    def decode(found: dict):
        if "__items__" in found:
            return {tuple(name) if isinstance(name, list) else name: value for name, value in found["__items__"]}
        if "__tensor__" in found:
            return torch.from_numpy(arrays[found["__tensor__"]])
        return arrays[found["__array__"]] if "__array__" in found else found

    packed = file.with_suffix(".npz")
    try:
        arrays = dict(np.load(packed)) if packed.is_file() else {}
        content = json.loads(file.read_text(encoding="utf-8"), object_hook=decode)
    except (OSError, ValueError, KeyError, BadZipFile):  # missing or torn
        return None
    return content if isinstance(content, dict) and content.get("key") == key else None


def finished(label: str, folder: Path, key: str) -> tuple[Path, dict] | None:
    """File and content of the result of a run of this key; curves (.csv) and predictions (a folder) lie beside it."""
    files = folder / "result.json", published(f"{label}.json")
    found = ((file, stored(file, key)) for file in files if file.with_suffix(".csv").is_file())
    return next((pair for pair in found if pair[1]), None)


def publish_run(result: Path, label: str) -> None:
    """Copy a finished run's curves and shown predictions to $CVF20_OUT/results."""
    target, pictures = out_dir() / "results" / label, result.with_suffix("")
    copy_file(result.with_suffix(".csv"), target.with_name(f"{label}.csv"))
    for name in {file.name for place in (pictures, target) for file in place.glob("*.png")}:
        copy_file(pictures / name, target / name)


def cached(name: str, compute: Callable, *inputs, seed=0, quick=False, data=None, recipe=None):
    """What `compute(*inputs)` gives, computed once; for everything that is made with trained networks beyond `fit()`.

    compute: counts with the globals, closures and defaults that it reads: Learners by their key, data by its content
    data:    the value is a result (a dict of metrics) on this data set: it is written to results/<name>-seed<seed>.json
    recipe:  of such a result, for the reader
    The value is nested dicts and lists of numbers, strings, None, arrays and small tensors; others are a TypeError.
    """
    label = f"{results.file_name(name)}-seed{seed}"
    key = run_key([seed, quick, recipe], [compute, *inputs, data])
    file = f"{label}/value.json" if data is None else f"{label}.json"

    def make() -> dict:
        started = time.perf_counter()
        value = compute(*inputs)
        about = {"key": key, "seconds": round(time.perf_counter() - started, 1)}
        if data is None:
            return about | {"value": value}
        if not isinstance(value, dict):
            raise TypeError(f"{name}: a dict of metrics is wanted with data=, found {type(value).__name__}")
        about |= {"recipe": recipe or {}, "quick": quick, "metrics": value}
        return results.plain(results.new_result(name, seed, data, **about))

    content, where = keep(file, runs_dir() / f"{label}-{key[:12]}" / "value.json", key, make)
    if where:
        print(f"{label}: loaded from {where}")
    return content["value" if data is None else "metrics"]


def keep(file: str, local: Path, key: str, make: Callable[[], dict]) -> tuple[dict, str]:
    """The JSON of `key` and where it came from ("" if made now): from runs/, the published results/, or `make()`.

    file: its name below results/, into which it is copied each time; local: its place in runs/
    """
    for path, where in ((local, "runs/"), (published(file), "results/ (published)"), (local, "")):
        if not where:
            once(partial(_write, make(), path))  # made in every process, since it may train
        if content := stored(path, key):
            break
    target = out_dir() / "results" / file
    once(lambda: [copy_file(path.with_suffix(end), target.with_suffix(end)) for end in (".json", ".npz")])
    return content, where


def copy_file(source: Path, target: Path) -> None:
    """Copy, or remove what is no longer there."""
    if not source.is_file():
        target.unlink(missing_ok=True)
    elif source.resolve() != target.resolve():
        results.replace(target, partial(shutil.copyfile, source))


def _write(content: dict, path: Path) -> None:
    """JSON; beside it an .npz with the arrays and tensors, which leave their number."""
    arrays: dict[str, np.ndarray] = {}

    def encode(value):
        if isinstance(value, (np.generic, Tensor)) and value.ndim == 0:
            value = value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, (list, tuple)):
            return [encode(item) for item in value]
        if isinstance(value, dict):
            items = [[encode(name), encode(item)] for name, item in value.items()]
            return dict(items) if all(type(name) is str for name in value) else {"__items__": items}
        kind, name = "tensor" if isinstance(value, Tensor) else "array", f"a{len(arrays)}"
        if isinstance(value, Tensor):
            value = (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu().numpy()
        if not isinstance(value, np.ndarray) or value.dtype == object:
            raise TypeError(f"a cached value holds {type(value).__name__}: numbers, text, lists, dicts or arrays go")
        arrays[name] = value
        return {f"__{kind}__": name}

    text = json.dumps(encode(content), indent=1)
    if arrays:
        np.savez_compressed(packed := io.BytesIO(), **arrays)
        results.replace(path.with_suffix(".npz"), lambda file: file.write_bytes(packed.getvalue()))
    results.write_text(path, text)
