"""The zip: what of the project goes in, always the same bytes from the same files, and what a finished one must be."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cvf20.show import markdown_table
from cvf20.submission.group import PLACEHOLDER
from cvf20.submission.notebook import number
from cvf20.submission.private import is_private
from cvf20.training.results import NOTEBOOKS

FILES = ("README.md", "LICENSE", "pyproject.toml", "environment.yml", "run_all.sh", "run_tests.sh", "submission.toml")
FILES += ("data/README.md",)
FOLDERS = ("cvf20", "scripts", "tests", "benchmarks")
NUMBERED = ("notebooks", "figures", "results")
SUFFIXES = {".py", ".sh", ".md", ".txt", ".toml", ".yml", ".css", ".typ", ".ipynb", ".png", ".svg", ".json", ".csv"}
BUILT = ("submission.ipynb", "submission.html", "report.pdf")
TOO_BIG = 100e6  # many a course's upload takes no more
AGAIN = "build it: python -m cvf20.submission build"

Content = Path | bytes


def project_files(project: Path, stems: list[str] | None = None) -> tuple[dict[str, Content], list[str]]:
    """(name in the zip → file, names that were left out although they stand in an included folder).

    stems: notebooks whose files go in; None: all. Links, hidden files and caches are passed over, credentials left out.
    """
    numbers = {number(stem) for stem in (NOTEBOOKS if stems is None else stems)}
    found, left_out = {}, []
    for name in FILES:
        if (project / name).is_file() and not (project / name).is_symlink():
            found[name] = project / name
    for folder in (*FOLDERS, *NUMBERED):
        for path in sorted((project / folder).rglob("*")):
            inside = path.relative_to(project)
            if not path.is_file() or _passed_over(project, inside):
                continue
            if folder in NUMBERED and number(inside.parts[1]) not in numbers:
                continue
            if path.suffix in SUFFIXES:
                found[inside.as_posix()] = path
            else:
                left_out.append(inside.as_posix())
    private = [name for name, path in found.items() if is_private(name, path.read_bytes())]
    return {name: path for name, path in found.items() if name not in private}, left_out + private


def _passed_over(project: Path, inside: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
    return hidden or any((project / each).is_symlink() for each in (inside, *inside.parents))


def write_zip(target: Path, folder: str, contents: dict[str, Content]) -> None:
    """All contents below `folder`; sorted, without times, so that the same files give the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(contents):
            content = contents[name]
            entry = zipfile.ZipInfo(f"{folder}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # as on Unix, whatever this is, so that the mode counts
            entry.external_attr = (0o100755 if name.endswith(".sh") else 0o100644) << 16
            archive.writestr(entry, content if isinstance(content, bytes) else content.read_bytes())


def size_table(path: Path) -> str:
    """Files and megabytes of every top-level part of a zip, unpacked and packed, as Markdown."""
    parts: dict[str, list[int]] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            below = PurePosixPath(entry.filename).parts[1:]
            sums = parts.setdefault(below[0] + "/" * (len(below) > 1), [0, 0, 0])
            for place, amount in enumerate((1, entry.file_size, entry.compress_size)):
                sums[place] += amount
    rows = [(name, *sums) for name, sums in sorted(parts.items(), key=lambda item: -item[1][2])]
    rows.append(("together", *map(sum, zip(*parts.values(), strict=True))))
    return markdown_table(
        [{"part": n, "files": count, "MB": f"{a / 1e6:.2f}", "MB packed": f"{b / 1e6:.2f}"} for n, count, a, b in rows]
    )


def archive_faults(path: Path) -> Iterator[tuple[str, str, str]]:
    """(level, what, how to mend) for a zip as it would be handed in."""
    if path.suffix != ".zip" or not zipfile.is_zipfile(path):
        yield "error", "is no zip", AGAIN
        return
    try:
        with zipfile.ZipFile(path) as archive:
            yield from _content_faults(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:  # RuntimeError: encrypted
        yield "error", f"is damaged ({error})", AGAIN
        return
    if path.stat().st_size > TOO_BIG:
        yield "note", f"{path.stat().st_size / 1e6:.0f} MB, more than many uploads take", "build one sheet: --sheet B"


def _content_faults(archive: zipfile.ZipFile) -> Iterator[tuple[str, str, str]]:
    """The faults of what is inside. Where the zip is damaged, zipfile raises whatever it comes upon."""
    if broken := archive.testzip():
        yield "error", f"{broken} is damaged", AGAIN
        return
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    folders = {PurePosixPath(name).parts[0] for name in names}
    if len(folders) != 1 or any(len(PurePosixPath(name).parts) == 1 for name in names):
        yield "error", f"unpacks into {', '.join(sorted(folders)[:3])} …, not into one folder", AGAIN
        return
    below = {str(PurePosixPath(*PurePosixPath(name).parts[1:])): name for name in names}
    for wanted in (*BUILT, "pyproject.toml", "cvf20/__init__.py"):
        if wanted not in below:
            yield "error", f"lacks {wanted}", AGAIN
    for name in names:
        parts = PurePosixPath(name).parts
        if any(part.startswith(".") or part in ("__pycache__", "__MACOSX") for part in parts) or name[0] == "/":
            yield "error", f"holds {name}, which is hidden, a cache, or leads out", AGAIN
        elif is_private("/".join(parts[1:]), archive.read(name)):
            yield "error", f"holds {name}, which looks like a credential or contains one", "leave it out"
        elif parts[-1] in ("last.pt", "best.pt") or parts[-1].startswith("events.out"):
            yield "error", f"holds {name}, an intermediate of training", AGAIN
    links = [entry.filename for entry in archive.infolist() if (entry.external_attr >> 16) & 0o170000 == 0o120000]
    for name in links:
        yield "error", f"holds {name}, a symbolic link", AGAIN
    toml = archive.read(below["submission.toml"]).decode(errors="replace") if "submission.toml" in below else ""
    values = [line.split("#")[0] if line.lstrip().startswith("#") else line for line in toml.splitlines()]
    if "DRAFT" in Path(archive.filename).name or any(PLACEHOLDER in line for line in values):
        yield "note", "is a DRAFT", f"fill in what says {PLACEHOLDER} in submission.toml, then build again"
