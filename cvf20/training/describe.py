"""Any object as JSON that is the same for the same behaviour, on every machine; keys of runs are made of it."""

import functools
import hashlib
import inspect
import json
import sys
import uuid
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from cvf20.imported import text_of
from cvf20.models.weights import unwrap
from cvf20.training.code import code_behind, code_of, constants, names_in
from cvf20.training.devices import same_random_state, seed_everything
from cvf20.training.digests import array_digest, array_size, content_digest

PLAIN = (type(None), bool, int, float, complex, str, bytes, slice, range, torch.dtype, torch.device, torch.Size)
BOOKKEEPING = {*vars(nn.Module()), "built_as"}


class Description:
    """Describes objects with `of`; `key` adds the code of cvf20's and the user's modules that stand behind them."""

    def __init__(self):
        self.modules: set[str] = set()
        self.learners = 0  # how many Learners were met
        self._done: dict[int, tuple] = {}  # id → (object, its description)

    def key(self, content) -> str:
        """64 hex digits for a description and the code behind it, constants as they are now."""
        code = code_behind(self.modules)
        for module in sorted(code):
            for name, written, now in constants(module):
                if self.of(now) != self.of(written):  # set anew from outside: my_losses.WEIGHT = 3
                    code[f"{module}.{name}"] = self.of(now)
        return hashlib.sha256(json.dumps([content, code], sort_keys=True).encode()).hexdigest()

    def of(self, value):
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, PLAIN):
            return [type(value).__name__, repr(value)]
        if id(value) not in self._done:
            self._done[id(value)] = (value, "itself")  # what it says of itself in a circle
            self._done[id(value)] = (value, self._object(value))
        return self._done[id(value)][1]

    def _object(self, value):
        if isinstance(value, ModuleType):
            self.modules.add(value.__name__)
            return value.__name__
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, FunctionType) or hasattr(value, "__wrapped__"):
            return self._function(value)
        return [self.of(type(value)), self._content(value)]

    def _content(self, value):
        """What tells an object from others of its class; never its address."""
        if hasattr(value, "key_parts"):  # e.g. a Learner, which has a key
            return value.key_parts(self)
        if isinstance(value, (Tensor, np.ndarray)):
            return array_digest(value)
        if isinstance(value, dict):
            return _in_order([self.of(k), self.of(v)] for k, v in value.items())
        if isinstance(value, (set, frozenset)):
            return _in_order(map(self.of, value))
        if isinstance(value, (list, tuple)):
            return [self.of(item) for item in value]
        if isinstance(value, functools.partial):
            return [self.of(value.func), self.of(value.args), self.of(value.keywords)]
        if isinstance(value, MethodType):
            return [self.of(value.__self__), self.of(value.__func__)]
        if isinstance(value, BuiltinFunctionType):
            return [value.__qualname__, None if isinstance(value.__self__, ModuleType) else self.of(value.__self__)]
        if isinstance(value, PurePath):
            return value.as_posix()
        if isinstance(value, nn.Module):
            return self.network(value)
        if isinstance(value, Dataset):
            return self._data(value)
        return self._state(value)

    def _function(self, function):
        """A notebook's function by its source and the globals it reads, others by where they are; and their settings."""
        inner = inspect.unwrap(function)
        if not isinstance(inner, FunctionType):
            return self.of(inner)
        found, where = [inner.__module__, inner.__qualname__], inner.__module__ or "__main__"
        if _is_alone(where):
            space, (read, names) = inner.__globals__, names_in(inner.__code__)
            values = {name: space[name] for name in sorted(read) if name in space}
            for package in [value.__name__ for value in values.values() if isinstance(value, ModuleType)]:
                inside = [
                    module for module in sys.modules if module.startswith(f"{package}.")
                ]  # package.module.function
                self.modules |= {m for m in inside if names.issuperset(m[len(package) + 1 :].split("."))}
            found = [code_of(inner), {name: self.of(value) for name, value in values.items()}]
        elif text_of(where) is None and "<locals>" not in inner.__qualname__:
            return found  # a library's
        self.modules.add(where)
        for layer in {id(f): f for f in (inner, function) if isinstance(f, FunctionType)}.values():
            cells = [value for cell in layer.__closure__ or () for value in _contents(cell)]
            found.append([self.of(part) for part in (layer.__defaults__, layer.__kwdefaults__, cells)])
        return found

    def _class(self, kind: type):
        """A class by its path; one of a notebook by its bases, methods and attributes."""
        self.modules.update(base.__module__ for base in kind.__mro__)
        path, bases = f"{kind.__module__}.{kind.__qualname__}", [self.of(base) for base in kind.__bases__]
        if not any(_is_alone(base.__module__) for base in kind.__mro__):
            return path
        own = vars(kind) if _is_alone(kind.__module__) else {}
        return [path, bases, {name: self._member(value) for name, value in own.items() if _counts(name, value)}]

    def _member(self, value):
        if isinstance(value, property):
            return [self.of(part) for part in (value.fget, value.fset)]
        return self.of(
            value.func if isinstance(value, functools.cached_property) else getattr(value, "__func__", value)
        )

    def network(self, network: nn.Module, weights: bool = True):
        """Attributes, hooks, weights and what is inside; weights=False: their shapes and sizes, since the bits that
        initialisation draws may differ between processors.
        """
        network = unwrap(network)
        is_library = text_of(type(network).__module__) is None and not _is_alone(type(network).__module__)
        own = {}
        for name, value in vars(network).items():  # a library's private attributes follow from the others
            if name not in BOOKKEEPING and not (is_library and name.startswith("_")):
                own[name] = self.of(value) if getattr(value, "__self__", None) is not network else "own method"
        hooks = [self.of(list(hooks.values())) for hooks in (network._forward_pre_hooks, network._forward_hooks)]
        tensors = dict(network.named_parameters(recurse=False)) | dict(network.named_buffers(recurse=False))
        held = {n: [w.requires_grad, array_digest(w) if weights else array_size(w)] for n, w in tensors.items()}
        inside = {n: [self.of(type(m)), self.network(m, weights)] for n, m in network.named_children()}
        return [own, hooks, held, inside]

    def _data(self, data: Dataset):
        """Attributes and content as they are now; the items where nothing tells the content."""
        own = {name: value for name, value in vars(data).items() if not isinstance(value, PurePath)}
        digest = content_digest(data)
        if digest is not None:
            own = {n: v for n, v in own.items() if n not in ("images", "masks", "names", "sha256")}
        elif not isinstance(data, (Subset, ConcatDataset, TensorDataset)):
            with same_random_state():
                seed_everything(0)
                digest = self.of([data[index] for index in range(len(data))])
        return [self.of(own), digest]

    def _state(self, value):
        kind = type(value)
        if _is_alone(kind.__module__) or text_of(kind.__module__) is not None:
            slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
            return self.of(getattr(value, "__dict__", {}) | {n: getattr(value, n) for n in slots if hasattr(value, n)})
        if isinstance(value, torch.Generator):
            return self.of(value.get_state())
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:
            return uuid.uuid4().hex  # an open file, a lock: when in doubt another key each time
        if isinstance(reduced, str):
            return reduced
        return [self.of(list(part) if i > 2 and part is not None else part) for i, part in enumerate(reduced)]


def data_digest(data: Dataset) -> str:
    return content_digest(data) or Description().key(Description().of(data))


def _in_order(items) -> list:
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _contents(cell) -> list:
    """The value of a variable that an inner function uses, if it has one yet."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _is_alone(module: str) -> bool:
    """Whether it is a notebook's or script's own namespace, whose definitions count one by one."""
    return module == "__main__" or (module not in sys.modules and text_of(module) is None)


def _counts(name: str, value) -> bool:
    """Of a class's dictionary: what was written into it."""
    generated = getattr(getattr(value, "__code__", None), "co_filename", "").startswith("<string")
    hidden = name.startswith("__") and not isinstance(value, FunctionType) and name != "__dataclass_fields__"
    return not (generated or hidden or name == "_abc_impl")
