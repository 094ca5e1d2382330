"""The code behind modules and functions, without comments, docstrings and layout; equal on every version of Python."""

import ast
import contextlib
import dis
import hashlib
import importlib.util
import inspect
import sys
from functools import cache
from types import CodeType, FunctionType, ModuleType

from cvf20.imported import text_of

# what reports, stores, draws or fetches: nothing in it changes what a network learns (data counts by its content)
SILENT = "imported paths show submission models.spec datasets.download datasets.stand_ins"
SILENT += " training.results training.runs training.describe training.code"
SILENT = tuple(f"cvf20.{name}" for name in SILENT.split())


def code_behind(modules: set[str]) -> dict[str, str]:
    """Module → digest of its code, for these modules and for all of cvf20's or the user's own that they import.

    A module counts whole. `from cvf20.losses import X` leads to where X is defined, past those that only hand it on.
    """
    found, waiting = {}, list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and not module.startswith(SILENT) and (loaded := _loaded(module)):
            found[module], imports = _parse(text_of(module), loaded.__package__ or "")
            waiting += imports
    return found


def changed_constants(module: str) -> dict[str, object]:
    """The plain constants of a module that were set anew from outside; not what starts empty, to be filled."""
    found = {}
    for node in _tree(text_of(module)).body:
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            with contextlib.suppress(ValueError, TypeError, AttributeError):  # no literal
                written, now = ast.literal_eval(node.value), vars(sys.modules[module])[target.id]
                if written not in (None, [], {}) and repr(written) != repr(now):
                    found[target.id] = now
    return found


def node_of(function: FunctionType) -> ast.AST | None:
    """The syntax of one function or lambda, or of its whole file; None where that is gone."""
    code, text = function.__code__, text_of(function.__globals__.get("__name__", "__main__"))
    try:
        tree = _tree(text if text is not None else "".join(inspect.findsource(function)[0]))
    except (OSError, TypeError, SyntaxError):
        return None
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))]
    found = [node for node in found if getattr(node, "name", "<lambda>") == code.co_name]
    starts = [min(each.lineno for each in (node, *getattr(node, "decorator_list", ()))) for node in found]
    found = [node for node, start in zip(found, starts, strict=True) if start == code.co_firstlineno]
    places = [(line, column) for line, _, column, end in code.co_positions() if end]
    if places:  # of several lambdas in a line the last that begins before the body
        found = [node for node in found if (node.lineno, node.col_offset) < min(places)]
    elif code.co_name == "<lambda>":  # Python 3.12 does not say where a constant stands
        found = [node for node in found if getattr(node.body, "value", None) == code.co_consts[-1]]
    return max(found, key=lambda node: (node.lineno, node.col_offset), default=tree)


def globals_read(code: CodeType) -> set[str]:
    """Names of the globals that a function reads, and the functions and classes inside it."""
    read = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return read.union(*(globals_read(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def modules_used(tree: ast.AST, package: str = "", seen=()) -> set[str]:
    """cvf20's and the user's own modules in which that is defined which code imports, also inside functions.

    seen: modules that it need not import, since they are globals
    """
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = set().union(*(below(module, attributes) for module in seen))
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            base, name = alias.name, ""
            if isinstance(node, ast.ImportFrom):
                base, name = importlib.util.resolve_name("." * node.level + (node.module or ""), package), alias.name
            if home := _loaded(base):
                value = vars(home)[name] if name in vars(home) else name and _loaded(f"{base}.{name}") or home
                origin = sys.modules.get(getattr(value, "__module__", None), home)
                origin = origin if vars(origin).get(name) is value else home
                found |= below(value if isinstance(value, ModuleType) else origin, attributes)
    return found


def below(module: ModuleType, attributes: set[str]) -> set[str]:
    """A module and those inside it that are reached by attributes, as in cvf20.losses.dice.multiclass_dice."""
    inside = [vars(module)[name] for name in attributes & vars(module).keys()]
    inside = [m for m in inside if isinstance(m, ModuleType) and m.__name__.startswith(f"{module.__name__}.")]
    return {module.__name__}.union(*(below(inner, attributes) for inner in inside))


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


def _loaded(module: str) -> ModuleType | None:
    """One of cvf20's or the user's own modules, imported now if a function would do so later; None if that fails."""
    if module not in sys.modules and text_of(module) is not None:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    return sys.modules.get(module) if text_of(module) is not None else None


@cache
def _parse(text: str, package: str) -> tuple[str, set[str]]:
    """Digest of a module's code, and what it imports."""
    return hashlib.sha256(dump(_tree(text)).encode()).hexdigest(), modules_used(_tree(text), package)


@cache
def _tree(text: str) -> ast.Module:
    return ast.parse(text)
