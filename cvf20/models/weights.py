"""State dicts: read from a file, with the network's own names, or by position."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def read_state(file: Path, key: str | None = None) -> dict[str, Tensor]:
    """The state dict in a file, or under "weights" in it. ValueError where it is unreadable, or of another run than `key`."""
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a truncated or foreign file: zip, pickle and torch each have errors of their own
        raise ValueError(f"{file} is no readable state dict: {error}") from error
    if "key" in saved and key not in (None, saved["key"]):
        raise ValueError(f"{file} holds weights of another run: key {saved['key']}, wanted {key}")
    return saved.get("weights", saved)


def write_half(source: Path, target: Path, key: str) -> None:
    """The state dict in `source`, floating point in half precision. Raises ValueError where a weight is too large for it."""
    half = {name: value.half() if value.is_floating_point() else value for name, value in read_state(source).items()}
    if large := [name for name, value in half.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ValueError(f"{source.parent.name}: {', '.join(large)} reaches beyond 65504, the most in half precision")
    target.parent.mkdir(exist_ok=True)
    torch.save({"key": key, "weights": half}, target.with_name(f".{target.name}"))
    os.replace(target.with_name(f".{target.name}"), target)


def unwrap(network: nn.Module) -> nn.Module:
    """The network itself inside torch.compile's, DistributedDataParallel's or an averaging wrapper."""
    inner = getattr(network, "_orig_mod", getattr(network, "module", None))
    return unwrap(inner) if type(network).__module__.startswith("torch.") and inner is not None else network


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the names of the network itself, whether it was saved compiled, wrapped or neither."""
    return {name.replace("_orig_mod.", "").removeprefix("module."): value for name, value in state.items()}


def own_names(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the names that the network has now, of which parts may be compiled."""
    own = network.state_dict()
    names = dict(zip(plain_names(own), own, strict=True))
    return {names.get(name, name): value for name, value in plain_names(state).items()}


def load_by_position(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Fill the network with the tensors of `state` (of the course's own class) in their order; returns the network."""
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return network
