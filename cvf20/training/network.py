"""The network of a run: built when it is needed, set back to what it was, filled with trained weights."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from cvf20.models.weights import own_names, plain_names, read_state, unwrap
from cvf20.training.describe import Description, array_digest
from cvf20.training.devices import same_random_state, seed_everything

# a network given ready-made → name of a run → its weights when first given, and the digest of those it was left with
_given: WeakKeyDictionary[nn.Module, dict[str, tuple[dict, str]]] = WeakKeyDictionary()


class Network:
    """From a function that builds it under `seed`, or ready-made.

    A ready-made network is trained in place. Given again under the same name, as by a cell that is run twice, it starts
    with the weights that it had the first time, unless somebody else has changed them since.
    """

    def __init__(self, source: nn.Module | Callable[[], nn.Module], name: str, seed: int):
        ready = isinstance(source, nn.Module)
        if not ready and not callable(source):
            raise ValueError(f"model={source!r}: a network, or a function that builds one, is wanted")
        self.source, self.run, self.seed, self._built = source, name, seed, source if ready else None
        self._first, self._changed, self._waiting = None, False, None
        if ready:
            first, left = _given.setdefault(unwrap(source), {}).get(name, (None, ""))
            self._changed = left == _digest(source)
            self._first = first if self._changed else state_of(source)

    @property
    def built(self) -> nn.Module:
        """As it was built, or with whatever weights it has by now."""
        if self._built is None:
            with same_random_state():
                seed_everything(self.seed)
                self._built = self.source()
            if not isinstance(self._built, nn.Module):
                raise TypeError(f"model must build a network, {self.source!r} gave {type(self._built).__name__}")
        return self._built

    @property
    def name(self) -> str:
        """Its class's, or that of the function that will build it."""
        what = self.source if self._built is None else type(unwrap(self._built))
        return getattr(what, "__qualname__", type(what).__name__)

    @property
    def trained(self) -> nn.Module:
        """With the weights of the finished run. Raises FileNotFoundError where they are not on this machine."""
        if self._waiting is not None:
            files, key, message = self._waiting
            file = next(filter(Path.is_file, files), None)
            if file is None:
                raise FileNotFoundError(message)
            self.load(file, key)
        return self.built

    def key_parts(self, description: Description) -> list:
        """Its structure and weights; of a function also its code, and not the bits of the weights that it draws."""
        if isinstance(self.source, nn.Module):
            now = state_of(self.built)
            load_state(self.built, self._first if self._changed else now)
            told = [description.of(type(unwrap(self.built))), description.network(self.built)]
            load_state(self.built, now)
            return told
        learners, code = description.learners, description.of(self.source)
        if description.learners > learners:
            return code  # it starts from another run, whose key says it all and whose weights may not be here
        return [code, description.of(type(self.built)), description.network(self.built, weights=False)]

    def reset(self) -> None:
        """Back to what it was before anything was trained or loaded."""
        self._waiting = None
        if not isinstance(self.source, nn.Module):
            self._built = None if self._changed else self._built
        elif self._changed:
            load_state(self.built, self._first)
        else:
            self._first = state_of(self.built)
        self._changed = False

    def change(self) -> nn.Module:
        """The network, to be trained."""
        self._changed = True
        return self.built

    def leave(self) -> None:
        """Remember in which state a ready-made network was left."""
        if isinstance(self.source, nn.Module):
            _given[unwrap(self.source)][self.run] = (self._first, _digest(self.source))

    def expect(self, files: list[Path], key: str, message: str) -> None:
        """The weights will come from the first of the files that exists; a ready-made network gets them at once."""
        self._waiting = (files, key, message)
        if isinstance(self.source, nn.Module) and any(map(Path.is_file, files)):
            self.load(next(filter(Path.is_file, files)), key)

    def load(self, file: Path, key: str) -> None:
        load_state(self.change(), read_state(file, key))
        self._waiting = None
        self.leave()


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights under the network's own names, compiled or not, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in plain_names(unwrap(network).state_dict()).items()}


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill a network, of which parts may be compiled, with a state dict saved from a compiled one or not."""
    inner = unwrap(network)
    nn.Module.load_state_dict(inner, own_names(inner, state))


def _digest(network: nn.Module) -> str:
    state = unwrap(network).state_dict()
    return hashlib.sha256("".join(map(array_digest, state.values())).encode()).hexdigest()
