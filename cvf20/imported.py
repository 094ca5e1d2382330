"""The source of every module as it was imported, whatever becomes of its file later: keys of runs are made of it."""

import contextlib
import importlib.util
import sys
import tokenize
from importlib.machinery import PathFinder
from pathlib import Path

_texts: dict[str, str] = {}


def find_spec(name, path=None, target=None) -> None:
    """Makes this module a finder: reads what is about to be imported or reloaded, and leaves that to the others."""
    _remember(name, PathFinder.find_spec(name, path, target))


sys.meta_path.insert(0, sys.modules[__name__])


def text_of(module: str) -> str | None:
    """The source of one of cvf20's or the user's own modules as it runs; None for a library's, or what has no file."""
    if module != "__main__" and not (module in _texts and module in sys.modules):
        with contextlib.suppress(Exception):  # there is none, or what it lies in fails
            _remember(module, importlib.util.find_spec(module))
    return _texts.get(module)


def _remember(module: str, spec) -> None:
    origin, package = str(spec and spec.origin), module.partition(".")[0]
    is_library = package in sys.stdlib_module_names or {"site-packages", "dist-packages"} & {*Path(origin).parts}
    if origin.endswith(".py") and (package == "cvf20" or not is_library):
        with tokenize.open(origin) as opened:  # in the encoding that it declares
            _texts[module] = opened.read()
