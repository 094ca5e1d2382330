"""A training step beside a plain loop, and beside the machine's own matrix product."""

import csv
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import ROOT, Row, compare, interleave, on_cores, quotient
from cvf20.losses import cross_entropy_criterion
from cvf20.models import ResnetBasedModel, UNet
from cvf20.training.devices import has_bf16, make_accelerator, to_device
from cvf20.training.loop import train
from cvf20.training.recipe import Recipe

SIZE, CLASSES, BATCH = (224, 288), 9, 16
PRODUCT = 4096  # rows and columns of the matrices


def printed_unet() -> nn.Module:
    return UNet(4, 3, CLASSES, (16, 32, 64, 128, 256), norm_type="batch", upsampling="transposed")


def theirs_resnet() -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=CLASSES)


NETWORKS = {"printed U-Net": printed_unet, "ResNet-18 U-Net": partial(ResnetBasedModel, CLASSES, full_resolution=False)}


def batch(images: int = BATCH, size: tuple[int, int] = SIZE) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(images, 3, *size, generator=generator)
    return DataLoader(TensorDataset(pictures, torch.randint(CLASSES, (images, *size), generator=generator)), images)


def our_step(model: nn.Module, loader: DataLoader) -> Callable[[], None]:
    """An epoch of one batch in the package's own loop, as a Learner sets it up; it ends with one tiny picture's forward."""
    accelerator, settings = make_accelerator(), Recipe()
    model = to_device(model, accelerator)
    optimizer = accelerator.prepare(settings.make_optimizer(model))
    options = {"scheduler": settings.make_schedule(optimizer.optimizer, 10**6), "grad_clip": settings.grad_clip}
    options |= {"metrics": lambda outputs, target: {}, "accelerator": accelerator}
    return lambda: train(model, cross_entropy_criterion, loader, batch(1, (32, 32)), optimizer, 1, **options)


def plain_step(model: nn.Module, loader: DataLoader) -> Callable[[], None]:
    """The same batch in the loop of PyTorch's tutorials."""
    optimizer = torch.optim.AdamW(model.train().parameters(), 1e-3)

    def step() -> None:
        for images, target in loader:
            loss = nn.functional.cross_entropy(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


def operations(model: nn.Module, loader: DataLoader) -> int:
    """Additions and multiplications of the convolutions and matrix products of one step, forward and backward."""
    images, target = next(iter(loader))
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(images), target).backward()
    return counter.get_total_flops()


def share_of_product(name: str, step: Callable[[], None], flops: int) -> Row:
    """The time that the machine's matrix product would take for as many operations, as a share of the step's."""
    matrix = torch.randn(PRODUCT, PRODUCT, dtype=torch.bfloat16 if has_bf16() else torch.float32)
    times = interleave({"step": step, "product": lambda: matrix @ matrix})
    limit = [product * flops / (2 * PRODUCT**3) for product in times["product"]]
    sides = {"ours": statistics.median(times["step"]), "theirs": statistics.median(limit)}
    speed = {"GFLOP": flops / 1e9, "product_GFLOP_per_s": 2 * PRODUCT**3 / statistics.median(times["product"]) / 1e9}
    title, against = f"step of the {name} as share of a matrix product", "the machine's own matrix product"
    return quotient(title, against, limit, times["step"], on_cores(">= 0.5", ">= 0.65"), more=speed, **sides)


def write_profile(name: str, step: Callable[[], None]) -> None:
    """results/profile_….csv: where the step spends its time, by operator."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step()
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    rows = [(event.key, event.count, event.self_cpu_time_total) for event in events]
    path = ROOT / "results" / f"profile_{name.replace(' ', '_')}.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["operator", "calls", "milliseconds", "share"])
        kept = [row for row in rows if row[2] >= total / 200]
        writer.writerows([key, count, f"{time / 1e3:.1f}", f"{time / total:.3f}"] for key, count, time in kept)


def rows() -> Iterator[Row]:
    loader, size = batch(), f"{BATCH}×3×{SIZE[0]}×{SIZE[1]}"
    unet, resnet = (our_step(make(), loader) for make in NETWORKS.values())
    title, theirs = f"training step, printed U-Net, {size}", plain_step(printed_unet(), loader)
    yield compare(title, "the same network, float32, NCHW, plain loop", unet, theirs, on_cores(">= 3.2", ">= 1.3"))
    title, theirs = f"training step, ResNet-18 U-Net, {size}", plain_step(theirs_resnet(), loader)
    against = 'segmentation_models.pytorch `Unet("resnet18")`, plain loop'
    yield compare(title, against, resnet, theirs, on_cores(">= 4.5", ">= 1.4"))
    printed = our_step(ResnetBasedModel(CLASSES), loader)
    yield compare(title + ", with the printed stem at full resolution", against, printed, theirs, least=3)
    for (name, make), step in zip(NETWORKS.items(), (unet, resnet), strict=True):
        yield share_of_product(name, step, operations(make(), loader))
        write_profile(name, step)
