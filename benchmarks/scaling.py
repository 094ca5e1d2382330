"""How time and memory grow with images, pixels, classes, objects and processes: results/scaling.json.

    python -m benchmarks.scaling              # all, or some: python -m benchmarks.scaling pixels processes

Each operation runs in a process of its own, at ascending sizes: at each the memory that the first call adds to what its
arguments take, and the least time of several calls. Fitted is time = c · nᵖ over the three largest sizes, where what
every call costs no longer hides the growth.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from benchmarks import report
from benchmarks.common import ROOT, child, peak, seconds
from benchmarks.metrics import cells, scenes
from benchmarks.steps import batch, our_step, printed_unet
from benchmarks.topology_loss import example, loss_step
from cvf20.instances import classical_watershed
from cvf20.losses import TopologyLoss, cross_entropy_criterion
from cvf20.metrics import (
    average_precision,
    boundary_iou,
    compute_confusion_matrix,
    match_instances,
    topology_errors,
)
from cvf20.models import BaseConv, UNet
from cvf20.training.devices import make_accelerator, to_device
from cvf20.training.loop import validate
from cvf20.transforms.joint import RandomWarp

Call = Callable[[], object]
LIMITS = {"images": 1.1, "pixels": 1.1, "classes": 1.1, "objects": 1.5}  # of the exponent: linear, and what clocks add


def network_on(images: int, side: int) -> Call:
    model, accelerator = to_device(UNet(4, 3, 9, 8, norm_type="batch"), make_accelerator()), make_accelerator()
    return partial(validate, model, batch(images, (side, side)), cross_entropy_criterion, accelerator=accelerator)


def evaluation(images: int) -> Call:
    model, loader = BaseConv(3, 9), batch(images, (32, 40))
    loader = torch.utils.data.DataLoader(loader.dataset, 100)
    return partial(validate, model, loader, cross_entropy_criterion, accelerator=make_accelerator())


def confusion(images: int, size: tuple[int, int], classes: int) -> Call:
    labels = torch.randint(classes, (images, *size))
    return partial(compute_confusion_matrix, labels.roll(1), labels, classes)


def ranking(images: int, size: tuple[int, int], classes: int) -> Call:
    return partial(average_precision, *scenes(images, size, classes))


def border_bands(images: int, size: tuple[int, int], classes: int) -> Call:
    labels = (torch.arange(size[1]) // 16 % classes).expand(images, *size)
    return partial(boundary_iou, labels.roll(1, -1).contiguous(), labels.contiguous(), classes)


def many_classes(number: int) -> Call:
    logits, labels = scenes(4, (128, 128), number)
    return lambda: cross_entropy_criterion(logits.clone().requires_grad_(), labels).backward()


def warp(side: int) -> Call:
    image, transform = torch.zeros(3, side, side, dtype=torch.uint8), RandomWarp(10.0, 8.0)
    return lambda: transform(image)


def addition(pixels: int) -> Call:
    """What grows with the size alone: a processor's caches, and the memory behind them."""
    image = torch.zeros(3, pixels)
    return lambda: image + image


