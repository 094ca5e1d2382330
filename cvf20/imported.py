"""The source of every module as it was imported, whatever becomes of its file later: keys of runs are made of it."""

import importlib.util
import sys
import sysconfig
import tokenize
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

_texts: dict[str, str] = {}
_libraries = tuple(Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib"))


class Reader:
    """First in sys.meta_path: reads what is about to be imported or reloaded, and leaves the importing to the others."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        _remember(name, PathFinder.find_spec(name, path, target))


def start() -> None:
    if Reader not in sys.meta_path:
        sys.meta_path.insert(0, Reader)


def text_of(module: str) -> str | None:
    """The source of one of cvf20's or the user's own modules as it runs; None for a library's, or what has no file."""
    if module not in _texts and module != "__main__":
        try:  # imported before cvf20 was, or by a finder of its own, or not yet
            _remember(module, importlib.util.find_spec(module))
        except (ImportError, ValueError, AttributeError):
            return None
    return _texts.get(module)


def _remember(module: str, spec) -> None:
    if spec is not None and _is_own(module, spec.origin):
        with tokenize.open(spec.origin) as opened:  # in the encoding that it declares
            _texts[module] = opened.read()


@cache
def _is_own(module: str, origin: str | None) -> bool:
    if not origin or not origin.endswith(".py"):
        return False
    path = Path(origin).resolve()
    installed = {"site-packages", "dist-packages"}.intersection(path.parts)
    return module.split(".")[0] == "cvf20" or not (installed or any(map(path.is_relative_to, _libraries)))
