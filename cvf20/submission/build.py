"""From what is published to what is handed in: dist/submission.ipynb, submission.html, report.pdf and the zip."""

import os
import shutil
import tempfile
from pathlib import Path

import nbformat

from cvf20.submission.check import check, is_error
from cvf20.submission.cover import archive_name, cover, placeholders, read_group, training_seconds
from cvf20.submission.merge import merge, sections_of
from cvf20.submission.notebook import SHEETS, TIME, find_notebooks, of_sheet
from cvf20.submission.pages import page, report
from cvf20.submission.publish import missing
from cvf20.training.results import NOTEBOOKS


def build(project: Path, sheet: str | None = None) -> Path:
    """Check, then build everything from what is published in `project`; returns the zip's path.

    sheet: one course alone, into dist/<sheet>/. What was built before stays as it is until all of the new is there.
    Raises ValueError where the check finds an error, where there is nothing to hand in, or submission.toml is at fault.
    """
    group = read_group(project / "submission.toml")
    books, _ = find_notebooks(project / "notebooks")
    sections = sections_of(list(books.values()), sheet)
    if not sections:
        raise ValueError(f"notebooks/ answers nothing of {f'sheet {sheet}' if sheet else 'any sheet'}")
    chosen = {name: path for name, path in books.items() if any(section.stem == path.stem for section in sections)}
    findings = [*project_findings(project, sheet), *(each for path in chosen.values() for each in check(path, project))]
    if errors := list(filter(is_error, findings)):
        raise ValueError("\n".join(["the check found errors, nothing was built", *errors]))
    seconds = training_seconds(project / "results", [path.stem for path in chosen.values()])
    first, name = cover(group, sections, sheet, seconds), archive_name(group, sheet)
    target = project / "dist" / (sheet or "")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".new-") as new:
        folder = Path(new) / name
        left_out = [f"{other}_*" for other in books if other not in chosen]
        left_out += [path.name for path in (project / "notebooks").glob("*.ipynb") if path not in chosen.values()]
        _copy_project(project, folder, left_out)
        merged = merge(sections, first, group["repository"])
        (folder / "submission.ipynb").write_text(nbformat.writes(merged) + "\n", encoding="utf-8")
        (folder / "submission.html").write_text(page(merged, group["title"]), encoding="utf-8")
        (folder / "report.pdf").write_bytes(report(sections, first[0], group["title"], name, sheet))
        archive = shutil.make_archive(str(folder), "zip", new, name)
        for file in ("submission.ipynb", "submission.html", "report.pdf", archive):
            os.replace(folder / file, target / Path(file).name)  # an absolute path stands alone
    for draft in target.glob("*_DRAFT*.zip") if "_DRAFT" not in name else ():
        draft.unlink()
    archive = target / f"{name}.zip"
    print(*sorted(findings), f"built {archive}, {archive.stat().st_size / 1e6:.1f} MB", sep="\n", flush=True)
    return archive


def _copy_project(project: Path, folder: Path, left_out: list[str]) -> None:
    """All of it but data sets, links, environments, what is hidden, cached or can be made again, and `left_out`."""
    by_name = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", *left_out)

    def ignored(place: str, names: list[str]) -> set[str]:
        here = Path(place)
        other = {name for name in names if (here / name).is_symlink() or (here / name / "pyvenv.cfg").is_file()}
        if here == project:
            other |= {"build", "dist", "runs"}
        elif here == project / "data":
            other |= set(names) - {"README.md"}
        return other | by_name(place, names)

    shutil.copytree(project, folder, ignore=ignored)


def project_findings(project: Path, sheet: str | None = None) -> list[str]:
    """What the whole hand-in lacks: notebooks, answers, what is to be filled in, weights."""
    books, left_out = find_notebooks(project / "notebooks")
    found = [f"note: notebooks/{line}" for line in left_out]
    tasks = [task for task in of_sheet(sheet) if task.id != TIME]
    due = {number for task in tasks for number in task.notebooks} - set(books)
    if lacking := [stem for stem in NOTEBOOKS if stem[:2] in due]:
        found.append(f"note: notebooks: {', '.join(lacking)} missing, and the answers in it. To mend: write it")
    try:
        group = read_group(project / "submission.toml")
    except ValueError as error:
        return [*found, f"error: {error}. To mend: correct it"]
    if texts := placeholders(group):
        found.append(f"note: submission.toml: a DRAFT: {'; '.join(texts)}. To mend: fill them in, then build again")
    if hours := [task.id for task in tasks if task.id not in group["hours"]]:
        found.append(f"note: submission.toml: no hours for {', '.join(hours)}. To mend: in [hours], e.g. C6 = 3.5")
    return found + missing(project, [sheet] if sheet else list(SHEETS))
