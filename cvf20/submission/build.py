"""From what is published to what is handed in: dist/submission.ipynb, submission.html, report.pdf and the zip."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat

from cvf20.submission.archive import project_files, write_zip
from cvf20.submission.check import check, is_error
from cvf20.submission.cover import archive_name, cover, placeholders, read_group, training_seconds
from cvf20.submission.merge import merge, sections_of
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
    sections = sections_of(list(books.values()), sheet)
    stems = list(dict.fromkeys(section.stem for section in sections))
    if not sections:
        raise ValueError(f"notebooks/ answers nothing of {f'sheet {sheet}' if sheet else 'any sheet'}")
    paths = [path for path in books.values() if path.stem in stems]
    findings = [*project_findings(project, sheet), *(each for path in paths for each in check(path, project))]
    if errors := list(filter(is_error, findings)):
        raise ValueError("\n".join(["the check found errors, nothing was built", *errors]))
    first = cover(group, sections, sheet, training_seconds(project / "results", stems))
    merged = merge(sections, first, group["repository"])
    files, left_out = project_files(project, set(books) - {number(stem) for stem in stems})
    target, archive = (dist or project / "dist") / (sheet or ""), archive_name(group, sheet)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".new-") as name:
        new = Path(name)
        (new / "submission.ipynb").write_text(nbformat.writes(merged) + "\n", encoding="utf-8")
        (new / "submission.html").write_text(page(merged, group["title"]), encoding="utf-8")
        (new / "report.pdf").write_bytes(
            report(sections, first[0], group["title"], archive_name(group, sheet)[:-4], sheet)
        )
        write_zip(new / archive, files | {path.name: path for path in new.iterdir()})
        for path in sorted(new.iterdir()):
            os.replace(path, target / path.name)
    for draft in target.glob("*_DRAFT*.zip") if "_DRAFT" not in archive else ():
        draft.unlink()
    for line in [*sorted(findings), *(f"left out of the zip: {name}" for name in left_out)]:
        say(line)
    say(f"built {target / archive}, {(target / archive).stat().st_size / 1e6:.1f} MB")
    return target / archive


def project_findings(project: Path, sheet: str | None = None) -> list[str]:
    """What the whole hand-in lacks: notebooks, answers, what is to be filled in, weights."""
    books, left_out = find_notebooks(project / "notebooks")
    found, stems = [f"note: notebooks/{line}" for line in left_out], {path.stem for path in books.values()}
    if lacking := [stem for stem in NOTEBOOKS if stem not in stems and (not sheet or sheet in str(asked_of(stem)))]:
        found.append(f"note: notebooks: {', '.join(lacking)} missing, and the answers in it. To mend: write it")
    try:
        group = read_group(project / "submission.toml")
        if texts := placeholders(group):
            found.append(f"note: submission.toml: a DRAFT: {'; '.join(texts)}. To mend: fill them in, then build again")
        if hours := [task.id for task in of_sheet(sheet) if task.id not in (TIME, *group["hours"])]:
            found.append(f"note: submission.toml: no hours for {', '.join(hours)}. To mend: in [hours], e.g. C6 = 3.5")
    except ValueError as error:
        found.append(f"error: {error}. To mend: correct it")
    return found + missing(project, [sheet] if sheet else list(SHEETS))
