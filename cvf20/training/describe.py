"""Any object as JSON that is the same for the same behaviour, on every machine; keys of runs are made of it."""

import functools
import hashlib
import json
import marshal
import pickle
import sys
import uuid
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from cvf20.imported import text_of
from cvf20.models.weights import unwrap
from cvf20.training.code import changed_constants, code_behind, dump, globals_read, modules_used, node_of
from cvf20.training.devices import same_random_state, seed_everything

PLAIN = (type(None), bool, int, float, complex, str, bytes, slice, range, torch.dtype, torch.device, PurePath)
PARTS = {  # objects that are told by some of their attributes
    functools.partial: ("func", "args", "keywords"),
    MethodType: ("__self__", "__func__"),
    BuiltinFunctionType: ("__qualname__", "__self__"),
    property: ("fget", "fset"),
    functools.cached_property: ("func",),
}
BOOKKEEPING = {*vars(nn.Module()), "built_as"}
CONTENT = ("images", "masks", "names", "sha256")  # of a data set, told by its digest


class Description:
    """Describes objects with `of`; `key` adds the code of cvf20's and the user's modules that stand behind them."""

    def __init__(self):
        self.modules: set[str] = set()
        self.learners = 0  # how many Learners were met
        self._done: dict[int, tuple] = {}  # id → (object, its description)

    def key(self, content) -> str:
        """64 hex digits for a description and the code behind it, constants as they are now."""
        code = code_behind(self.modules)
        constants = {module: self.of(changed_constants(module)) for module in sorted(code)}
        return hashlib.sha256(json.dumps([content, code, constants], sort_keys=True).encode()).hexdigest()

    def of(self, value):
        value = value.item() if isinstance(value, np.generic) else value
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
        if isinstance(value, (dict, set, frozenset)):
            items = value.items() if isinstance(value, dict) else value
            return sorted(map(self.of, items), key=json.dumps)
        if isinstance(value, (list, tuple)):
            return [self.of(item) for item in value]
        for kind, names in PARTS.items():
            if isinstance(value, kind):
                return [self.of(getattr(value, name)) for name in names]
        if isinstance(value, nn.Module):
            return self.network(value)
        if isinstance(value, Dataset):
            return self._data(value)
        try:
            state = value.__getstate__()
            state = pickle.dumps(value, 4) if state is None else state
        except Exception:
            state = uuid.uuid4().hex  # an open file, a lock: when in doubt another key each time
        return self.of(state)

    def _function(self, function):
        """A notebook's function by its source and the globals it reads, a module's by its source; and their settings."""
        space = getattr(function, "__globals__", {"__name__": "functools"})
        where, cells = space.get("__name__", "__main__"), getattr(function, "__closure__", None) or ()
        closure = [self.of(cell.cell_contents) for cell in cells if cell != CellType()]  # not those without a value yet
        if _is_library(where):
            wrapped = getattr(function, "__wrapped__", None)
            return self.of(wrapped) if wrapped else [function.__module__, function.__qualname__, closure]
        node, values = node_of(function), {}
        if _is_alone(where):
            values = {name: space[name] for name in sorted(globals_read(function.__code__) & space.keys())}
            seen = [value for value in values.values() if isinstance(value, ModuleType)]
            self.modules |= modules_used(node, seen=seen) if node else set()
        self.modules.add(where)
        source = dump(node) if node else marshal.dumps(function.__code__).hex()
        return [where, source, closure, self.of([values, function.__defaults__, function.__kwdefaults__])]

    def _class(self, kind: type):
        """A library's class by its path, others also by their bases; a notebook's by all that is written in it, too."""
        self.modules.add(kind.__module__)
        path, written = f"{kind.__module__}.{kind.__qualname__}", {}
        if _is_library(kind.__module__):
            return path
        for name, value in dict(vars(kind)).items() if _is_alone(kind.__module__) else ():
            generated = getattr(getattr(value, "__code__", None), "co_filename", "").startswith("<string")
            if name == "__dataclass_fields__":
                written[name] = [[field.name, self.of(field.default_factory)] for field in value.values()]
            elif name != "_abc_impl" and not generated and (callable(value) or not name.startswith("__")):
                written[name] = self.of(value)
        return [path, [self.of(base) for base in kind.__bases__], written]

    def network(self, network: nn.Module, weights: bool = True):
        """Attributes, hooks, weights and what is inside; weights=False: their shapes, since the bits that initialisation
        draws may differ between processors.
        """
        network, own = unwrap(network), {}
        for name, value in vars(network).items():  # a library's private attributes follow from the others
            if name not in BOOKKEEPING and not (name.startswith("_") and _is_library(type(network).__module__)):
                own[name] = self.of(value) if getattr(value, "__self__", None) is not network else "own method"
        hooks = [self.of(list(hooks.values())) for hooks in (network._forward_pre_hooks, network._forward_hooks)]
        tensors = dict(network.named_parameters(recurse=False)) | dict(network.named_buffers(recurse=False))
        bits = array_digest if weights else (lambda tensor: [str(tensor.dtype), *tensor.shape])
        held = [[name, tensor.requires_grad, bits(tensor)] for name, tensor in tensors.items()]
        inside = [[name, self.of(type(m)), self.network(m, weights)] for name, m in network.named_children()]
        return [own, hooks, held, inside]

    def _data(self, data: Dataset):
        """Attributes and content as they are now; the items where nothing tells the content."""
        digest = getattr(data, "sha256", None)
        if digest is None and not isinstance(data, (Subset, ConcatDataset, TensorDataset)):
            with same_random_state():
                seed_everything(0)
                digest = self.of([data[index] for index in range(len(data))])
        own = {}
        for name, value in vars(data).items():
            is_remembered = isinstance(getattr(type(data), name, None), functools.cached_property)
            if name not in CONTENT and not isinstance(value, PurePath) and not is_remembered:
                own[name] = value
        return [digest, self.of(own)]


def data_digest(data: Dataset) -> str:
    return getattr(data, "sha256", None) or Description().key(Description().of(data))


def array_digest(array: Tensor | np.ndarray) -> str:
    """sha256 over type, shape and bytes, whatever the memory format and the device."""
    digest = hashlib.sha256(f"{array.dtype}{tuple(array.shape)}".encode())
    if isinstance(array, Tensor):
        flat = array.detach().as_subclass(Tensor).cpu().contiguous().reshape(-1)
        array = flat.view(torch.uint8).numpy() if flat.numel() else np.empty(0)
    digest.update(repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array))
    return digest.hexdigest()


def _is_alone(module: str) -> bool:
    """Whether it is a notebook's or script's own namespace, whose definitions count one by one."""
    return module == "__main__" or (module not in sys.modules and text_of(module) is None)


def _is_library(module: str) -> bool:
    return not _is_alone(module) and text_of(module) is None
