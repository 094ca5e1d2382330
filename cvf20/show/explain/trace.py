"""One forward pass that notes every module's shapes and costs: the tables of `explainit`."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cvf20.show.explain.windows import Follower, Window
from cvf20.show.tables import markdown_table


@dataclass
class Row:
    """One module's forward pass (in a table with the normalisation and activation after it); shapes are (C, *S)."""

    name: str  # as in model.get_submodule
    kind: str
    depth: int  # 1 for what the network's own forward calls
    is_layer: bool  # without children
    inputs: list[tuple[int, ...]]
    parameters: int
    output: tuple[int, ...] = ()
    multiply_adds: int = 0
    windows: Sequence[Window] = ()

    @property
    def widest(self) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """The output position that sees most, of these the one in the middle; per axis the first and last it sees."""
        position, seen = (), []
        for first, last in self.windows:
            i = np.lexsort([-abs(np.arange(len(first)) - len(first) // 2), last - first])[-1]
            position, seen = (*position, int(i)), [*seen, (int(first[i]), int(last[i]))]
        return position, seen

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Per axis, input pixels that this position sees."""
        return tuple(last - first + 1 for first, last in self.widest[1])

    @property
    def resizes(self) -> bool:
        """A single layer that changes the map's size: a pool, an up-scaling."""
        sizes = zip(self.inputs[0][1:], self.output[1:], strict=False) if self.inputs else ()
        return self.is_layer and any(max(a, b) >= 1.5 * min(a, b) for a, b in sizes)


class Table(list[Row]):
    """Rows in the order of the forward pass; normalisation, activation and dropout share the row of what is before them."""

    def __init__(self, calls: Iterable[Row]):
        super().__init__()
        for call in calls:
            if call.kind == "Identity" or not call.output:
                continue
            last = self[-1] if self else call
            follows = call.is_layer and call.inputs == [last.output] == [call.output] and not call.multiply_adds
            if self and follows and call.receptive_field == last.receptive_field:
                last.kind += f", {call.kind}"
                last.parameters += call.parameters
            else:
                self.append(replace(call))

    def markdown(self) -> str:
        rows = []
        for row in self:
            shapes = {"input": " + ".join(map(times, row.inputs)), "output": times(row.output)}
            costs = {"parameters": row.parameters, "multiply-adds": row.multiply_adds}
            sees = {"receptive field": times(row.receptive_field)}
            rows.append({"name": f"`{row.name}`", "what it is": row.kind} | shapes | costs | sees)
        return markdown_table(rows)


def times(sizes: Iterable) -> str:
    """(64, 7, 7) as 64×7×7."""
    return "×".join(map(str, sizes))


def trace(twin: nn.Module, x: Tensor) -> list[Row]:
    """All calls of a forward pass, the network's own first."""
    calls, active = [], []
    counter, follower = FlopCounterMode(display=False), Follower(x)

    def enter(name: str, module: nn.Module, args: tuple) -> None:
        inputs = [tuple(t.shape[1:]) for t in tree_leaves(args) if isinstance(t, Tensor) and t.is_floating_point()]
        parameters, is_layer = sum(p.numel() for p in module.parameters()), not any(module.children())
        active.append(Row(name, describe(module), len(active), is_layer, inputs, parameters))
        calls.append(active[-1])
        active[-1].multiply_adds = -counter.get_total_flops() // 2

    def leave(module: nn.Module, args: tuple, out) -> None:
        call = active.pop()
        call.multiply_adds += counter.get_total_flops() // 2
        for main in [t for t in tree_leaves(out) if isinstance(t, Tensor)][:1]:
            call.output, call.windows = tuple(main.shape[1:]), follower.windows(main)

    for name, module in twin.named_modules():
        module.register_forward_pre_hook(lambda module, args, name=name: enter(name, module, args))
        module.register_forward_hook(leave)
    with torch.no_grad(), counter, follower:
        twin(x)
    return calls


def on_a_copy(model: nn.Module, input_shape: Sequence[int], run: Callable):
    """run(copy, one input) on the meta device, which computes nothing; where shapes depend on values, really."""
    with torch.random.fork_rng(devices=[]):
        try:
            return run(copy.deepcopy(model).to("meta").eval(), torch.zeros(1, *input_shape, device="meta"))
        except (RuntimeError, NotImplementedError):
            return run(copy.deepcopy(model).to("cpu").eval(), torch.zeros(1, *input_shape))


def describe(module: nn.Module) -> str:
    """Class and geometry: Conv2d 3×3, MaxPool2d 2×2 stride 2, Upsample ×2."""
    text = type(module).__name__
    if isinstance(module, nn.Sequential) and len(module):
        return ", ".join(dict.fromkeys(type(m).__name__ for m in module.modules() if not any(m.children())))
    for attribute, before in {"kernel_size": " ", "stride": " stride ", "scale_factor": " ×"}.items():
        values = np.atleast_1d(getattr(module, attribute, None) or 0)
        if max(values) > (attribute != "kernel_size"):
            text += before + times(f"{v:g}" for v in values)
    return text
