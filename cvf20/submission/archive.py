"""The zip: what of the project goes in, always the same bytes from the same files, and whether a finished one is whole."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

FILES = ("README.md", "LICENSE", "pyproject.toml", "environment.yml", "run_all.sh", "run_tests.sh", "submission.toml")
FILES += ("data/README.md",)
FOLDERS = ("cvf20", "scripts", "tests", "benchmarks", "notebooks", "figures", "results", "weights")
SUFFIXES = {*".py .sh .md .txt .toml .yml .css .typ .lua .ipynb .png .jpg .svg .json .csv .npz .npy .tif .pt".split()}
BUILT = ("submission.ipynb", "submission.html", "report.pdf")
PRIVATE_NAME = re.compile(
    r"credential|secret|passw|token|netrc|kaggle\.json|id_rsa|api.?key|service.?account|\.pem$|\.key$", re.IGNORECASE
)
PRIVATE_TEXT = (
    re.compile(  # private keys, access keys of AWS, GitHub and Hugging Face, and user:password@ in an address
        rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|\bhf_\w{30,99}"
        rb"|://[^/\s:@\"'<>]{1,200}:[^/\s@\"'<>]{1,200}@"
    )
)


def is_private(name: str, content: bytes) -> bool:
    """Whether a file looks like a credential, or holds one. name: its path inside the project."""
    text = not name.endswith((".png", ".jpg", ".tif", ".pdf", ".pt", ".npz", ".npy"))
    return bool(PRIVATE_NAME.search(name) or text and PRIVATE_TEXT.search(content))


def project_files(project: Path) -> tuple[dict[str, Path], list[str]]:
    """(name in the zip → file, names that were left out although they stand in an included folder).

    Links, hidden files and caches are passed over, credentials and unknown kinds left out.
    """
    files = [project / name for name in FILES]
    files += [path for folder in FOLDERS for path in sorted((project / folder).rglob("*"))]
    found, left_out = {}, []
    for path in files:
        inside = path.relative_to(project)
        linked = any((project / each).is_symlink() for each in (inside, *inside.parents))
        if path.is_file() and not linked and not any(p.startswith(".") or p == "__pycache__" for p in inside.parts):
            good = path.suffix in SUFFIXES or path.name in FILES
            good = good and (path.suffix != ".pt" or inside.parts[0] == "weights")
            if good and not is_private(inside.as_posix(), path.read_bytes()):
                found[inside.as_posix()] = path
            else:
                left_out.append(inside.as_posix())
    return found, left_out


def write_zip(target: Path, contents: dict[str, Path]) -> None:
    """All contents below one folder; sorted, without times, so that the same files give the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(f"{target.stem}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # as on Unix, whatever this is, so that the mode counts
            entry.external_attr = (0o100755 if name.endswith(".sh") else 0o100644) << 16
            archive.writestr(entry, contents[name].read_bytes())


def zip_findings(path: Path) -> Iterator[tuple[str, str, str]]:
    """(level, what, how to mend) for a zip as it would be handed in."""
    again = "build it: python -m cvf20.submission build"
    try:
        with zipfile.ZipFile(path) as archive:
            broken, names = archive.testzip(), archive.namelist()
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:  # RuntimeError: encrypted
        yield "error", f"is no whole zip ({error})", again
        return
    below = {"/".join(PurePosixPath(name).parts[1:]) for name in names}
    if broken:
        yield "error", f"{broken} is damaged", again
    if lacking := [name for name in (*BUILT, "pyproject.toml", "cvf20/__init__.py") if name not in below]:
        yield "error", f"lacks {', '.join(lacking)}", again
    if path.stat().st_size > 100e6:
        yield "note", f"{path.stat().st_size / 1e6:.0f} MB, more than many uploads take", "build one sheet: --sheet B"
