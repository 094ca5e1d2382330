"""Ratios that can be trusted on a busy machine: ours, theirs, ours, theirs …, and the median over the pairs."""

import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from cvf20.training.devices import has_bf16

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "accelerate")
PEERS = ("segmentation-models-pytorch", "monai", "torchmetrics", "scikit-learn")  # the extra "bench"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """One line of the table: `ratio` is to lie on the right side of `bound`; None: there is nothing to reach.

    ours, theirs: medians, in `unit`; spread: the quartiles of the ratio over the rounds
    more:         what else was measured, for the JSON alone
    """

    what: str
    against: str
    ratio: float
    bound: str | None = None  # ">= 3.2" or "<= 1.3"
    ours: float | None = None
    theirs: float | None = None
    unit: str = "s"
    spread: tuple[float, float] | None = None
    rounds: int = 1
    more: dict = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        if self.bound is None:
            return None
        side, limit = self.bound.split()
        return self.ratio >= float(limit) if side == ">=" else self.ratio <= float(limit)

    def plain(self) -> dict:
        return {**asdict(self), "reached": self.reached}


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def interleave(calls: dict[str, Callable[[], object]], budget: float = 10.0, least: int = 5) -> dict[str, list[float]]:
    """Seconds of every call in every round; rounds go on for `budget` seconds, and there are at least `least`."""
    for call in calls.values():
        call()  # the first call allocates
    times, started = {name: [] for name in calls}, time.perf_counter()
    while len(next(iter(times.values()))) < least or time.perf_counter() - started < budget:
        for name, call in calls.items():
            times[name].append(seconds(call))
    return times


def quotient(what: str, against: str, above: list[float], below: list[float], bound: str | None = None, **more) -> Row:
    """Row of above / below, pair by pair; the seconds of ours and theirs are given, where these are not the two."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)[::2] if len(ratios) > 1 else ratios * 2
    return Row(what, against, statistics.median(ratios), bound, spread=tuple(quartiles), rounds=len(ratios), **more)


def compare(what: str, against: str, ours, theirs, bound: str | None = None, more: dict | None = None, **how) -> Row:
    """How many times as long theirs takes."""
    times = interleave({"ours": ours, "theirs": theirs}, **how)
    medians = {side: statistics.median(found) for side, found in times.items()}
    return quotient(what, against, times["theirs"], times["ours"], bound, **medians, more=more or {})


def on_cores(bf16: str, fp32: str) -> str:
    """The bound that the issue sets for this machine's cores."""
    return bf16 if has_bf16() else fp32


def memory(name: str) -> float | None:
    """MB of this process: VmRSS now, VmHWM at most so far; None where the system does not tell (no Linux)."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    (line,) = [line for line in status.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024 / 1e6


def peak(call: Callable[[], object]) -> float | None:
    """MB by which this process grows at most during the call; a fresh process gives the honest number."""
    if memory("VmRSS") is None:
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed goes back, so that it is not used unseen
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
    before = memory("VmRSS")
    call()
    return memory("VmHWM") - before


def child(*arguments: str) -> str:
    """The last line that `python -m …` prints, in a process of its own."""
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def machine() -> dict:
    """What the numbers depend on."""
    versions = {}
    for name in (*LIBRARIES, *PEERS):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": "bf16" if has_bf16() else "fp32",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """Its name, and what it multiplies matrices of bfloat16 with."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return " ".join([name, *(flag for flag in ("avx2", "avx512_bf16", "amx_bf16") if flag in flags)])
