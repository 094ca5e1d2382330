"""What TopologyLoss costs beside the step of a U-Net that it is part of.

    OMP_NUM_THREADS=2 python benchmarks/topology_loss.py

Logits of 4 × 1 × 256 × 256 with about 500 components of wrong pixels per image. Each round times one step of the
U-Net (16 … 256 channels, Adam, in the precision that training takes) and then forward and backward of every loss,
so that whatever else the machine does meets all of them alike; a loss's share is the median over the rounds of its
time by the step's. CPU time, summed over threads, is what wall time would be on an idle machine with one thread.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage

from cvf20.losses import (
    BorderWeightedLoss,
    SoftClDiceLoss,
    TopologyLoss,
    WrongPixelLoss,
    binary_cross_entropy,
    border_weight_map,
)
from cvf20.models import UNet
from cvf20.training.loop import has_bf16

SHAPE = (4, 256, 256)
LOSSES = {
    "binary cross-entropy": binary_cross_entropy,
    "border-weighted, map given": BorderWeightedLoss(),
    "topology": TopologyLoss(),
    "topology, 3 thresholds": TopologyLoss(thresholds=(0.25, 0.5, 0.75)),
    "topology, merge term": TopologyLoss(merge_weight=1.0),
    "control": WrongPixelLoss(),
    "soft-clDice": SoftClDiceLoss(),
}


def smooth_noise(rng: np.random.Generator, sigma: float, shape: tuple[int, int, int]) -> torch.Tensor:
    """Mean 0 and deviation 1, smooth over `sigma` pixels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), (0, sigma, sigma))
    return torch.from_numpy(noise / noise.std())


def example(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, 1, H, W) and the target (N, H, W) from which they differ in about 500 components per 256²."""
    rng = np.random.default_rng(seed)
    target = smooth_noise(rng, 6.0, shape) > 0.3
    prediction = target ^ (smooth_noise(rng, 1.2, shape) > 1.75)
    logits = torch.where(prediction, 2.0, -2.0) + 0.3 * smooth_noise(rng, 1.0, shape)
    return logits.unsqueeze(1), target.long()


def mistakes_per_image(logits: torch.Tensor, target: torch.Tensor) -> float:
    prediction, true = logits.squeeze(1) > 0, target == 1
    mistakes = [image.numpy() for wrong in (prediction & ~true, true & ~prediction) for image in wrong]
    return sum(ndimage.label(image)[1] for image in mistakes) / len(logits)


def unet_step() -> Callable[[], None]:
    model = UNet(4, 1, 1, (16, 32, 64, 128, 256), norm_type="batch").to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters())
    images = torch.randn(SHAPE[0], 1, *SHAPE[1:]).contiguous(memory_format=torch.channels_last)
    target = example()[1]

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            logits = model(images).float()
        binary_cross_entropy(logits, target).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def loss_step(loss: Callable, logits: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    extra = [border_weight_map(target)] if isinstance(loss, BorderWeightedLoss) else []

    def step() -> None:
        leaf = logits.clone().requires_grad_()
        loss(leaf, target, *extra).backward()

    return step


def seconds(step: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU time of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    logits, target = example()
    steps = {"U-Net step": unet_step()} | {name: loss_step(loss, logits, target) for name, loss in LOSSES.items()}
    for step in steps.values():
        step()  # the first call allocates
    times = defaultdict(list)
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step))
    print(f"{mistakes_per_image(logits, target):.0f} wrong components per image, {torch.get_num_threads()} threads")
    print(f"{'':28}{'wall ms: least':>16}{'median':>9}{'CPU ms: least':>16}{'median':>9}{'share of a step':>18}")
    for name, pairs in times.items():
        walls, cpus = ([1000 * pair[i] for pair in pairs] for i in (0, 1))
        ratios = [wall / step[0] for (wall, _), step in zip(pairs, times["U-Net step"], strict=True)]
        print(
            f"{name:28}{min(walls):16.1f}{statistics.median(walls):9.1f}{min(cpus):16.1f}{statistics.median(cpus):9.1f}"
            f"{statistics.median(ratios):18.3f}"
        )


if __name__ == "__main__":
    main()
