"""The zip: what of the project goes in, always the same bytes from the same files."""

import zipfile
from pathlib import Path

from cvf20.submission.notebook import number

FILES = ("README.md", "LICENSE", "pyproject.toml", "environment.yml", "run_all.sh", "run_tests.sh", "submission.toml")
NUMBERED = ("notebooks", "figures", "results")
FOLDERS = ("cvf20", "scripts", "tests", "benchmarks", "weights", *NUMBERED)
SUFFIXES = set(".py .sh .md .txt .toml .yml .css .typ .lua .ipynb .png .jpg .svg .json .csv .npz .npy .tif .pt".split())


def project_files(project: Path, others: set[str]) -> tuple[dict[str, Path], list[str]]:
    """(name in the zip → file, names that were left out although they stand in an included folder).

    others: numbers of the notebooks that are not handed in. Links, hidden files and caches are passed over.
    """
    files = [project / name for name in (*FILES, "data/README.md")]
    files += [path for folder in FOLDERS for path in sorted((project / folder).rglob("*"))]
    found, left_out = {}, []
    for path in [path for path in files if path.is_file()]:
        inside = path.relative_to(project)
        linked = any((project / each).is_symlink() for each in (inside, *inside.parents))
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        other = inside.parts[0] in NUMBERED and number(inside.parts[1]) in others
        if not linked and not hidden and not other:
            trained = path.suffix == ".pt" and inside.parts[0] != "weights"
            if (path.suffix in SUFFIXES or path.name in FILES) and not trained:
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
