"""How a network is trained, in numbers."""

import math
from dataclasses import dataclass, fields

import torch
from torch import nn

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
SCHEDULES = ("onecycle", "cosine", "constant")


@dataclass
class Recipe:
    """The settings of a training run.

    lr:         the highest learning rate of the schedule
    optimizer:  "adamw", "adam" or "sgd" (momentum 0.9)
    lr_scales:  factors on the rate for parameters whose name starts with the key, e.g. {"encoder": 0.1}
    schedule:   "onecycle" (warm-up for 15 % of the steps, then cosine to 0), "cosine" or "constant"
    grad_clip:  largest norm of the gradient, None for no limit
    average:    decay per step of an exponential moving average of the weights, which is then what is validated and
                kept; None for none
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

    @classmethod
    def of(cls, **settings) -> "Recipe":
        """From settings of any library's numbers; an unknown one is a TypeError that names those that there are."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(settings.keys() - set(known)):
            raise TypeError(f"there is no setting {', '.join(unknown)}; there are {', '.join(known)}")
        settings["lr_scales"] = {k: float(v) for k, v in (settings.get("lr_scales") or {}).items()} or None
        return cls(**{name: value.item() if hasattr(value, "item") else value for name, value in settings.items()})

    def __post_init__(self):
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer={self.optimizer!r}: allowed are {', '.join(map(repr, OPTIMIZERS))}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule={self.schedule!r}: allowed are {', '.join(map(repr, SCHEDULES))}")
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.lr < math.inf:
            raise ValueError(
                f"epochs={self.epochs} ≥ 1, batch_size={self.batch_size} ≥ 1 and lr={self.lr} > 0 are wanted"
            )
        if self.average is not None and not 0 <= self.average < 1:
            raise ValueError(f"average={self.average}: the decay of a moving average, below 1, or None is wanted")

    def check(self, network: nn.Module) -> None:
        for prefix in self.lr_scales or {}:
            if not any(name.startswith(prefix) for name, _ in network.named_parameters()):
                raise ValueError(f"lr_scales: no parameter of {type(network).__name__} starts with {prefix!r}")

    def make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Of what is to be trained; the parameters at the full rate come first."""
        self.check(network)
        groups = {1.0: []}
        for name, parameter in network.named_parameters():
            scales = [scale for prefix, scale in (self.lr_scales or {}).items() if name.startswith(prefix)]
            if parameter.requires_grad:
                groups.setdefault(scales[0] if scales else 1.0, []).append(parameter)
        groups = [{"params": group, "lr": self.lr * scale} for scale, group in groups.items() if group]
        extra = {"momentum": 0.9} if self.optimizer == "sgd" else {}
        return OPTIMIZERS[self.optimizer](groups, self.lr, weight_decay=self.weight_decay, **extra)

    def rate(self, step: int, steps: int) -> float:
        """Factor on the learning rate in a step, counted from 0."""
        warm_up = int(0.15 * steps) if self.schedule == "onecycle" else 0
        if self.schedule == "constant" or step >= steps:
            return float(self.schedule == "constant")
        if step < warm_up:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * step / warm_up)) / 2
        return (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2

    def better(self, name: str, value: float, best: float | None) -> bool:
        """Whether an epoch's value of the metric beats the best so far; nan never does, and anything beats nan."""
        if best is None or math.isnan(best):
            return True
        return value < best if name.endswith("loss") else value > best
