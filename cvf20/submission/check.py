"""A grader's eye on executed notebooks, their figures and their results; every finding says how to mend it."""

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from cvf20.submission.faults import figure_faults, file_faults, output_faults, result_faults, source_faults, task_faults
from cvf20.submission.notebook import number, read, texts

NAMED = {
    "figures": re.compile(r"figures/(\d\d_[\w*?.-]*\.(?:png|svg))"),
    "results": re.compile(r"results/(\d\d_[\w*?.-]*\.json)"),
}


@dataclass(frozen=True)
class Finding:
    """level: "error" or "note"; cell: counted from 1, None where it is the whole file."""

    level: str
    file: str
    cell: int | None
    what: str
    mend: str

    def __str__(self) -> str:
        place = self.file if self.cell is None else f"{self.file}, cell {self.cell}"
        return f"{self.level}: {place}: {self.what}. To mend: {self.mend}"


def check(paths: list[Path], figures_dir: Path, results_dir: Path, draft: bool = False) -> list[Finding]:
    """Findings in the notebooks `paths` and in those figures and results whose numbers are theirs.

    draft: what marks a quick or synthetic run is a note, not an error
    """
    findings, books = [], {}
    for path in sorted(paths):
        try:
            books[path] = read(path)
        except (OSError, ValueError) as error:
            findings.append(Finding("error", _label(path), None, str(error), "restore the file"))
    for path, nb in books.items():
        faults = [*file_faults(path), *source_faults(nb), *task_faults(nb, path.stem), *output_faults(nb, draft)]
        findings += [Finding(level, _label(path), *rest) for level, *rest in faults]
    numbers = {number(path.name) for path in books}
    siblings = {number(path.name) for folder in {path.parent for path in paths} for path in folder.glob("*.ipynb")}
    for kind, folder in (("figures", figures_dir), ("results", results_dir)):
        files = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
        for path in files:
            if number(path.name) in numbers:
                faults = figure_faults(path) if kind == "figures" else result_faults(path, draft)
                findings += [Finding(level, _label(path), *rest) for level, *rest in faults]
            elif number(path.name) not in siblings and path.suffix != ".md":
                mend = "remove it, or name it NN_… after its notebook"
                findings.append(Finding("error", _label(path), None, "belongs to no notebook", mend))
        findings += _naming_faults(books, [path.name for path in files], kind, numbers)
    return findings


def _label(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _naming_faults(books: dict[Path, NotebookNode], files: list[str], kind: str, numbers: set) -> Iterator[Finding]:
    """Every file of this kind is named in a notebook, and every name has its file; a name may hold * and ?."""
    patterns = set()
    for path, nb in books.items():
        for place, cell in enumerate(nb.cells, start=1):
            for text in (cell.source, *texts(cell.get("outputs", []))):
                for name in sorted(set(NAMED[kind].findall(text)) - patterns):
                    patterns.add(name)
                    if not fnmatch.filter(files, name):
                        what = f"names {kind}/{name}, which is missing"
                        yield Finding("error", _label(path), place, what, "run the notebook again, or correct the name")
    suffixes = (".png", ".svg") if kind == "figures" else (".json",)
    for name in files:
        if number(name) in numbers and name.endswith(suffixes):
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                mend = "name it where it is shown, or remove it"
                yield Finding("error", f"{kind}/{name}", None, "is named in no notebook", mend)
