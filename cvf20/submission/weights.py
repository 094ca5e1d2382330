"""The best network of each sheet: found in results/, its weights taken from runs/, in half precision."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cvf20.submission.faults import read_result

# sheet → (data set, metric on validation, how names of runs begin), in the order of what is preferred
CONTESTS = {
    "A": [("stanford_background", "mIoU", ("03", "04", "05", "06"))],
    "B": [("yeast_colonies", "IoU", ("04_start", "04_best", "05"))],  # others of 04 are scored on colony 2
    "C": [("stanford_background", "mIoU", ("02", "03", "04", "05", "07"))],
    "D": [("msrc", "accuracy", ("07",)), ("keypoints", "score", ("03",))],
}

_NARROW = 'UNet(4, 1, 1, 8, norm_type="batch")'
_PRINTED = 'UNet(4, 3, 9, (16, 32, 64, 128, 256), norm_type="batch", upsampling="transposed")'
_RESNET = "ResnetBasedModel(9, full_resolution=False)"
# run → (where its network is imported from, the expression that builds it)
NETWORKS = {
    "03_unet_best": ("cvf20.models", _PRINTED),
    "03_unet_reweighted": ("cvf20.models", _PRINTED),
    "04_start": ("cvf20.models", 'UNet(4, 1, 1, 16, norm_type="batch")'),
    "04_best": ("cvf20.models", 'UNet(5, 1, 1, 24, norm_type="batch")'),
    **{f"05_border_{weights}": ("cvf20.models", _NARROW) for weights in ("plain", "fade", "emphasise")},
    "03_case_study_FlattenNet": ("cvf20.models.case_study", "FlattenNet()"),
    **{f"07_{name}": ("cvf20.models", _RESNET) for name in ("resnet_frozen", "resnet", "scratch")},
    "07_msrc_adjusted": ("cvf20.models", "ResnetBasedModel(23, full_resolution=False)"),
    "07_msrc_resnet_frozen": ("cvf20.models", 'LightDecoderModel(23, "resnet18")'),
    **{f"07_msrc_{name}": ("cvf20.models", "LightDecoderModel(23)") for name in ("mobilenet_frozen", "mobilenet")},
}


@dataclass(frozen=True)
class Best:
    """The run with the highest metric; file: its weights in runs/, None where they are not there."""

    sheet: str
    run: str
    seed: int
    metric: str
    value: float
    file: Path | None

    @property
    def name(self) -> str:
        return f"weights/{self.sheet}_{self.run}-seed{self.seed}.pt"

    def lines(self) -> list[str]:
        """Code that loads the weights into their network. Raises KeyError for a run that NETWORKS does not know."""
        module, expression = NETWORKS[self.run]
        return [
            "import torch",
            f"from {module} import {expression.split('(')[0]}",
            f"model = {expression}",
            f'model.load_state_dict(torch.load("{self.name}", weights_only=True))  # half precision, computes in float32',
            "model.eval()",
        ]


def best_of(sheet: str, results: Path, runs: Path | None = None) -> Best | None:
    """The sheet's best run on real data and full budget, or None where there is none yet. runs=None: without its file"""
    for data, metric, prefixes in CONTESTS[sheet]:
        entries = [result for file in sorted(results.glob("*.json")) if (result := read_result(file))]
        entries = [
            (result["metrics"].get("val", {}).get(metric), result)
            for result in entries
            if result["data"] == data
            and result["name"].startswith(prefixes)
            and not result["quick"]
            and not result["name"].endswith("_overfit")  # validated on its own training images
        ]
        entries = [
            (value, r) for value, r in entries if value is not None and (not r["synthetic"] or data == "keypoints")
        ]
        if entries:
            value, result = max(entries, key=lambda entry: entry[0])
            return Best(sheet, result["name"], result["seed"], metric, value, _weights_file(result, runs))
    return None


def _weights_file(result: dict, runs: Path | None) -> Path | None:
    """Where the very run stands that wrote this result: name, seed, scores and seconds agree."""
    for path in sorted(runs.glob(f"{result['name']}-seed{result['seed']}-*")) if runs else ():
        file = path / "best.pt" if path.is_dir() else path
        if file.exists() and (written := _result_of(path)):
            if all(written.get(key) == result.get(key) for key in ("name", "seed", "seconds")):
                if written["metrics"]["val"] == result["metrics"]["val"]:
                    return file
    return None


def _result_of(path: Path) -> dict | None:
    if path.is_dir():
        file = path / "result.json"
        return json.loads(file.read_bytes()) if file.exists() else None
    import torch

    return json.loads(torch.load(path, weights_only=True)["result"])


def half(file: Path) -> bytes:
    """The state dict in `file` as bytes of a file, floating point in half precision.

    Raises ValueError where a weight is too large for it.
    """
    import torch

    state = torch.load(file, weights_only=True, map_location="cpu")
    state = state.get("weights", state)
    small = {}
    for name, value in state.items():
        small[name] = value.contiguous().half() if value.is_floating_point() else value
        if value.is_floating_point() and not torch.isfinite(small[name]).all():
            raise ValueError(f"{file.parent.name}: {name} reaches {value.abs().max():.3g}, wanted at most 65504")
    buffer = io.BytesIO()
    torch.save(small, buffer)
    return buffer.getvalue()


def collect(sheets: list[str], results: Path, runs: Path) -> Iterator[tuple[Best | None, str]]:
    """For each sheet its best run, or None, and a line that says what is there and what is not."""
    for sheet in sheets:
        best = best_of(sheet, results, runs)
        if best is None:
            yield None, f"sheet {sheet}: no finished run yet, so no weights"
            continue
        line = f"sheet {sheet}: {best.run}, seed {best.seed}, validation {best.metric} {best.value:.3f}"
        if best.file is None:
            line += "; its weights are not in runs/ and so not in the zip"
        elif best.run not in NETWORKS:
            line += "; the line that loads it is missing: add the run to cvf20/submission/weights.py"
        yield best, line


def read_me(found: list[tuple[Best | None, str]]) -> str:
    """weights/README.md: which network is the best of each sheet, and how it is loaded."""
    pieces = ["# The best network of each sheet", "Half precision; run the lines in this folder's parent."]
    for best, line in found:
        pieces.append(f"* {line}")
        if best and best.file and best.run in NETWORKS:
            pieces.append("```python\n" + "\n".join(best.lines()) + "\n```")
    return "\n\n".join(pieces) + "\n"
