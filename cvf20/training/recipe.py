"""How a network is trained, in numbers."""

import copy
import math
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@dataclass
class Recipe:
    """The settings of a training run; numbers may be numpy's or torch's.

    lr:         the highest learning rate of the schedule
    optimizer:  "adamw", "adam" or "sgd" (momentum 0.9)
    lr_scales:  factors on the rate for parameters whose name starts with the key, e.g. {"encoder": 0.1}
    schedule:   "onecycle" (warm-up for 15 % of the steps, then cosine to 0), "cosine" or "constant"
    grad_clip:  largest norm of the gradient, None for no limit
    average:    decay per step of an exponential moving average of the weights, which is validated and kept, or None
    monitor:    the metric that chooses the best epoch: the highest value, of a loss the lowest; None: mIoU, or IoU
    """

    lr: float = 1e-3
    batch_size: int = 16
    epochs: int = 50
    optimizer: str = "adamw"
    lr_scales: dict[str, float] | None = None
    weight_decay: float = 0.01
    schedule: str = "onecycle"
    grad_clip: float | None = 1.0
    average: float | None = None
    monitor: str | None = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            setattr(self, field.name, value.item() if hasattr(value, "item") else value)
        for name, allowed in (("optimizer", OPTIMIZERS), ("schedule", ("onecycle", "cosine", "constant"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: allowed are {', '.join(map(repr, allowed))}")
        if self.epochs < 1 or not 0 < self.lr < math.inf:
            raise ValueError(f"epochs={self.epochs} ≥ 1 and lr={self.lr} > 0 are wanted")

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Of what is to be trained; the parameters at the full rate come first."""
        groups, unused = {1.0: []}, set(self.lr_scales or {})
        for name, parameter in network.named_parameters():
            prefixes = [prefix for prefix in self.lr_scales or {} if name.startswith(prefix)]
            unused -= set(prefixes)
            if parameter.requires_grad:
                groups.setdefault(self.lr_scales[prefixes[0]] if prefixes else 1.0, []).append(parameter)
        if unused:
            raise ValueError(f"lr_scales: no parameter of {type(network).__name__} starts with {min(unused)!r}")
        groups = [{"params": group, "lr": self.lr * scale} for scale, group in groups.items() if group]
        extra = {"momentum": 0.9} if self.optimizer == "sgd" else {}
        return OPTIMIZERS[self.optimizer](groups, self.lr, weight_decay=self.weight_decay, **extra)

    def make_schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        if self.schedule == "onecycle" and steps > 1:  # a single step would run at the lowest rate
            rates = [group["lr"] for group in optimizer.param_groups]
            return OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.15, cycle_momentum=False)
        return CosineAnnealingLR(optimizer, steps) if self.schedule == "cosine" else ConstantLR(optimizer, 1.0)

    def choose(self, row: dict, best: float | None) -> float | None:
        """The number that chooses the best epoch, if it beats the best so far; nan never does, and anything beats nan."""
        name = self.monitor or next((name for name in ("mIoU", "IoU") if name in row), None)
        if name not in row:
            raise ValueError(f"monitor={self.monitor!r}: expected one of {', '.join(row)}")
        value = row[name]
        if best is None or math.isnan(best):
            return value
        return value if (value < best if name.endswith("loss") else value > best) else None


def untouched(loss):
    """The loss as it is when training begins: one that was used before counts as the same."""
    if hasattr(loss, "set_progress"):
        loss = copy.deepcopy(loss)
        loss.set_progress(0.0)
    return loss
