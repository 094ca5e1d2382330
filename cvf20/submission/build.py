"""From what is published to what is handed in: dist/submission.ipynb, submission.html, report.pdf and the zip."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat

from cvf20.submission.archive import project_files, write_zip
from cvf20.submission.check import Finding, check
from cvf20.submission.cover import (
    archive_name,
    contents,
    contents_by_sheet,
    cover,
    placeholders,
    read_group,
    training_seconds,
)
from cvf20.submission.merge import merge, parts_of
from cvf20.submission.notebook import find_notebooks, number
from cvf20.submission.pages import page, report
from cvf20.submission.tasks import SHEETS, TIME, asked_of, of_sheet
from cvf20.submission.weights import missing
from cvf20.training.results import NOTEBOOKS


def build(project: Path, sheet: str | None = None, *, dist: Path | None = None, say: Callable = print) -> Path:
    """Check, then build everything from what is published in `project`; returns the zip's path.

    sheet: one course alone, into dist/<sheet>/; None: all four, into dist/
    Raises ValueError where the check finds an error, where there is nothing to hand in, or submission.toml is at fault.
    What was built before stays as it is until all of the new is there.
    """
    of_sheet(sheet)
    group = read_group(project / "submission.toml")
    books, _ = find_notebooks(project / "notebooks")
    parts = parts_of(list(books.values()), sheet)
    if not parts:
        raise ValueError(
            f"notebooks/ answers nothing of {f'sheet {sheet}' if sheet else 'any sheet'}: nothing was built"
        )
    paths = [path for path in books.values() if path.stem in parts]
    findings = [*check(paths, project / "figures", project / "results"), *project_findings(project, sheet)]
    if errors := [str(finding) for finding in findings if finding.level == "error"]:
        raise ValueError("\n".join(["the check found errors, nothing was built", *errors]))
    first = cover(group, sheet, training_seconds(project / "results", parts))
    merged = merge(parts, [first, contents(parts), contents_by_sheet(parts, sheet)], group["repository"])
    files, left_out = project_files(project)
    if sheet:  # without what the other notebooks made
        others = {number(path.name) for path in books.values()} - {number(path.name) for path in paths}
        numbered = [name for name in files if name.split("/")[0] in ("notebooks", "figures", "results")]
        files = {n: path for n, path in files.items() if n not in numbered or number(n.split("/")[1]) not in others}
    target = (dist or project / "dist") / (sheet or "")
    target.mkdir(parents=True, exist_ok=True)
    archive = f"{archive_name(group, sheet)}.zip"
    with tempfile.TemporaryDirectory(dir=target, prefix=".new-") as name:
        new = Path(name)
        (new / "submission.ipynb").write_text(nbformat.writes(merged) + "\n", encoding="utf-8")
        (new / "submission.html").write_text(page(merged, group["title"]), encoding="utf-8")
        course = group["course"] + (" · DRAFT" if placeholders(group) else "")
        (new / "report.pdf").write_bytes(report(parts, first, group["title"], course, sheet))
        write_zip(new / archive, files | {path.name: path for path in new.iterdir()})
        for path in sorted(new.iterdir()):
            os.replace(path, target / path.name)
    for old in target.glob("*.zip"):
        if old.name != archive and old.name.startswith(group["course"]):
            old.unlink()  # a draft of the same
    for line in [*map(str, findings), *(f"left out of the zip: {name}" for name in left_out)]:
        say(line)
    say(f"built {target / archive}, {(target / archive).stat().st_size / 1e6:.1f} MB")
    return target / archive


def project_findings(project: Path, sheet: str | None = None) -> list[Finding]:
    """What the whole hand-in lacks: notebooks, answers, what is to be filled in, weights."""
    books, left_out = find_notebooks(project / "notebooks")
    found = [("note", "notebooks", line, "") for line in left_out]
    if lacking := [] if sheet else [stem for stem in NOTEBOOKS if stem not in {path.stem for path in books.values()}]:
        ids = sorted({id for stem in lacking for id in asked_of(stem)} - {TIME})
        found.append(("note", "notebooks", f"{', '.join(lacking)} missing, and with it {', '.join(ids)}", "write it"))
    try:
        group = read_group(project / "submission.toml")
        if texts := placeholders(group):
            found.append(("note", "submission.toml", f"a DRAFT: {'; '.join(texts)}", "fill them in, then build again"))
        if hours := [task.id for task in of_sheet(sheet) if task.id != TIME and not group["hours"].get(task.id)]:
            found.append(
                ("note", "submission.toml", f"no hours for {', '.join(hours)}", "fill in [hours], e.g. C6 = 3.5")
            )
    except ValueError as error:
        found.append(("error", "submission.toml", str(error), "correct it"))
    found += [(level, "weights", *rest) for level, *rest in missing(project, [sheet] if sheet else list(SHEETS))]
    return [Finding(level, place, None, what, mend) for level, place, what, mend in found]
