"""The code behind an object: what it is defined by, and what that uses, definition by definition."""

import ast
import functools
import hashlib
import importlib.util
import inspect
import json
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType

from torch import nn

# modules that report, store, fetch or make data (whose content is hashed): no other way for them to change a run
WITHOUT_INFLUENCE = (
    "training.results",
    "training.fingerprint",
    "training.source",
    "show",
    "paths",
    "baselines",
    "datasets.download",
    "datasets.synthetic",
)


def source_digest(parts: list) -> str:
    """sha256 over the code behind `parts` (objects, classes, functions).

    A function or class counts with every function, class and constant of cvf20 or of the user's own modules that it
    names, directly or not; what else stands in their files does not. Nor do comments, docstrings and layout.
    """
    found: dict[str, str] = {}
    waiting = [owner for part in parts for owner in _owners(part)]
    while waiting:
        owner = waiting.pop()
        if isinstance(owner, tuple):
            key, code, used = ".".join(owner), *_static(*owner)
        elif owner.__module__ == "__main__":  # a notebook's cells are no file
            key, code, used = f"__main__.{owner.__qualname__}", *_live(owner)
        elif _is_ours(owner.__module__):
            waiting.append((owner.__module__, owner.__qualname__))
            continue
        else:
            continue
        if key not in found:
            found[key] = code
            waiting.extend(used)
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _owners(part) -> set:
    """The functions and classes that run in `part`: its class with all bases, and those of everything inside it."""
    if inspect.isclass(part):
        return set(part.__mro__) - {object}
    if inspect.isfunction(part):
        return {part}
    if inspect.ismethod(part):
        return {part.__func__} | _owners(part.__self__)
    if isinstance(part, functools.partial):
        inside = [part.func, *part.args, *part.keywords.values()]
    elif isinstance(part, nn.Module):
        lists = [value for value in vars(part).values() if isinstance(value, (list, tuple))]  # v2.Compose keeps a list
        inside = [*part.children(), *(item for items in lists for item in items if isinstance(item, nn.Module))]
        own = (value for value in vars(part).values() if getattr(value, "__self__", None) is not part)
        inside += [value for value in own if inspect.isroutine(value) or isinstance(value, functools.partial)]
    else:
        inside = []
    return _owners(type(part)).union(*map(_owners, inside))


# --- from files -------------------------------------------------------------------------------------------------------

Place = tuple[str, str]  # a module's name, and a name inside it


@dataclass
class _Module:
    """A file's top level: what each name stands for."""

    defined: dict[str, list[ast.AST]] = field(default_factory=dict)
    # local name → where it comes from; ("a.b", "") is a module
    imported: dict[str, Place] = field(default_factory=dict)


def _static(module: str, qualified_name: str) -> tuple[str, list[Place]]:
    """Code of a definition in a file, and the places that it names."""
    parsed = _parse(module)
    name, *rest = qualified_name.split(".")
    nodes = parsed.defined.get(name)
    if nodes is None:
        if name in parsed.imported:
            return "", _resolve(*parsed.imported[name], ())
        nodes = [node for group in parsed.defined.values() for node in group]  # e.g. a lambda: all there is
    elif rest and isinstance(nodes[0], ast.ClassDef):
        methods = [node for node in nodes[0].body if getattr(node, "name", None) == rest[0]]
        nodes = methods or nodes
    local = dict(parsed.imported)
    for node in nodes:
        local |= dict(_imports(node, module))
    used = []
    for chain in {chain for node in nodes for chain in _chains(node)}:
        if chain[0] in parsed.defined:
            used.append((module, chain[0]))
        elif chain[0] in local:
            used += _resolve(*local[chain[0]], chain[1:])
    return json.dumps([_dump(node) for node in nodes]), used


def _resolve(module: str, name: str, attributes: tuple[str, ...]) -> list[Place]:
    """Where `name.attributes` of a module is defined; nothing where the module is not ours."""
    for attribute in (name, *attributes):
        inner = f"{module}.{attribute}" if attribute else module
        if attribute and not _is_module(inner):
            return [(module, attribute)] if _is_ours(module) else []
        module = inner
    return []


