"""When is a finished run still valid? Its fingerprint covers recipe, data, initial weights and the code that made it."""

import ast
import functools
import hashlib
import importlib.util
import inspect
import json
import sys
from pathlib import Path

import torch
from torch import nn

# modules that report, store, fetch or make data (whose content is hashed): no other way for them to change a run
WITHOUT_INFLUENCE = (
    "results",
    "plots",
    "explain",
    "paths",
    "fingerprint",
    "baselines",
    "datasets.download",
    "datasets.synthetic",
)


def fingerprint(recipe: dict, parts: list) -> str:
    """Hex digest of the recipe (JSON types) and of the source of `parts` (objects, classes, functions) and what they import."""
    text = json.dumps({"recipe": recipe, "source": source_digest(parts)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def describe(value):
    """A JSON form of a loss, transform or argument that is the same for the same behaviour."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        return value.tolist() if value.numel() <= 64 else tensors_digest({"": value})
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, functools.partial):
        return [describe(value.func), describe(value.args), describe(value.keywords)]
    if isinstance(value, nn.Module):
        settings = {key: item for key, item in vars(value).items() if not key.startswith("_") and key != "training"}
        content = {**settings, **dict(value.named_children()), **dict(value.named_buffers(recurse=False))}
        return {type(value).__qualname__: describe(content)}
    return getattr(value, "__qualname__", repr(value))


def tensors_digest(tensors: dict[str, torch.Tensor]) -> str:
    """sha256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()


def source_digest(parts: list) -> str:
    """sha256 over the code behind `parts`; comments, docstrings and layout do not count."""
    modules, snippets = set(), set()
    for part in parts:
        for owner in _owners(part):
            if owner.__module__.split(".")[0] == "cvf20":
                modules |= _closure(owner.__module__)
            elif owner.__module__ == "__main__":
                snippets.add(_code(inspect.getsource(owner)))
    files = {name: _code(Path(importlib.util.find_spec(name).origin).read_text()) for name in sorted(modules)}
    return hashlib.sha256(json.dumps([files, sorted(snippets)]).encode()).hexdigest()


def _owners(part) -> set[type]:
    """The functions and classes that run in `part`: its class with all bases, and those of everything inside it."""
    if inspect.isclass(part):
        return set(part.__mro__) - {object}
    if inspect.isfunction(part):
        return {part}
    if isinstance(part, functools.partial):
        inside = [part.func, *part.args, *part.keywords.values()]
    elif isinstance(part, nn.Module):
        lists = [value for value in vars(part).values() if isinstance(value, (list, tuple))]  # v2.Compose keeps a list
        inside = [*part.children(), *(item for items in lists for item in items if isinstance(item, nn.Module))]
    else:
        inside = []
    return _owners(type(part)).union(*map(_owners, inside))


@functools.cache
def _closure(name: str) -> frozenset[str]:
    """`name` and every cvf20 module it imports, directly or not."""
    found, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current in found or current.removeprefix("cvf20.").startswith(WITHOUT_INFLUENCE):
            continue
        found.add(current)
        spec = importlib.util.find_spec(current)
        if Path(spec.origin).name == "__init__.py":
            continue  # a package's front door lists more than is used
        for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
            if isinstance(node, ast.ImportFrom):
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), spec.parent)
                for target in [base, *(f"{base}.{alias.name}" for alias in node.names)]:
                    if target.startswith("cvf20.") and _is_module(target):
                        waiting.append(target)
    return frozenset(found)


def _is_module(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _code(source: str) -> str:
    tree = ast.parse(inspect.cleandoc(source) if source[:1].isspace() else source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]
    return ast.dump(tree)
