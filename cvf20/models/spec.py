"""How a network is built, as text: what a result stores, so that its weights can be loaded again anywhere.

spec_of(UNet(4, 3, 9, 16, norm_type=nn.BatchNorm2d)) == "cvf20.models.UNet(4, 3, 9, 16, norm_type=torch.nn.BatchNorm2d)"
"""

import ast
import contextlib
import functools
import pkgutil
import sys
from collections.abc import Callable, Mapping
from types import FunctionType

from torch import Tensor, nn

from cvf20.models.weights import own_names, unwrap


class Recorded:
    """Mixin for networks: remembers the call that built it, and loads state dicts of compiled networks, too."""

    def __new__(cls, *args, **kwargs):
        network = super().__new__(cls)
        network.__dict__["built_as"] = call_text(cls, *args, **kwargs)
        return network

    def load_state_dict(self, state_dict: Mapping[str, Tensor], *args, **kwargs):
        return super().load_state_dict(own_names(self, state_dict), *args, **kwargs)


def spec_of(network: nn.Module) -> str | None:
    """The call that built the network; None where an argument cannot be written. Weights are written as None."""
    network = unwrap(network)
    if isinstance(network, Recorded):
        return network.built_as
    try:
        path = _path(type(network))  # the repr of torch's layers is the call that builds them, but for containers
        text = f"torch.nn.{network!r}" if path.startswith("torch.nn.") else f"{path}()"
        return text if repr(build(text)) == repr(network) else None
    except ValueError:
        return None


def call_text(function: Callable, *args, **kwargs) -> str | None:
    """The call as `build` reads it; None where an argument cannot be written."""
    try:
        parts = [*map(_text, args), *(f"{name}={_text(value)}" for name, value in kwargs.items())]
        return f"{_path(function)}({', '.join(parts)})"
    except (ValueError, SyntaxError):
        return None


def _text(value) -> str:
    """An argument as `build` reads it. ValueError or SyntaxError where it cannot be written."""
    if isinstance(value, nn.Module):
        text = spec_of(value)
    elif isinstance(value, functools.partial):
        text = call_text(functools.partial, value.func, *value.args, **value.keywords)
    elif isinstance(value, (type, FunctionType)):
        text = _path(value)
    elif isinstance(value, Mapping) and all(isinstance(v, Tensor) for v in value.values()):
        text = "None"
    elif isinstance(value, (list, tuple)):
        inside = "".join(f"{_text(part)}," for part in value)
        text = ast.unparse(ast.parse(f"[{inside}]" if isinstance(value, list) else f"({inside})"))
    else:
        value = value.tolist() if hasattr(value, "tolist") else value  # numbers of numpy and torch
        text = repr(value) if ast.literal_eval(repr(value)) == value else None
    if text is None:
        raise ValueError(f"{value!r} cannot be written")
    return text


def _path(value: type | FunctionType) -> str:
    """The shortest import path. ValueError for what is defined inside a function."""
    name, packages = value.__qualname__, value.__module__.split(".")
    if "<" in name:
        raise ValueError(f"{name} cannot be imported")
    modules = (".".join(packages[: n + 1]) for n in range(len(packages)))
    found = (module for module in modules if getattr(sys.modules.get(module), name, None) is value)
    return f"{next(found, value.__module__)}.{name}"


def build(spec: str) -> nn.Module:
    """The network of a text from `spec_of`, with new random weights. ValueError for whatever cannot be built."""
    try:
        network = _value(ast.parse(spec, mode="eval").body)
    except Exception as error:  # whatever is wrong in the text or the arguments
        raise ValueError(f"network {spec!r}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"network {spec!r}: a call is wanted, e.g. 'cvf20.models.UNet(4, 3, 9, 16)'")
    return network


def _value(node: ast.expr):
    """What a part of the text means: modules, functions of cvf20.models, partial() and literals; nothing else runs."""
    if isinstance(node, ast.Call):
        function = _value(node.func)
        if isinstance(function, FunctionType) and not function.__module__.startswith("cvf20.models"):
            raise ValueError(f"{ast.unparse(node.func)} is no network")
        keywords = {keyword.arg: _value(keyword.value) for keyword in node.keywords}
        return function(*map(_value, node.args), **keywords)
    if isinstance(node, (ast.Tuple, ast.List)):
        return (list if isinstance(node, ast.List) else tuple)(map(_value, node.elts))
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return ast.literal_eval(node)
    path = ast.unparse(node)
    for place in (path, f"cvf20.models.your_models.{path.rpartition('.')[2]}"):  # the class may have moved there
        with contextlib.suppress(ImportError, AttributeError, ValueError, TypeError):
            found = pkgutil.resolve_name(place)
            if isinstance(found, FunctionType) or issubclass(found, (nn.Module, functools.partial)):
                return found
    raise ValueError(f"no class {path} is found here; put it into cvf20/models/your_models.py")
