"""What the whole hand-in lacks, beyond what is wrong with single notebooks."""

import re
from collections.abc import Iterator
from pathlib import Path

from cvf20.submission.archive import archive_faults
from cvf20.submission.check import Finding
from cvf20.submission.group import read_group
from cvf20.submission.tasks import SHEETS, TASKS, asked_of
from cvf20.submission.weights import NETWORKS, best_of
from cvf20.training.results import NOTEBOOKS


def project_findings(project: Path) -> Iterator[Finding]:
    """Missing notebooks, placeholders and hours in submission.toml, README's table, best networks, zips in dist/."""
    missing = [stem for stem in NOTEBOOKS if not (project / "notebooks" / f"{stem}.ipynb").is_file()]
    for stem in missing:
        what = f"is missing, and with it answers to {', '.join(asked_of(stem))}"
        yield Finding("error", f"notebooks/{stem}.ipynb", None, what, "write it")
    yield from _group_findings(project / "submission.toml")
    yield from _readme_findings(project / "README.md", [stem for stem in NOTEBOOKS if stem not in missing])
    for sheet in SHEETS:
        best = best_of(sheet, project / "results")
        if best is None:
            yield Finding(
                "note", "results", None, f"sheet {sheet} has no run to choose its best from", "run its notebook"
            )
        elif best.run not in NETWORKS:
            what = f"sheet {sheet}'s best run is {best.run}, for which no line builds the network"
            yield Finding("error", f"results/{best.run}-seed{best.seed}.json", None, what, "add it to weights.NETWORKS")
    for path in sorted(project.glob("dist/**/*.zip")):
        yield from archive_findings(path)


def archive_findings(path: Path) -> Iterator[Finding]:
    for level, what, mend in archive_faults(path):
        yield Finding(level, path.name, None, what, mend)


def _group_findings(path: Path) -> Iterator[Finding]:
    try:
        group = read_group(path)
    except ValueError as error:
        yield Finding("error", path.name, None, str(error), "correct it")
        return
    for key, value in group.placeholders():
        yield Finding("note", path.name, None, f"{key} is {value!r}", "fill it in")
    if hours := group.open_hours():
        yield Finding("note", path.name, None, f"no hours for {', '.join(hours)}", "fill in [hours], e.g. C6 = 3.5")


def _readme_findings(path: Path, stems: list[str]) -> Iterator[Finding]:
    """Every id stands in a row of the table, with a link to each of the notebooks, of those that exist, that answer it."""
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        if match := re.match(r"\|\s*([A-D](?:\d[a-e]?|-t))\s*\|", line):
            rows[match[1]] = line
    for task in TASKS.values():
        wanted = [stem for stem in task.notebooks if stem in stems]
        if wanted and task.id not in rows:
            yield Finding(
                "error", path.name, None, f"does not say where {task.id} is answered", "add a row to its table"
            )
        for stem in wanted if task.id in rows and task.id != "A-t" else ():
            if f"notebooks/{stem}.ipynb" not in rows[task.id]:
                mend = f"link notebooks/{stem}.ipynb in its row"
                yield Finding("error", path.name, None, f"does not link {stem} for {task.id}", mend)
