"""Any object as JSON that is the same for the same behaviour, on every machine; keys of runs are made of it."""

import copyreg
import hashlib
import json
import marshal
import sys
import uuid
from enum import Enum
from functools import cache, cached_property
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from cvf20.imported import text_of
from cvf20.models.weights import unwrap
from cvf20.training.code import code_behind, dump, globals_read, modules_used, node_of
from cvf20.training.devices import same_random_state, seed_everything

PLAIN = (type(None), bool, int, float, complex, str, bytes, slice, range, Enum, torch.dtype, torch.device, PurePath)
BOOKKEEPING = {*vars(nn.Module()), "built_as"}
APART = ("images", "masks", "names", "pictures")  # of a data set: told by its digest, or where it was found


def run_key(recipe=None, parts=()) -> str:
    """64 hex digits. recipe: any nested value; parts: objects, classes, functions, networks, data sets, Learners, …"""
    description = Description()
    content = [description.of(recipe), [description.of(part) for part in parts]]
    return hashlib.sha256(json.dumps([content, code_behind(description.modules)], sort_keys=True).encode()).hexdigest()


class Description:
    """Describes objects with `of`; `modules`: those that stand behind them, `learners`: how many of these it met."""

    def __init__(self):
        self.modules: set[str] = set()
        self.learners = 0
        self._done: dict[int, tuple] = {}  # id → (object, its description)

    def of(self, value):
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, PLAIN):
            return [type(value).__name__, repr(value)]
        if id(value) not in self._done:
            self._done[id(value)] = (value, "itself")  # what it says of itself in a circle
            self._done[id(value)] = (value, self._object(value))
        return self._done[id(value)][1]

    def _object(self, value):
        """Its class, and what tells it from others of its class; never its address."""
        if isinstance(value, (type, FunctionType)):
            return self._class(value) if isinstance(value, type) else self._function(value)
        if hasattr(value, "key_parts"):  # e.g. a Learner, which has a key
            content = value.key_parts(self)
        elif isinstance(value, ModuleType):
            self.modules.add(content := value.__name__)
        elif isinstance(value, (dict, set, frozenset)):
            items = value.items() if isinstance(value, dict) else value
            content = sorted(map(self.of, items), key=json.dumps)
        elif isinstance(value, (list, tuple)):
            content = [self.of(item) for item in value]
        else:
            content = self.of(next((parts for kind, parts in PARTS if isinstance(value, kind)), _reduced)(value))
        return [self.of(type(value)), content]

    def _function(self, function: FunctionType):
        """A notebook's function by its source and the globals it reads, a module's by its source; and their settings."""
        code, space, values = function.__code__, function.__globals__, {}
        where = space.get("__name__", "__main__")
        cells = [cell for cell in function.__closure__ or () if cell != CellType()]  # not those without a value yet
        closure = [cell.cell_contents for cell in cells]
        if _is_library(where):
            return self.of([function.__module__, function.__qualname__, getattr(function, "__wrapped__", closure)])
        self.modules.add(where)
        node = node_of(function)
        if text_of(where) is None:
            values = {name: space[name] for name in globals_read(code) & space.keys()}
            self.modules |= modules_used(node) if node else set()
        source = dump(node) if node else marshal.dumps(code).hex()
        return [where, source, self.of([closure, values, function.__defaults__, function.__kwdefaults__])]

    def _class(self, kind: type):
        """A library's class by its path, others also by their bases; a notebook's by all that is written in it, too."""
        path, written = f"{kind.__module__}.{kind.__qualname__}", {}
        if _is_library(kind.__module__):
            return path
        self.modules.add(kind.__module__)
        for name, value in dict(vars(kind)).items() if text_of(kind.__module__) is None else ():
            is_generated = getattr(getattr(value, "__code__", None), "co_filename", "").startswith("<string")
            if name == "__dataclass_fields__":
                value = {field.name: field.default_factory for field in value.values()}
            elif is_generated or name == "_abc_impl" or (name.startswith("__") and not callable(value)):
                continue
            written[name] = self.of(value)
        return [path, [self.of(base) for base in kind.__bases__], written]


def _network(network: nn.Module) -> list:
    """Attributes, hooks, weights and what is inside; a library's private attributes follow from the others."""
    hidden = "_" if _is_library(type(network).__module__) else "__"
    own = {name: vars(network)[name] for name in vars(network).keys() - BOOKKEEPING if not name.startswith(hidden)}
    hooks = [list(hooks.values()) for hooks in (network._forward_pre_hooks, network._forward_hooks)]
    weights = dict(network.named_parameters(recurse=False)) | dict(network.named_buffers(recurse=False))
    return [own, hooks, weights, list(network.named_children())]


def _data(data: Dataset) -> list:
    """Content and attributes as they are now; the items where nothing tells the content."""
    own = {name: value for name, value in vars(data).items() if name not in APART and not isinstance(value, PurePath)}
    if hasattr(data, "sha256") or isinstance(data, (Subset, ConcatDataset, TensorDataset)):
        return [getattr(data, "sha256", None), own]
    with same_random_state():
        seed_everything(0)
        return [[data[index] for index in range(len(data))], own]


def array_digest(array: Tensor | np.ndarray) -> str:
    """sha256 over type, shape and bytes, whatever the memory format and the device."""
    digest = hashlib.sha256(f"{array.dtype} {tuple(array.shape)} {getattr(array, 'requires_grad', '')}".encode())
    if isinstance(array, Tensor):
        array = array.detach().as_subclass(Tensor).cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _reduced(value):
    """As pickle and copy take it apart."""
    try:
        return copyreg.dispatch_table.get(type(value), lambda it: it.__reduce_ex__(4))(value)
    except Exception:
        return uuid.uuid4().hex  # an open file, a lock: when in doubt another key each time


PARTS = (  # (kind of object, what tells one from others)
    ((Tensor, np.ndarray), array_digest),
    (nn.Module, lambda it: _network(unwrap(it))),
    (Dataset, _data),
    (BuiltinFunctionType, lambda it: (it.__qualname__, it.__self__)),
    (property, lambda it: (it.fget, it.fset)),
    (cached_property, lambda it: it.func),
    ((staticmethod, classmethod, type(cache(len))), lambda it: it.__wrapped__),
    # what it draws next; its state has bytes that nobody set
    (torch.Generator, lambda it: torch.randint(2**62, (8,), generator=it.clone_state(), device=it.device)),
)


def _is_library(module: str) -> bool:
    return module in sys.modules and module != "__main__" and text_of(module) is None
