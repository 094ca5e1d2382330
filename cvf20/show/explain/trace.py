"""One forward pass on the meta device: nothing is computed, every module's shapes and costs are noted."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

from cvf20.show.explain.operators import Field, FieldTracker


@dataclass
class Call:
    """One module's forward pass; shapes are (C, *S), without the batch."""

    name: str  # as in model.get_submodule
    module: nn.Module
    depth: int  # 1 for what the network's own forward calls
    inputs: list[tuple[int, ...]]
    parameters: int = 0  # of modules inside that did not run before
    multiply_adds: int = 0
    output: tuple[int, ...] = ()
    field: Field | None = None  # None where the output does not depend on the input
    leaves: int = 0  # modules without children that ran inside, itself included


@dataclass
class Trace:
    calls: list[Call] = field(default_factory=list)  # in the order in which they were entered; the first is the network
    joins: list[tuple[int, int]] = field(default_factory=list)  # (older call, call that joins its map or comes next)

    @property
    def output(self) -> Field:
        return self.calls[0].field


def trace(model: nn.Module, input_shape: Sequence[int]) -> Trace:
    """Runs a copy of `model` in eval mode on one input of shape (C, *S)."""
    twin = copy.deepcopy(model).to("meta").eval()
    for module in twin.modules():
        if isinstance(module, _ConvNd):
            module.padding_mode = "zeros"  # another filling, the same geometry
    x = torch.empty(1, *input_shape, device="meta")
    tracker, record, active, counted = FieldTracker(x), Trace(), [], set()

    def enter(name: str, module: nn.Module, args: tuple) -> None:
        tensors = [t for t in tree_leaves(args) if isinstance(t, Tensor) and t.is_floating_point()]
        call = Call(name, module, len(active), [tuple(t.shape[1:]) for t in tensors])
        call.multiply_adds = -tracker.multiply_adds
        active.append(len(record.calls))
        record.calls.append(call)
        own = [p for p in module.parameters(recurse=False) if id(p) not in counted]
        counted.update(map(id, own))
        for outer in active:
            record.calls[outer].parameters += sum(p.numel() for p in own)
            record.calls[outer].leaves += not any(module.children())

    def leave(module: nn.Module, args: tuple, out) -> None:
        call = record.calls[active[-1]]
        main = next(t for t in tree_leaves(out) if isinstance(t, Tensor))
        call.output, call.field = tuple(main.shape[1:]), tracker.field(main)
        call.multiply_adds += tracker.multiply_adds
        if call.depth == 1 and call.field is not None and not any(main is a for a in args):
            tracker.mark(main, source=active[-1])
        active.pop()

    def joined(sources: set[int]) -> None:
        block = active[1] if len(active) > 1 else len(record.calls)
        record.joins.extend((source, block) for source in sorted(sources)[:-1])

    tracker.joined = joined
    for name, module in twin.named_modules():
        module.register_forward_pre_hook(lambda module, args, name=name: enter(name, module, args))
        module.register_forward_hook(leave)
    with torch.no_grad(), tracker:
        twin(x)
    return record


def multiply_adds_of(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and matrix products for one image of shape (C, *S)."""
    return trace(model, input_shape).calls[0].multiply_adds


def memory_of(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Bytes per image of shape (C, *S) that a float32 training step keeps until its backward pass, weights left out."""
    batch = 2  # batch norm refuses single values
    twin = copy.deepcopy(model).to("meta").train()
    weights = {tensor.untyped_storage()._cdata for tensor in (*twin.parameters(), *twin.buffers())}
    kept: dict[int, Tensor] = {}  # several operators may keep one map: it is counted once

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = twin(torch.empty(batch, *input_shape, device="meta"))
    total = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights)
    del out
    return total // batch