OPERATIONS: dict[str, tuple[tuple[int, ...], dict[str, Callable[[int], Call]]]] = {
    "images": (
        (100, 300, 1000, 3000, 10000),
        {
            "evaluation of a network, 32×40": evaluation,
            "confusion matrix, 32×40": lambda n: confusion(n, (32, 40), 9),
            "average precision, 32×40": lambda n: ranking(n, (32, 40), 9),
        },
    ),
    "pixels": (
        tuple(side**2 for side in (128, 256, 512, 1024, 2048)),
        {
            "training step of the printed U-Net, one image": lambda n: our_step(printed_unet(), batch(1, square(n))),
            "evaluation of a U-Net, one image": lambda n: network_on(1, square(n)[0]),
            "topology loss, forward and backward": lambda n: loss_step(TopologyLoss(), *example(shape=(1, *square(n)))),
            "merge term": lambda n: loss_step(TopologyLoss(merge_weight=1.0), *example(shape=(1, *square(n)))),
            "confusion matrix": lambda n: confusion(1, square(n), 9),
            "average precision": lambda n: ranking(1, square(n), 9),
            "boundary IoU": lambda n: border_bands(1, square(n), 9),
            "`match_instances`, cells of 34²": lambda n: partial(match_instances, *cells(n // 34**2, square(n)[0])),
            "watershed, cells of 34²": lambda n: partial(classical_watershed, cells(n // 34**2, square(n)[0])[0] > 0),
            "rotation and elastic deformation": lambda n: warp(square(n)[0]),
            "for comparison: torch adds two float32 images": addition,
        },
    ),
    "classes": (
        (2, 5, 10, 20, 50, 150),
        {
            "cross-entropy, forward and backward, 4×128²": many_classes,
            "confusion matrix, 16×128²": lambda n: confusion(16, (128, 128), n),
            "average precision, 4×128²": lambda n: ranking(4, (128, 128), n),
            "boundary IoU, 4×128²": lambda n: border_bands(4, (128, 128), n),
        },
    ),
    "objects": (
        (10, 30, 100, 300, 1000, 2000),
        {
            "`match_instances`, 1024²": lambda n: partial(match_instances, *cells(n, 1024)),
            "`topology_errors`, 1024²": lambda n: partial(topology_errors, *cells(n, 1024), instances=True),
            "topology loss, 1024²": lambda n: loss_step(TopologyLoss(), *spots(n, 1024)),
            "merge term, 1024²": lambda n: loss_step(TopologyLoss(merge_weight=1.0), *spots(n, 1024)),
        },
    ),
}


def square(pixels: int) -> tuple[int, int]:
    return (round(pixels**0.5),) * 2


def spots(number: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (1, 1, side, side) and target of so many cells, parted by lines that the logits miss in places."""
    cell = cells(number, side)[1]
    target = (cell > 0) & (cell == cell.roll(2, -1)) & (cell == cell.roll(2, -2))
    flips = torch.rand(target.shape, generator=torch.Generator().manual_seed(0)) < 0.02
    return torch.where(target ^ flips, 2.0, -2.0).unsqueeze(1), target.long()


def growth(axis: str, name: str, sizes: tuple[int, ...] | None = None) -> list[dict]:
    """Seconds and MB at every size, in this process."""
    make, points = OPERATIONS[axis][1][name], []
    make(min(OPERATIONS[axis][0]))()  # imports and allocates what it needs
    for n in sizes or OPERATIONS[axis][0]:
        call = make(n)
        grown, times = [], []
        times.append(seconds(lambda call=call, grown=grown: grown.append(peak(call))))
        while sum(times) < 0.5:
            times.append(seconds(call))
        points.append({"n": n, "seconds": min(times), "MB": grown[0]})
    return points


def exponent(points: list[dict], of: str, last: int = 3) -> float | None:
    """p of c · nᵖ, fitted to the logarithms of the largest sizes; None where something is 0 or unknown."""
    values = [(point["n"], point[of]) for point in points[-last:]]
    if any(not value or value <= 0 for _, value in values):
        return None
    return float(np.polyfit(*np.log(values).T, 1)[0])


def processes(rounds: int = 3, duration: float = 8.0) -> dict:
    """Images per second of the printed U-Net: one process with all threads, beside one thread in each of two."""
    speed = {"1": [], "2": []}
    for _ in range(rounds):
        for number in (1, 2):
            threads = max(1, (os.cpu_count() or 1) // number)
            command = [sys.executable, "-m", "benchmarks.scaling", "worker", str(duration), str(threads)]
            started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(number)]
            speed[str(number)].append(sum(float(each.communicate()[0].splitlines()[-1]) for each in started))
    ratios = [two / one for one, two in zip(speed["1"], speed["2"], strict=True)]
    return {"images_per_second": speed, "two_by_one": statistics.median(ratios)}


def worker(duration: float, threads: int) -> float:
    torch.set_num_threads(threads)
    step, steps, started = our_step(printed_unet(), batch(8, (112, 144))), 0, time.perf_counter()
    while time.perf_counter() - started < duration:
        step()
        steps += 1
    return 8 * steps / (time.perf_counter() - started)


def main(axes: Sequence[str]) -> None:
    """Measure these axes, or all."""
    started = time.perf_counter()
    for axis in [axis for axis in OPERATIONS if axis in axes or not axes]:
        rows = []
        for name in OPERATIONS[axis][1]:
            points = json.loads(child("benchmarks.scaling", "operation", axis, name))
            fitted = {of: exponent(points, of) for of in ("seconds", "MB")}
            rows.append({"what": name, "points": points, "exponents": fitted, "limit": LIMITS[axis]})
            print(f"{axis} | {name} | {fitted} | {points[-1]}", flush=True)
        report.write("scaling", {axis: report.about_now() | {"rows": rows}}, time.perf_counter() - started)
    if not axes or "processes" in axes:
        found = report.about_now() | {"rows": [processes()]}
        report.write("scaling", {"processes": found}, time.perf_counter() - started)
    report.write_readme()


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        print(worker(float(sys.argv[2]), int(sys.argv[3])))
    elif sys.argv[1:2] == ["operation"]:
        print(json.dumps(growth(*sys.argv[2:])))
    else:
        main(sys.argv[1:])
