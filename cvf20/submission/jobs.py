"""How many notebooks at a time: two side by side, each with half the cores, where they train faster than one with all."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from cvf20.models import UNet
from cvf20.training.devices import make_accelerator, to_device

WORTH = 1.1  # a gain from which on
MEMORY = 16e9  # bytes that two notebooks should find


def best_jobs() -> tuple[int, str]:
    """1 or 2, and why in a line; measured in some ten seconds."""
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    if torch.accelerator.is_available() or cores < 2 or memory < MEMORY:
        return 1, f"one notebook at a time: there is a GPU, or one core only, or less than {MEMORY / 1e9:.0f} GB"
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(images_per_second, [1, 1]))  # both have imported what they need
        alone = pool.submit(images_per_second, cores).result()
        both = sum(pool.map(images_per_second, [cores // 2] * 2))
    jobs = 1 + (both > WORTH * alone)
    return jobs, f"--jobs {jobs}: two trainings side by side made {both:.1f} images/s together, one alone {alone:.1f}"


def images_per_second(threads: int, seconds: float = 3.0) -> float:
    """Of training steps of the printed U-Net, of pictures a quarter as large as the scenes."""
    torch.set_num_threads(threads)
    accelerator = make_accelerator()
    model, images = to_device(UNet(4, 3, 9, 16, norm_type="batch"), accelerator), torch.rand(8, 3, 112, 144)
    started, steps = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        with accelerator.autocast():
            model(images).sum().backward()
        steps += 1
    return steps * len(images) / (time.perf_counter() - started)
