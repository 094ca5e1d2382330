"""One forward pass that notes every module's shapes, costs and windows: the rows of `explainit`'s tables."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cvf20.show.explain.windows import Follower, Sight
from cvf20.show.tables import markdown_table


@dataclass(eq=False)
class Row:
    """One module's forward pass, the first one if there are more; shapes are (C, *S)."""

    name: str  # as in model.get_submodule
    kind: str
    output: tuple[int, ...]
    inputs: list[tuple[int, ...]] = ()
    parameters: int = 0
    is_layer: bool = False  # without children
    sights: Sequence[Sight] = ()  # per axis; empty where they depend on values
    multiply_adds: int = 0  # of all its passes

    @property
    def receptive_field(self) -> tuple[int, ...]:
        return tuple(sight.size for sight in self.sights)

    @property
    def resizes(self) -> bool:
        """A single layer that changes the map's size: a pool, an up-scaling."""
        sizes = zip(self.inputs[0][1:], self.output[1:], strict=False) if self.inputs else ()
        return self.is_layer and any(max(a, b) >= 1.5 * min(a, b) for a, b in sizes)


class Table(list[Row]):
    def markdown(self) -> str:
        rows = []
        for row in self:
            shapes = {"input": " + ".join(map(times, row.inputs)), "output": times(row.output)}
            costs = {"parameters": row.parameters, "multiply-adds": row.multiply_adds}
            sees = {"receptive field": times(row.receptive_field)}
            rows.append({"name": f"`{row.name}`", "what it is": row.kind} | shapes | costs | sees)
        return markdown_table(rows)


def times(sizes: Iterable) -> str:
    return "×".join(map(str, sizes))


def trace(twin: nn.Module, x: Tensor) -> list[Row]:
    """All modules in the order in which they are done, the network itself last."""
    rows, counter, follower = {}, FlopCounterMode(display=False), Follower(x)

    def note(name: str, module: nn.Module, args: tuple, out) -> None:
        inputs = [tuple(t.shape[1:]) for t in tree_leaves(args) if isinstance(t, Tensor) and t.is_floating_point()]
        parameters, is_layer = sum(p.numel() for p in module.parameters()), not any(module.children())
        for main in [t for t in tree_leaves(out) if isinstance(t, Tensor)][:1]:
            sights, shape = follower.sights(main) if x.is_meta else (), tuple(main.shape[1:])
            rows.setdefault(name, Row(name, describe(module), shape, inputs, parameters, is_layer, sights))

    for name, module in twin.named_modules():
        if not isinstance(module, nn.Identity):
            module.register_forward_hook(partial(note, name))
    with torch.no_grad(), counter, follower:
        twin(x)
    for path, operations in counter.get_flop_counts().items():  # UNet, UNet.base_module, …
        if row := rows.get(path.partition(".")[2]):
            row.multiply_adds = sum(operations.values()) // 2
    return list(rows.values())


def kept_bytes(twin: nn.Module, x: Tensor) -> int:
    """What a forward pass keeps for the backward pass, but for the network's own tensors."""
    kept: dict[int, Tensor] = {}  # several operators may keep one map: it is counted once
    pack = lambda tensor: kept.setdefault(tensor.untyped_storage()._cdata, tensor)  # noqa: E731
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        twin(x)
    own = {tensor.untyped_storage()._cdata for tensor in (*twin.parameters(), *twin.buffers())}
    return sum(tensor.untyped_storage().nbytes() for storage, tensor in kept.items() if storage not in own)


def on_a_copy(model: nn.Module, input_shape: Sequence[int], run: Callable):
    """run(copy, one input) on the meta device, which computes nothing; where shapes depend on values, really."""
    with torch.random.fork_rng(devices=[]):
        try:
            return run(copy.deepcopy(model).to("meta").eval(), torch.zeros(1, *input_shape, device="meta"))
        except (RuntimeError, NotImplementedError):
            return run(copy.deepcopy(model).to("cpu").eval(), torch.zeros(1, *input_shape))


def describe(module: nn.Module) -> str:
    """Class and size, Conv2d 3×3, Upsample 2×2; what a block is made of."""
    if isinstance(module, nn.Sequential) and len(module):
        return ", ".join(dict.fromkeys(type(m).__name__ for m in module.modules() if not any(m.children())))
    size = np.atleast_1d(getattr(module, "kernel_size", None) or getattr(module, "scale_factor", None) or ())
    return f"{type(module).__name__} {times(f'{value:g}' for value in size)}".rstrip()
