"""The network of a run: built when it is needed, set back to what it was, described for the run's key."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from cvf20.models.weights import own_names, plain_names, read_state, unwrap
from cvf20.paths import runs_dir
from cvf20.training.describe import Description, run_key
from cvf20.training.devices import same_random_state, seed_everything

# (name of a run, digest of the weights with which it left a network that was given ready-made) → those it began with
_began: dict[tuple[str, str], dict[str, Tensor]] = {}


class Network:
    """From a function that builds it under `seed`, or ready-made and trained in place.

    A ready-made network that is given again under the same name, as by a cell that is run twice, starts with the
    weights that it had the first time, unless somebody else has changed them since.
    """

    def __init__(self, source: nn.Module | Callable[[], nn.Module], run: str, seed: int):
        self.source, self.run, self.seed, self._built = source, run, seed, None
        self.is_given, self._is_loaded = isinstance(source, nn.Module), False

    @property
    def built(self) -> nn.Module:
        """As it was built, or with whatever weights it has by now."""
        if self._built is None:
            with same_random_state():
                seed_everything(self.seed)
                self._built = self.source if self.is_given else self.source()
            if not isinstance(self._built, nn.Module):
                raise TypeError(f"model must build a network, {self.source!r} gave {type(self._built).__name__}")
        return self._built

    def first(self) -> dict[str, Tensor]:
        """The weights that a ready-made network starts with."""
        now = state_of(self.source)
        return _began.get((self.run, run_key(now)), now)

    def reset(self) -> None:
        """Back to what it was before anything was trained or loaded."""
        self._built, self._is_loaded = None, False
        if self.is_given:
            self._first = self.first()
            load_state(self.source, self._first)

    def load(self, files: Iterable[Path], key: str, label: str) -> None:
        """Take the weights of a finished run from the first of these files that exists; only the first call reads."""
        if self._is_loaded:
            return
        if (file := next(filter(Path.is_file, files), None)) is None:
            again = f"train it again with ./run_all.sh --fresh {label[:2]}, or with CVF20_FRESH=1 set"
            raise FileNotFoundError(f"{label}: its weights are neither in {runs_dir()} nor in weights/; {again}")
        load_state(self.built, read_state(file, key))
        self._is_loaded = True
        self.leave()

    def leave(self) -> None:
        """Remember with which weights a ready-made network was left."""
        if self.is_given:
            _began[self.run, run_key(state_of(self.source))] = self._first

    def key_parts(self, description: Description):
        """Its structure, and the weights it starts with or the code that builds it; not the bits that this draws."""
        learners, source = description.learners, None if self.is_given else description.of(self.source)
        if description.learners > learners:
            return source  # it starts from another run, whose key says it all and whose weights may not be here
        now = state_of(self.built)
        load_state(self.built, self.first() if self.is_given else {name: torch.zeros_like(now[name]) for name in now})
        try:
            return [source, description.of(unwrap(self.built))]
        finally:
            load_state(self.built, now)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights under the network's own names, compiled or not, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in plain_names(unwrap(network).state_dict()).items()}


def load_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    inner = unwrap(network)
    inner.load_state_dict(own_names(inner, state))
