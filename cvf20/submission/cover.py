"""The first page of the hand-in: who, what, from which sources, and where each task is answered; all of it Markdown."""

import re
from collections.abc import Iterable
from pathlib import Path

from cvf20.show import markdown_table
from cvf20.submission.faults import read_result
from cvf20.submission.group import Group
from cvf20.submission.notebook import number
from cvf20.submission.sections import Section
from cvf20.submission.tasks import SHEETS, TIME, of_sheet


def cover(group: Group, sheet: str | None, seconds: dict[str, float]) -> str:
    """Title, group, who did what, sources, aids, and time. seconds: training seconds per notebook, see `training_seconds`."""
    parts = [f"# {group.title}"]
    if group.draft:
        parts.append("**DRAFT**: `submission.toml` still has places that say FILL IN.")
    exercises = [SHEETS[sheet]] if sheet else list(SHEETS.values())
    parts.append(f"**{group.course}** · {' · '.join(exercises)}")
    parts.append(f"Group: **{group.group}**")
    titles = {"name": "member", "id": "id", "did": "what this member did"}
    members = [{title: _in_a_cell(member[key]) for key, title in titles.items()} for member in group.members]
    parts += [markdown_table(members), "## Sources", _list(group.sources), "## Aids", _list(group.aids)]
    parts += ['<a id="time" name="time"></a>', "## Time", _times(group, sheet, seconds)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _in_a_cell(text: str) -> str:
    """On one line, with every | escaped: as it is, it would end the table's cell."""
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(text.split()))


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"* {item}" for item in items)


def _times(group: Group, sheet: str | None, seconds: dict[str, float]) -> str:
    """Training time per notebook is measured, hours per task are the group's own."""
    rows = [{"notebook": stem, "minutes of training, all runs": round(value / 60)} for stem, value in seconds.items()]
    open_ids = group.open_hours()
    hours = [f"{t.id} {'____' if t.id in open_ids else group.hours[t.id]}" for t in of_sheet(sheet) if t.id != TIME]
    spent = "Hours that the group spent: " + " · ".join(hours)
    return f"{markdown_table(rows)}\n\n{spent}" if rows else spent


def training_seconds(results: Path, stems: Iterable[str]) -> dict[str, float]:
    """Seconds of all runs in results/ per notebook; notebooks without runs are left out. A search counts its trials."""
    total = {}
    for stem in stems:
        files = sorted(results.glob(f"{number(stem)}_*.json"))
        files = [file for file in files if not file.name.startswith(f"{number(stem)}_trial_")]
        values = [result["seconds"] or 0 for file in files if (result := read_result(file))]
        if values:
            total[stem] = sum(values)
    return total


def contents(parts: dict[str, tuple[str, list[Section]]]) -> str:
    """Linked contents by notebook. parts: stem → (title, sections)"""
    lines = ['<a id="contents" name="contents"></a>', "", "## Contents", ""]
    for stem, (title, sections) in parts.items():
        lines.append(f"* [{title}](#{part_anchor(stem)})")
        lines += [f"    * [{section.title}](#{section.anchor})" for section in sections]
    return "\n".join(lines) + "\n"


def contents_by_sheet(sections: list[Section], sheet: str | None = None) -> str:
    """Every id of the sheet, linked to each section that answers it; what is not answered is said."""
    lines = ["## Where each task is answered"]
    for letter in SHEETS if sheet is None else [sheet]:
        rows = []
        for task in of_sheet(letter):
            links = ["[cover](#time)"] if task.id == TIME else []
            links += [f"[{number(s.stem)}](#{s.anchor})" for s in sections if task.id in s.ids]
            rows.append({"id": task.id, "task": task.title, "where": " · ".join(links) or "not answered"})
        lines += [f"### {letter} · {SHEETS[letter]}", markdown_table(rows)]
    return "\n\n".join(lines) + "\n"


def unanswered(sections: Iterable[Section], sheet: str | None = None) -> list[str]:
    """Ids of the sheet that no section answers; the times stand on the cover."""
    answered = {TIME, *(id for section in sections for id in section.ids)}
    return [task.id for task in of_sheet(sheet) if task.id not in answered]


def part_anchor(stem: str) -> str:
    return f"part-{number(stem) or stem}"
