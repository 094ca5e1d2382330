"""What a machine offers: device, precision, processes, loader workers, random numbers. HF Accelerate's business, mostly."""

import contextlib
import os
import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler


def has_bf16() -> bool:
    """Whether bfloat16 arithmetic is faster than float32 on this machine's GPU or processor."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available():
        return False
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # torch 2.11 brought it
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def make_accelerator(precision: str = "auto") -> Accelerator:
    """precision: "bf16", "fp16" (on a GPU, with scaled gradients), "fp32", or "auto" for the fastest of them here."""
    on_gpu = torch.cuda.is_available()
    allowed = ("auto", "bf16", "fp32", "fp16") if on_gpu else ("auto", "bf16", "fp32")
    if precision not in allowed:
        raise ValueError(f"precision={precision!r}: allowed are {', '.join(map(repr, allowed))}")
    if precision == "auto":
        precision = "bf16" if has_bf16() else "fp16" if on_gpu else "fp32"
    mixed_precision = "no" if precision == "fp32" else precision
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != mixed_precision:
        AcceleratorState._reset_state()  # one precision at a time, but a process may train several models
    processes()
    return Accelerator(mixed_precision=mixed_precision)


def processes() -> PartialState:
    """Who this process is among those that a launcher has started; also on a machine without a GPU."""
    return PartialState(cpu=not torch.accelerator.is_available())


def once(write: Callable[[], object]) -> None:
    """When all processes have come here the main one writes; the others wait until that is done."""
    processes().wait_for_everyone()
    if processes().is_main_process:
        write()
    processes().wait_for_everyone()


def to_device(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """channels_last, which convolutions of pictures like; volumes have no such format for a whole network."""
    flat = all(parameter.dim() < 5 for parameter in model.parameters())
    return model.to(accelerator.device, memory_format=torch.channels_last if flat else None)


def training_loader(data: Dataset, batch_size: int, seed: int, accelerator: Accelerator) -> DataLoader:
    """Shuffled batches; the order depends on seed and epoch alone. Of several processes each gets its share of a batch."""
    share, rest = divmod(batch_size, accelerator.num_processes)
    if rest:
        raise ValueError(f"batch_size={batch_size}: a multiple of the {accelerator.num_processes} processes is wanted")
    sampler = DistributedSampler(
        data, accelerator.num_processes, accelerator.process_index, seed=seed, drop_last=len(data) > batch_size
    )
    return DataLoader(data, share, sampler=sampler, drop_last=len(sampler) > share, **on_gpu(accelerator))


def on_gpu(accelerator: Accelerator) -> dict:
    """Loader workers and pinned memory where there is a GPU to wait for; on a processor they would take its time."""
    if accelerator.device.type != "cuda":
        return {}
    can_fork = os.name == "posix"  # elsewhere workers cannot see what a notebook defines
    return {"pin_memory": True, "num_workers": min(8, os.cpu_count() or 1) if can_fork else 0}


def seed_everything(seed: int) -> None:
    set_seed(seed % 2**32)


@contextlib.contextmanager
def same_random_state() -> Iterator[None]:
    """The global random numbers go on afterwards as if nothing had been drawn inside."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(python), np.random.set_state(numpy)
