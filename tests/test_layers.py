"""The house has floors: imports go down, never up and never in a circle; nested ones too. And it stays small."""

import ast
from pathlib import Path

import pytest

import cvf20
from cvf20.paths import project_dir

ROOT = Path(cvf20.__file__).parent
# room → the rooms it may look into, beside itself
BELOW = {
    "imported": set(),
    "paths": set(),
    "labels": set(),
    "baselines": {"labels"},
    "transforms": {"labels"},
    "datasets": {"paths", "labels", "transforms"},
    "models": {"labels", "paths"},
    "losses": {"labels"},
    "metrics": {"labels"},
    "instances": {"labels", "models", "losses", "metrics"},
    "show": {"paths", "labels", "transforms", "datasets", "models", "losses", "metrics", "instances"},
}
BELOW["training"] = {"imported", "show", *BELOW["show"]}
BELOW["learner"] = {"training"}
BELOW["predict"] = BELOW["training"] | {"training", "learner"}
BELOW["submission"] = BELOW["predict"] | {"predict", "baselines"}
BELOW[""] = {"imported"}  # the package itself
ONLY_PATHS = {"models": {"cvf20.models.encoders"}}  # the only one of its room that knows of folders


def modules():
    for file in sorted(ROOT.rglob("*.py")):
        name = ".".join(["cvf20", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
        yield name, file.read_text(encoding="utf-8")


def imported(tree):
    """(line, full name) of every import of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def room(name):
    return (name.split(".") + [""])[1]


SOURCES = dict(modules())
MODULES = {name: ast.parse(source) for name, source in SOURCES.items()}
EDGES = {
    name: {
        ".".join(target.split(".")[:k])
        for _, target in imported(tree)
        for k in range(2, target.count(".") + 2)
        if ".".join(target.split(".")[:k]) in MODULES
    }
    for name, tree in MODULES.items()
}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    for line, target in imported(MODULES[name]):
        if target.split(".")[0] == "cvf20":
            allowed = {room(name), *BELOW[room(name)]}
            assert room(target) in allowed, f"{name}, line {line}, imports {target}: {room(name)} is not above it"
            if room(target) == "paths" and room(name) in ONLY_PATHS:
                assert name in ONLY_PATHS[room(name)], f"{name}, line {line}: {room(name)} knows tensors only"


def test_every_room_has_its_floor():
    assert {room(name) for name in MODULES} <= set(BELOW)
    for above, below in BELOW.items():
        assert all(above not in BELOW[other] for other in below), above


def test_no_circles_between_modules():
    """Within a room, too. A package that hands names on is no part of a circle with its own modules."""
    done = set()

    def visit(name, path):
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in EDGES[name]:
                if target != name and not name.startswith(f"{target}."):
                    visit(target, [*path, name])
            done.add(name)

    for name in MODULES:
        visit(name, [])


def test_the_house_stays_small():
    lines = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert sum(lines.values()) <= 7000
    assert sum(count for name, count in lines.items() if room(name) == "submission") <= 1000
    assert {name: count for name, count in lines.items() if count > 200} == {}
    assert len(rooms) <= 14, rooms
    tests = [path for path in project_dir().glob("tests/**/*.py")]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in tests) <= 8000


def test_a_function_fits_a_screen():
    nodes = [(name, node) for name, tree in MODULES.items() for node in ast.walk(tree)]
    functions = [(name, node) for name, node in nodes if isinstance(node, ast.FunctionDef)]
    assert [(name, node.name) for name, node in functions if node.end_lineno - node.lineno >= 50] == []
