"""How a network is built, as text: what a result stores, so that its weights can be loaded again anywhere.

A network of this package knows its own text, and so does every subclass of one:
    spec_of(UNet(4, 3, 9, 16, norm_type=nn.BatchNorm2d)) == "cvf20.models.UNet(4, 3, 9, 16, norm_type=torch.nn.BatchNorm2d)"
"""

import ast
import contextlib
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType

from torch import Tensor, nn

from cvf20.models.weights import own_names, unwrap


class Recorded:
    """Mixin for networks: remembers the call that built it, and loads state dicts of compiled networks, too."""

    def __new__(cls, *args, **kwargs):
        network = super().__new__(cls)
        network.__dict__["built_as"] = _call(cls, args, kwargs)  # text: copied and pickled with the network
        return network

    def load_state_dict(self, state_dict: Mapping[str, Tensor], *args, **kwargs):
        return super().load_state_dict(own_names(self, state_dict), *args, **kwargs)


def spec_of(network: nn.Module) -> str | None:
    """The call that built the network, with import paths; None where an argument cannot be written, e.g. a lambda.

    Weights among the arguments (names to tensors) are written as None: they are loaded afterwards.
    """
    network = unwrap(network)
    if isinstance(network, Recorded):
        return network.built_as
    path = _path(type(network))
    if path and path.startswith("torch.nn."):  # its repr is its constructor's call, but for containers
        text = path.rpartition(".")[0] + "." + repr(network)
        try:
            return text if repr(build(text)) == repr(network) else None
        except ValueError:
            return None
    makes = type(network).__init__
    alone = makes is nn.Module.__init__ or list(inspect.signature(makes).parameters) == ["self"]
    return f"{path}()" if path and alone else None


def build(spec: str, code: str | Path | None = None) -> nn.Module:
    """The network of a text from `spec_of`, with new random weights.

    code: Python file in which to look for classes that are not importable, e.g. those of a script or a notebook
    Nothing is evaluated: only modules, functions of this package that make them, partial() and literals are allowed.
    Raises ValueError for anything else, and where a class is not found or does not take the arguments.
    """
    try:
        network = _value(ast.parse(spec.strip(), mode="eval").body, _module(Path(code)) if code else None)
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"network {spec!r}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"network {spec!r}: a call is wanted, e.g. 'cvf20.models.UNet(4, 3, 9, 16)'")
    return network


def respecify(network: Recorded, **changed) -> None:
    """Note in the network's text that some of its constructor's arguments are others by now."""
    names = [name for name in inspect.signature(type(network).__init__).parameters if name != "self"]
    if network.built_as is None or not changed.keys() <= set(names):
        network.built_as = None
        return
    call = ast.parse(network.built_as, mode="eval").body
    call.keywords = [keyword for keyword in call.keywords if keyword.arg not in changed]
    for name, value in changed.items():
        node = ast.parse(_text(value), mode="eval").body
        if names.index(name) < len(call.args):
            call.args[names.index(name)] = node
        else:
            call.keywords.append(ast.keyword(name, node))
    network.built_as = ast.unparse(call)


def _call(function, args: tuple, kwargs: dict) -> str | None:
    named = {name: _text(value) for name, value in kwargs.items()}
    texts = [_path(function), *map(_text, args), *named.values()]
    if None in texts:
        return None
    arguments = [*texts[1 : len(args) + 1], *(f"{name}={text}" for name, text in named.items())]
    return f"{texts[0]}({', '.join(arguments)})"


def _text(value) -> str | None:
    """An argument as `build` reads it; None where it cannot be written."""
    if isinstance(value, nn.Module):
        return spec_of(value)
    if isinstance(value, Mapping) and value and all(isinstance(v, Tensor) for v in value.values()):
        return "None"
    if isinstance(value, functools.partial):
        return _call(functools.partial, (value.func, *value.args), value.keywords)
    if isinstance(value, (type, FunctionType)):
        return _path(value)
    if isinstance(value, (list, tuple, range)):
        parts = [_text(part) for part in value]
        closed = "[{}]" if isinstance(value, list) else "({},)" if len(parts) == 1 else "({})"
        return None if None in parts else closed.format(", ".join(parts))
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # numbers of numpy and torch
        value = value.item()
    try:
        return repr(value) if ast.literal_eval(repr(value)) == value else None
    except (ValueError, SyntaxError):
        return None


def _path(value: type | FunctionType) -> str | None:
    """The shortest import path; None for what is defined inside a function."""
    name, packages = value.__qualname__, value.__module__.split(".")
    modules = (".".join(packages[: n + 1]) for n in range(len(packages)))
    shortest = (module for module in modules if getattr(sys.modules.get(module), name, None) is value)
    return f"{next(shortest, value.__module__)}.{name}" if name.isidentifier() else None


def _value(node: ast.expr, code: ModuleType | None):
    """What a part of the text means."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _resolve(ast.unparse(node), code)
    if isinstance(node, (ast.Tuple, ast.List)):
        values = [_value(element, code) for element in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Call):
        function = _resolve(ast.unparse(node.func), code)
        if isinstance(function, FunctionType) and not function.__module__.startswith("cvf20.models"):
            raise ValueError(f"{ast.unparse(node.func)} is no network")
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("** is not allowed")
        keywords = {keyword.arg: _value(keyword.value, code) for keyword in node.keywords}
        return function(*(_value(argument, code) for argument in node.args), **keywords)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{ast.unparse(node)} is neither a literal nor the import path of a class") from None


def _resolve(path: str, code: ModuleType | None):
    """The class or function at an import path."""
    if path == "functools.partial":
        return functools.partial
    module, _, name = path.rpartition(".")
    found = getattr(code, name, None) if module not in sys.modules or module == "__main__" else None
    if found is None and module and module.split(".")[0] not in sys.stdlib_module_names - {"__main__"}:
        with contextlib.suppress(ImportError):
            found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, FunctionType) and not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(
            f"no class {path} is found here; put it into cvf20/models/your_models.py and train it from there, or say in "
            f"which Python file it is defined (build(..., code=), predict --code)"
        )
    return found


def _module(file: Path) -> ModuleType:
    """A Python file, loaded as if it lay in cvf20/models: a course file's `from .base import …` works."""
    description = importlib.util.spec_from_file_location(f"cvf20.models.{file.stem}", file)
    if description is None or not file.is_file():
        raise ValueError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(description)
    try:
        description.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{file}: {type(error).__name__}: {error}") from error
    return module