@functools.cache
def _parse(module: str) -> _Module:
    parsed = _Module()

    def read(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                parsed.defined.setdefault(node.name, []).append(node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                parsed.imported.update(_imports(node, module))
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in {
                    inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)
                }:
                    parsed.defined.setdefault(name, []).append(node)
            else:
                for block in ("body", "orelse", "handlers", "finalbody"):
                    read(getattr(node, block, []))

    read(ast.parse(_file(module).read_text()).body)
    return parsed


def _imports(node: ast.AST, module: str) -> Iterator[tuple[str, Place]]:
    """(local name, where it comes from) of every import in `node`."""
    spec_parent = module if _file(module).name == "__init__.py" else module.rpartition(".")[0]
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            for alias in inner.names:
                yield (
                    alias.asname or alias.name.split(".")[0],
                    (alias.name if alias.asname else alias.name.split(".")[0], ""),
                )
        elif isinstance(inner, ast.ImportFrom):
            base = importlib.util.resolve_name("." * inner.level + (inner.module or ""), spec_parent)
            for alias in inner.names:
                yield alias.asname or alias.name, (base, alias.name)


def _chains(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Every name in `node` with the attributes read from it: ("results", "write_text")."""
    for inner in ast.walk(node):
        attributes = []
        while isinstance(inner, ast.Attribute):
            attributes.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield (inner.id, *attributes)


def _dump(node: ast.AST) -> str:
    """The syntax without docstrings."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
        node = ast.parse(ast.unparse(node))
        for inner in ast.walk(node):
            body = getattr(inner, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                if isinstance(body[0].value, ast.Constant) and not isinstance(inner, ast.Module):
                    inner.body = body[1:] or [ast.Pass()]
    return ast.dump(node)


@functools.cache
def _is_ours(module: str) -> bool:
    """Whether a module is part of cvf20, or a file of the user's; installed libraries count by their version, elsewhere."""
    if module.split(".")[0] == "cvf20":
        return not module.removeprefix("cvf20.").startswith(WITHOUT_INFLUENCE)
    file = _file(module)
    installed = {"site-packages", "dist-packages"}.intersection(file.parts) if file else True
    libraries = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")]
    return not installed and not any(file.is_relative_to(library) for library in libraries)


def _is_module(name: str) -> bool:
    if name.split(".")[0] in sys.stdlib_module_names:
        return True  # not ours, so of no interest
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _file(module: str) -> Path | None:
    """The .py file of a module, None for one that has none."""
    name = getattr(sys.modules.get(module), "__file__", None)
    if name is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ModuleNotFoundError, ValueError):
            return None
        name = spec.origin if spec else None
    return Path(name) if name and name.endswith(".py") else None


# --- from a notebook --------------------------------------------------------------------------------------------------


def _live(owner: type | FunctionType) -> tuple[str, list]:
    """Code of a function or class of the running notebook, and the functions and classes that it names."""
    if inspect.isclass(owner):
        members = {
            name: getattr(value, "__func__", getattr(value, "fget", value)) for name, value in vars(owner).items()
        }
        functions = [value for value in members.values() if inspect.isfunction(value)]
        plain = {name: value for name, value in members.items() if _is_plain(value) and not name.startswith("__")}
    else:
        functions, plain = [owner], {}
    code, used = [], []
    for function in functions:
        code.append(_function(inspect.getsource(function)))
        names = _names(function.__code__)
        for name in sorted(names):
            value = function.__globals__.get(name)
            used += _behind(value, names)
            if _is_plain(value):
                plain[name] = value
    return json.dumps([code, repr(plain)]), used


def _is_plain(value) -> bool:
    """A constant whose text is the same in every process."""
    return isinstance(value, (bool, int, float, str)) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _behind(value, names: set[str]) -> list:
    """Functions and classes of a global's value; of a module, those that the function may read from it: its `names`."""
    if inspect.ismodule(value):
        read = [vars(value).get(name) for name in sorted(names)] if _is_ours(value.__name__) else []
        return [owner for item in read if not inspect.ismodule(item) for owner in _behind(item, names)]
    if isinstance(value, (dict, list, tuple)):
        items = value.values() if isinstance(value, dict) else value
        return [owner for item in items for owner in _behind(item, names)]
    return list(_owners(value)) if callable(value) else []


def _function(source: str) -> str:
    """The syntax of a function's source, which may be an indented method or a lambda in the middle of a statement."""
    try:
        return _dump(ast.parse(textwrap.dedent(source)))
    except SyntaxError:
        return source.strip()


def _names(code: CodeType) -> set[str]:
    """Global names that a function reads, those of functions inside it too."""
    return set(code.co_names).union(*(_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))
