"""From what is published to what is handed in: dist/submission.ipynb, submission.html, report.pdf and the zip."""

import copy
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat

from cvf20.submission.archive import project_files, size_table, write_zip
from cvf20.submission.cover import training_seconds, unanswered
from cvf20.submission.group import Group, read_group
from cvf20.submission.merge import merge, parts_of
from cvf20.submission.page import page
from cvf20.submission.report import report
from cvf20.submission.tasks import SHEETS, of_sheet
from cvf20.submission.weights import collect, half, read_me
from cvf20.training.results import NOTEBOOKS


def build(
    project: Path,
    sheet: str | None = None,
    *,
    dist: Path | None = None,
    runs: Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Build everything from what is published in `project`; returns the zip's path.

    sheet: one course alone, into dist/<sheet>/; None: all four, into dist/
    runs:  where the weights of finished runs are; default: $CVF20_RUNS, else project/runs
    Raises ValueError where there is nothing to hand in, or where submission.toml, a formula or a picture is at fault.
    What was built before stays as it is until all of the new is there.
    """
    of_sheet(sheet)
    group = read_group(project / "submission.toml")
    paths = [project / "notebooks" / f"{stem}.ipynb" for stem in NOTEBOOKS]
    parts = parts_of([path for path in paths if path.is_file()], sheet)
    if not parts:
        raise ValueError(
            f"notebooks/ answers nothing of {f'sheet {sheet}' if sheet else 'any sheet'}: nothing was built"
        )
    target = (dist or project / "dist") / (sheet or "")
    target.mkdir(parents=True, exist_ok=True)
    for unfinished in target.glob(".new-*"):  # of a build that was killed
        shutil.rmtree(unfinished)
    results = project / "results"
    runs = runs or Path(os.environ.get("CVF20_RUNS") or project / "runs")
    seconds = training_seconds(results, parts)
    merged = merge(parts, group, sheet, seconds)
    with tempfile.TemporaryDirectory(dir=target, prefix=".new-") as name:
        new = Path(name)
        (new / "submission.ipynb").write_text(nbformat.writes(merged) + "\n", encoding="utf-8")
        say("submission.ipynb is merged")
        (new / "submission.html").write_text(page(copy.deepcopy(merged), group.title), encoding="utf-8")
        say("submission.html is set")
        (new / "report.pdf").write_bytes(report(parts, group, sheet, seconds))
        say("report.pdf is set")
        files, left_out = project_files(project, list(parts) if sheet else None)
        files |= {path.name: path for path in new.iterdir()}
        found = list(collect([sheet] if sheet else list(SHEETS), results, runs))
        files |= {best.name: half(best.file) for best, _ in found if best and best.file}
        files["weights/README.md"] = read_me(found).encode()
        archive = f"{group.archive_name(sheet)}.zip"
        write_zip(new / archive, archive.removesuffix(".zip"), files)
        for old in target.glob("*.zip"):
            if old.name != archive:
                old.unlink()  # a draft, or another group's name
        for path in sorted(new.iterdir()):
            path.replace(target / path.name)
    _tell(group, parts, sheet, [line for _, line in found], left_out, say)
    say(size_table(target / archive))
    say(f"built {target / archive}")
    return target / archive


def _tell(group: Group, parts: dict, sheet: str | None, weights: list[str], left_out: list[str], say: Callable) -> None:
    """What the group should know: what is missing, and what it has to fill in."""
    for line in weights:
        say(line)
    for name in left_out:
        say(f"left out: {name}, a kind of file that is not handed in, or a credential")
    if missing := unanswered([section for _, _, those in parts.values() for section in those], sheet):
        say(f"not answered: {', '.join(missing)}")
    if group.draft:
        say("a DRAFT; to mend, fill in submission.toml and build again:")
        for key, value in group.placeholders():
            say(f"  {key} = {value!r}")
