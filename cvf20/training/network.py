"""The network of a run: built when it is needed, set back to what it was, described for the run's key."""

from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from cvf20.models.weights import own_names, plain_names, read_state, unwrap
from cvf20.training.describe import Description
from cvf20.training.devices import same_random_state, seed_everything
from cvf20.training.runs import run_key

# a network given ready-made → name of a run → its weights when first given, and the digest of those it was left with
_given: WeakKeyDictionary[nn.Module, dict[str, tuple[dict, str]]] = WeakKeyDictionary()


class Network:
    """From a function that builds it under `seed`, or ready-made and trained in place.

    A ready-made network that is given again under the same name, as by a cell that is run twice, starts with the
    weights that it had the first time, unless somebody else has changed them since.
    """

    def __init__(self, source: nn.Module | Callable[[], nn.Module], name: str, seed: int):
        self.source, self.run, self.seed, self._built = source, name, seed, None
        self.is_given, self._awaited = isinstance(source, nn.Module), None

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

    @property
    def trained(self) -> nn.Module:
        """With the weights of the finished run. Raises FileNotFoundError where they are not on this machine."""
        if self._awaited is not None:
            files, key, message = self._awaited
            file = next(filter(Path.is_file, files), None)
            if file is None:
                raise FileNotFoundError(message)
            load_state(self.built, read_state(file, key))
            self._awaited = None
            self.leave()
        return self.built

    def expect(self, *awaited) -> None:
        """Files of which the first that exists has the weights, their key, an error; a given network gets them now."""
        self._awaited = awaited
        if self.is_given and any(map(Path.is_file, awaited[0])):
            self.trained  # noqa: B018

    @property
    def name(self) -> str:
        """Its class's, or that of the function that will build it."""
        what = self.source if self._built is None else type(unwrap(self._built))
        return getattr(what, "__qualname__", type(what).__name__)

    def first(self) -> dict[str, Tensor]:
        """The weights that a ready-made network starts with."""
        now = state_of(self.built)
        first, left = _given.get(unwrap(self.source), {}).get(self.run, (now, None))
        return first if left == run_key(now) else now

    def reset(self) -> None:
        """Back to what it was before anything was trained or loaded."""
        self._built = self._awaited = None
        if self.is_given:
            self._first = self.first()
            load_state(self.built, self._first)

    def leave(self) -> None:
        """Remember in which state a ready-made network was left."""
        if self.is_given:
            _given.setdefault(unwrap(self.source), {})[self.run] = (self._first, run_key(state_of(self.built)))

    def key_parts(self, description: Description) -> list:
        """Its structure and weights; of a function also its code, and not the bits of the weights that it draws."""
        if self.is_given:
            now = state_of(self.built)
            load_state(self.built, self.first())
            told = [description.of(type(unwrap(self.built))), description.network(self.built)]
            load_state(self.built, now)
            return told
        learners, code = description.learners, description.of(self.source)
        if description.learners > learners:
            return code  # it starts from another run, whose key says it all and whose weights may not be here
        return [code, description.of(type(self.built)), description.network(self.built, weights=False)]


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights under the network's own names, compiled or not, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in plain_names(unwrap(network).state_dict()).items()}


def load_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    inner = unwrap(network)
    inner.load_state_dict(own_names(inner, state))
