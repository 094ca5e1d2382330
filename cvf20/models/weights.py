"""State dicts: read from a file, with the network's own names, or by position."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def read_state(file: Path, key: str | None = None) -> dict[str, Tensor]:
    """The state dict in a file, or under "weights" in it, beside the "key" of the run that made it.

    Raises ValueError, naming the file, where it holds none, or that of another run than `key`.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a truncated or foreign file: zip, pickle and torch each have errors of their own
        raise ValueError(f"{file} is no readable state dict: {error}") from error
    if isinstance(state, dict) and "weights" in state and not isinstance(state["weights"], Tensor):
        if key is not None and state.get("key", key) != key:
            raise ValueError(f"{file} holds weights of another run: key {state['key']}, wanted {key}")
        state = state["weights"]
    if not isinstance(state, dict) or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in state.items()):
        raise ValueError(f"{file} holds {type(state).__name__}, a state dict (names to tensors) is wanted")
    return state


def unwrap(network: nn.Module) -> nn.Module:
    """The network itself inside torch.compile's, DistributedDataParallel's or an averaging wrapper."""
    while type(network).__module__.startswith("torch.") and not isinstance(network, nn.Sequential):
        inner = network._modules.get("_orig_mod") or network._modules.get("module")
        if inner is None:
            break
        network = inner
    return network


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the names of the network itself, whether it was saved compiled, wrapped or neither."""
    state = {name.replace("_orig_mod.", ""): value for name, value in state.items()}
    wrapped = state and all(name.startswith("module.") for name in state)
    return {name.removeprefix("module.") if wrapped else name: value for name, value in state.items()}


def own_names(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the names that the network has now, of which parts may be compiled."""
    own = network.state_dict()
    names = dict(zip(plain_names(own), own, strict=True))
    return {names.get(name, name): value for name, value in plain_names(state).items()}


def load_by_position(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Fill the network with the tensors of `state` in their order, whatever their names; returns the network.

    For weights of the course's own classes: its layers come in the same order, under other names.
    Raises ValueError where the number of tensors or a shape differs.
    """
    own = unwrap(network).state_dict()
    if len(own) != len(state):
        raise ValueError(f"state holds {len(state)} tensors, wanted {len(own)}")
    for (name, wanted), (theirs, found) in zip(own.items(), state.items(), strict=True):
        if wanted.shape != found.shape:
            raise ValueError(
                f"state[{theirs!r}] has shape {tuple(found.shape)}, wanted {tuple(wanted.shape)} for {name}"
            )
    unwrap(network).load_state_dict(dict(zip(own, state.values(), strict=True)))
    return network
