"""When is a finished run still valid? Its fingerprint covers recipe, data, initial weights and the code that made it."""

import functools
import hashlib
import inspect
import json

import torch
from torch import nn

from cvf20.training.source import source_digest


def fingerprint(recipe: dict, parts: list) -> str:
    """Hex digest of the recipe (JSON types) and of the code behind `parts` (objects, classes, functions)."""
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
        own = (pair for pair in vars(value).items() if getattr(pair[1], "__self__", None) is not value)
        settings = {key: item for key, item in own if not key.startswith("_") and key != "training"}
        content = {**settings, **dict(value.named_children()), **dict(value.named_buffers(recurse=False))}
        content |= dict(value.named_parameters(recurse=False))
        return {type(value).__qualname__: describe(content)}
    if inspect.ismethod(value):
        return [value.__qualname__, describe(value.__self__)]
    if inspect.isfunction(value) and (value.__defaults__ or value.__closure__ or value.__kwdefaults__):
        cells = [describe(cell.cell_contents) for cell in value.__closure__ or ()]
        keywords = [describe(value.__kwdefaults__)] if value.__kwdefaults__ else []
        return [value.__qualname__, describe(value.__defaults__), cells, *keywords]
    return getattr(value, "__qualname__", repr(value))


def tensors_digest(tensors: dict[str, torch.Tensor]) -> str:
    """sha256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()
