"""Which of pyproject.toml's dependencies are missing here, and installing just these (Colab, conda).

torch, torchvision and numpy are never installed again where they exist: on Colab they belong to the image, and a
second copy breaks what has already been imported. Standard library only, since nothing else may be there yet.
"""

import argparse
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

KEPT = ("torch", "torchvision", "numpy")


def requirements(project: Path, extras: tuple[str, ...] = ()) -> list[str]:
    """The dependencies in project/pyproject.toml, those of the extras behind them, as written ("torch>=2.4")."""
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = table.get("optional-dependencies", {})
    for extra in extras:
        if extra not in optional:
            raise ValueError(f"extra: found {extra!r}, wanted one of {sorted(optional)}")
    return table["dependencies"] + [requirement for extra in extras for requirement in optional[extra]]


def split(requirement: str) -> tuple[str, tuple[int, ...]]:
    """("torch", (2, 4)) from "torch>=2.4". Raises ValueError for anything but a name and a lower bound."""
    match = re.fullmatch(r"([\w.-]+)\s*>=\s*([\d.]+)", requirement.strip())
    if not match:
        raise ValueError(f"requirement: found {requirement!r}, wanted a name and a lower bound such as 'torch>=2.4'")
    return match[1], tuple(int(part) for part in match[2].split("."))


def installed(name: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def missing(wanted: list[str]) -> list[str]:
    """Those of the requirements that are not installed, or older than their lower bound."""
    lacking = []
    for requirement in wanted:
        name, bound = split(requirement)
        version = installed(name)
        release = tuple(int(part) for part in re.match(r"[\d.]*\d", version)[0].split(".")) if version else ()
        if release < bound:
            lacking.append(requirement)
    return lacking


def install(lacking: list[str]) -> None:
    """pip install, with the versions of KEPT pinned to what is there: pip fails rather than replace them."""
    pins = [f"{name}=={installed(name)}" for name in KEPT if installed(name)]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*command, "--constraint", str(constraints), *lacking], check=True)


def main(arguments: list[str] | None = None) -> int:
    """Prints what is missing, one requirement per line; with --install installs it. Exit code 1: something is missing."""
    parser = argparse.ArgumentParser(prog="python -m cvf20.submission.requirements", description=__doc__.split("\n")[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="optional dependencies to look for as well: test")
    parser.add_argument("--install", action="store_true", help="install what is missing, and nothing else")
    options = parser.parse_args(arguments)
    project = Path(__file__).resolve().parents[2]
    lacking = missing(requirements(project, tuple(options.extras)))
    if lacking and options.install:
        print(f"installing {' '.join(lacking)}", file=sys.stderr)
        install(lacking)
        lacking = []
    print("\n".join(lacking), end="\n" if lacking else "")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
