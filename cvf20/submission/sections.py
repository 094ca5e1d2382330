"""A notebook as a front (title, set-up, imports) and sections, one per second-level heading."""

import ast
import builtins
import re
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode

from cvf20.submission.notebook import number
from cvf20.submission.tasks import TIME, ids_in

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FENCE = re.compile(r"\s*(```+|~~~+)")


@dataclass
class Section:
    """stem: of its notebook; title: the heading's text; ids: the tasks that its headings name."""

    stem: str
    title: str
    anchor: str
    ids: tuple[str, ...] = ()
    cells: list[NotebookNode] = field(default_factory=list)

    @property
    def sums_up(self) -> bool:
        """Whether it speaks about the whole notebook: its times, its summary."""
        return set(self.ids) <= {TIME}


def headings(source: str) -> Iterator[tuple[int, str]]:
    """(line number from 0, line) of every Markdown heading outside code fences."""
    fence = None
    for place, line in enumerate(source.split("\n")):
        if mark := _FENCE.match(line):
            fence = mark[1] if fence is None else None if mark[1].startswith(fence) else fence
        elif fence is None and re.match(r"#{1,6}\s", line):
            yield place, line


def split(nb: NotebookNode, stem: str) -> tuple[list[NotebookNode], list[Section]]:
    """(cells before the first section, sections). A Markdown cell with several second-level headings is cut apart."""
    front, sections, anchors = [], [], set()
    for cell in _cut(nb.cells):
        for place, line in headings(cell.source) if cell.cell_type == "markdown" else ():
            if place == 0 and line.startswith("## "):
                section = Section(stem, line.lstrip("# ").strip(), "")
                section.anchor = _anchor(stem, ids_in(line) or [section.title], anchors)
                sections.append(section)
            if sections:
                sections[-1].ids += tuple(id for id in ids_in(line) if id not in sections[-1].ids)
        (sections[-1].cells if sections else front).append(cell)
    return front, sections


def _cut(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    for cell in cells:
        places = [0]
        if cell.cell_type == "markdown":
            places += [place for place, line in headings(cell.source) if line.startswith("## ") and place]
        lines = cell.source.split("\n")
        for place, end in zip(places, [*places[1:], len(lines)], strict=True):
            part = NotebookNode({**cell, "source": "\n".join(lines[place:end]).strip("\n")}) if places[1:] else cell
            if part.source.strip() or len(places) == 1:
                yield part


def _anchor(stem: str, words: Iterable[str], taken: set[str]) -> str:
    """ "03-A1a", a name for links that no other section has."""
    base = anchor = re.sub(r"\W+", "-", "-".join([number(stem) or stem, *words]).replace("A-t", "time")).strip("-")
    count = 1
    while anchor in taken:
        count += 1
        anchor = f"{base}-{count}"
    taken.add(anchor)
    return anchor


def chosen(front: list[NotebookNode], sections: list[Section], ids: set[str]) -> list[Section]:
    """The sections that answer one of `ids`, and those before them that define what they use.

    Sections that sum up stay only where all of the others do. A cell that is no plain Python needs all before it.
    """
    keep = {place for place, section in enumerate(sections) if not section.sums_up and ids & set(section.ids)}
    defined = [_names(section.cells) for section in sections]
    given = _names(front)[0]
    for place in reversed(range(len(sections))):
        if place not in keep:
            continue
        wanted = defined[place][1]
        for earlier in reversed(range(place)):
            if wanted is None or wanted & defined[earlier][0] - given:
                keep.add(earlier)
            if wanted is not None:
                wanted = wanted - defined[earlier][0]
    if keep and all(place in keep for place, section in enumerate(sections) if not section.sums_up):
        return sections
    return [section for place, section in enumerate(sections) if place in keep]


def _names(cells: list[NotebookNode]) -> tuple[set[str], set[str] | None]:
    """(names the cells define, names they expect from before); None: everything may be expected."""
    defined, expected = set(), set()
    for cell in cells:
        if cell.cell_type == "code":
            try:
                tree = ast.parse(cell.source)
            except SyntaxError:  # a magic
                return defined, None
            expected |= _flow(tree.body, defined)
            defined |= _changed(tree)
    return defined, expected - set(vars(builtins))


def _flow(statements: list[ast.stmt], defined: set[str]) -> set[str]:
    """Names that the statements use before they define them, in order; what they define is added to `defined`."""
    expected = set()
    for statement in statements:
        blocks = [getattr(statement, name, []) for name in ("body", "handlers", "orelse", "finalbody")]
        if isinstance(statement, _DEFINITIONS) or not any(blocks):
            used, here = _used_and_set(ast.unparse(statement))
            expected |= used - defined - (here if isinstance(statement, _DEFINITIONS) else set())
            defined |= here
            continue
        header = [
            node for name, node in ast.iter_fields(statement) if name not in ("body", "handlers", "orelse", "finalbody")
        ]
        nodes = [node for part in header for node in (part if isinstance(part, list) else [part])]
        names = [
            each for node in nodes if isinstance(node, ast.AST) for each in ast.walk(node) if isinstance(each, ast.Name)
        ]
        inner = {each.id for each in names if isinstance(each.ctx, ast.Store)}
        expected |= {each.id for each in names if isinstance(each.ctx, ast.Load)} - inner - defined
        defined |= inner
        for block in blocks:
            for part in block:
                expected |= _flow(part.body if isinstance(part, ast.ExceptHandler) else [part], defined)
    return expected


def _used_and_set(code: str) -> tuple[set[str], set[str]]:
    """Names that one statement reads from, and sets in, the notebook; those inside functions and comprehensions are theirs."""
    table = symtable.symtable(code, "cell", "exec")
    used, here = set(), set()
    for scope in _scopes(table):
        for symbol in scope.get_symbols():
            if scope is table and (symbol.is_assigned() or symbol.is_imported()):
                here.add(symbol.get_name())
            if symbol.is_referenced() and (scope is table or symbol.is_global()):
                used.add(symbol.get_name())
    return used, here


def _changed(tree: ast.Module) -> set[str]:
    """Names whose object a cell may change: learner.fit(…), rows.append(…), options["lr"] = …"""
    changed = set()
    for statement in tree.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                changed.add(_root(node.func))
            elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                changed.add(_root(node))
    return changed - {None}


def _root(node: ast.expr) -> str | None:
    """`a` of a.b[c].d"""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)
