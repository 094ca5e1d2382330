"""The code behind modules and functions, without comments, docstrings and layout; equal on every version of Python."""

import ast
import dis
import hashlib
import importlib.util
import inspect
import marshal
import sys
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType

from cvf20.imported import file_of, text_of

# what reports, stores, draws or fetches: nothing in it changes what a network learns (data counts by its content)
SILENT = ("imported", "paths", "show", "submission", "models.spec", "datasets.download", "datasets.stand_ins")
SILENT = tuple(
    f"cvf20.{name}"
    for name in (*SILENT, *("training." + n for n in ("results", "runs", "describe", "digests", "code")))
)

Place = tuple[str, str]  # a module, and a name in it; "" for the module itself


def code_behind(modules: set[str]) -> dict[str, str]:
    """Module → digest of its code, for these modules and for all of cvf20's or the user's own that they import.

    A module counts whole. `from cvf20.losses import X` leads to where X is defined, past those that only hand it on.
    """
    found, waiting = {}, list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or module.startswith(SILENT) or (text := text_of(module)) is None:
            continue
        found[module], places, _ = _parse(text, _package(module))
        waiting += [_defining(*place) for place in places]
    return found


def constants(module: str) -> Iterator[tuple[str, object, object]]:
    """Name, value in the source and value now of a module's plain constants; not of what starts empty, to be filled."""
    for node in _tree(text_of(module)).body:
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name) and module in sys.modules:
                try:
                    written = ast.literal_eval(node.value)
                except (ValueError, TypeError):
                    continue
                if written not in (None, [], {}):
                    yield target.id, written, vars(sys.modules[module]).get(target.id, written)


def code_of(function: FunctionType) -> str:
    """The syntax of one function or lambda of a notebook or script."""
    code = function.__code__
    try:
        tree = _tree("".join(inspect.findsource(function)[0]))
    except (OSError, SyntaxError):
        return marshal.dumps(code).hex()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            if code.co_firstlineno in (node.lineno, *(each.lineno for each in node.decorator_list)):
                return dump(node)
    steps = [(line, end, first, last) for line, end, first, last in code.co_positions() if last]
    start, stop = min((s[0], s[2]) for s in steps), max((s[1], s[3]) for s in steps)
    around = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and _spans(node.body, start, stop)]
    return dump(around[-1] if around else tree)  # the innermost lambda comes last


def names_in(code: CodeType) -> tuple[set[str], set[str]]:
    """Global names that a function reads, and all names in it, attributes too; those of functions inside it as well."""
    read = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inside = [names_in(inner) for inner in code.co_consts if isinstance(inner, CodeType)]
    return read.union(*(each[0] for each in inside)), set(code.co_names).union(*(each[1] for each in inside))


def dump(node) -> str:
    """A syntax tree as text, without places, docstrings and empty fields."""
    if isinstance(node, list):
        return f"[{','.join(dump(item) for item in node if not _is_text(item))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Constant):
        return repr(node.value)
    fields = []
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.JoinedStr):  # some versions keep empty pieces
            value = [part for part in value if not (isinstance(part, ast.Constant) and part.value == "")]
        if name not in ("ctx", "type_comment", "type_ignores") and value not in (None, []):
            fields.append(f"{name}={dump(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _is_text(line) -> bool:
    """A docstring, or another string that stands alone."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


@cache
def _parse(text: str, package: str) -> tuple[str, list[Place], dict[str, Place]]:
    """Digest of a module's code, what it imports, and the names by which it knows that."""
    tree = _tree(text)
    imports = [pair for node in ast.walk(tree) for pair in _imports(node, package)]
    names, places = dict(imports), [place for _, place in imports]
    for node in ast.walk(tree):  # cvf20.losses.dice.f, after `import cvf20`
        name, _, attributes = (ast.unparse(node) if isinstance(node, ast.Attribute) else "").partition(".")
        base = ".".join(filter(None, names.get(name, ())))
        if base and text_of(base) is not None:
            parts = attributes.split(".")
            places += [(".".join([base, *parts[:k]]), "") for k in range(1, len(parts))]
    return hashlib.sha256(dump(tree).encode()).hexdigest(), places, names


def _imports(node: ast.AST, package: str) -> Iterator[tuple[str, Place]]:
    """(local name, where it comes from)"""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, (alias.name, "")
            first = alias.name.split(".")[0]
            yield (alias.asname, (alias.name, "")) if alias.asname else (first, (first, ""))
    elif isinstance(node, ast.ImportFrom):
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            yield alias.asname or alias.name, (module, alias.name.replace("*", ""))


def _defining(module: str, name: str) -> str:
    """The module where `name` of `module` is defined, or that it is itself."""
    for _ in range(100):  # two modules may hand a name to each other
        if not name or (text := text_of(module)) is None:
            break
        known, inner = _parse(text, _package(module))[2], f"{module}.{name}"
        if inner in sys.modules or (name not in known and file_of(inner)):
            return inner
        if name not in known:
            break
        module, name = known[name]
    return module


def _package(module: str) -> str:
    return getattr(sys.modules.get(module), "__package__", None) or module.rpartition(".")[0]


def _spans(node: ast.AST, start: tuple[int, int], stop: tuple[int, int]) -> bool:
    return (node.lineno, node.col_offset) <= start and stop <= (node.end_lineno, node.end_col_offset)


@cache
def _tree(text: str) -> ast.Module:
    return ast.parse(text)
