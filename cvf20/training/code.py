"""The code behind modules and functions, without comments, docstrings and layout; equal on every version of Python."""

import ast
import contextlib
import dis
import hashlib
import importlib.util
import inspect
import sys
from functools import cache
from types import CodeType, FunctionType

from cvf20.imported import text_of

# what reports, stores, draws or fetches: nothing in it changes what a network learns (data counts by its content)
SILENT = "imported paths show submission models.spec datasets.download datasets.stand_ins"
SILENT += " training.results training.runs training.describe training.code"
SILENT = tuple(f"cvf20.{name}" for name in SILENT.split())


def code_behind(modules: set[str]) -> dict[str, str]:
    """Module → digest of all its code, for these modules and for all of cvf20's or the user's own that they import."""
    found, waiting = {}, list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and not module.startswith(SILENT) and text_of(module) is not None:
            _, found[module], imports = _parse(text_of(module), module)
            waiting += imports
    return found


def modules_used(tree: ast.AST, module: str = "") -> set[str]:
    """Modules in which that is defined which code imports, also inside functions; more than are needed, never fewer."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = importlib.util.find_spec(module).parent if node.level else None
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found |= {_home(base, alias.name) for alias in node.names}
        elif isinstance(node, ast.Attribute) and (chain := ast.unparse(node)) in sys.modules:
            found.add(chain)  # cvf20.losses.dice, of which another place imported only cvf20
    return found


def _home(module: str, name: str) -> str:
    """The module that defines what `from module import name` gives."""
    with contextlib.suppress(Exception):  # a constant, all names, or a module that is missing or fails
        is_folder = importlib.util.find_spec(module).origin is None  # without an __init__.py
        is_own = text_of(module) is not None
        if is_folder or (is_own and text_of(f"{module}.{name}") is not None):
            return f"{module}.{name}"
        value = getattr(importlib.import_module(module), name) if is_own else None
        if getattr(sys.modules[value.__module__], name) is value:
            return value.__module__
    return module


def node_of(function: FunctionType) -> ast.AST | None:
    """The syntax of one function or lambda, or of its whole file; None where that is gone."""
    code, where = function.__code__, function.__globals__.get("__name__", "")
    try:
        tree, *_ = _parse(text_of(where) or "".join(inspect.findsource(function)[0]), where)
    except (OSError, TypeError, SyntaxError):
        return None
    places = [(line, column) for line, _, column, end in code.co_positions() if end]
    body = min(places, default=(code.co_firstlineno, 1_000))  # Python 3.12 does not say where a constant stands
    found = []  # those of this name that begin before the body and end after it; the innermost is it
    for node in ast.walk(tree):
        name = "<lambda>" if isinstance(node, ast.Lambda) else getattr(node, "name", "")
        if name == code.co_name and (node.lineno, node.col_offset) < body and body[0] <= node.end_lineno:
            found.append(node)
    return max(found, key=lambda node: (node.lineno, node.col_offset), default=tree)


def globals_read(code: CodeType) -> set[str]:
    """Names of the globals that a function reads, and the functions and classes inside it."""
    read = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return read.union(*(globals_read(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def dump(node) -> str:
    """A syntax tree as text, without places, docstrings and other strings that stand alone, and empty fields."""
    if isinstance(node, list):
        texts = [n for n in node if isinstance(n, ast.Expr) and isinstance(getattr(n.value, "value", None), str)]
        return f"[{','.join(dump(item) for item in node if item not in texts)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.JoinedStr):  # some versions keep empty pieces
        fields["values"] = [part for part in node.values if getattr(part, "value", None) != ""]
    inside = ",".join(f"{name}={dump(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({inside})"


@cache
def _parse(text: str, module: str = "") -> tuple[ast.Module, str, set[str]]:
    """Tree and digest of a module's code, and what it imports."""
    tree = ast.parse(text)
    return tree, hashlib.sha256(dump(tree).encode()).hexdigest(), modules_used(tree, module)
