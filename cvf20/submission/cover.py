"""submission.toml, and what it puts on the first page: who hands in what, from which sources, and where it is answered."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from cvf20.show import markdown_table
from cvf20.submission.archive import is_private
from cvf20.submission.check import read_result
from cvf20.submission.merge import Section
from cvf20.submission.notebook import number
from cvf20.submission.tasks import SHEETS, TASKS, TIME, of_sheet

PLACEHOLDER = "FILL IN"
MEMBER = {"name": "member", "id": "id", "did": "what this member did"}
KINDS = dict(course=str, title=str, group=str, repository=str, members=list, sources=list, aids=list, hours=dict)


def read_group(path: Path) -> dict:
    """The content of submission.toml. Raises ValueError, naming the key, for what is unknown, missing or of another type."""
    try:
        text = path.read_text(encoding="utf-8")
        group = tomllib.loads(text)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    found = [f"unknown {key}" for key in group if key not in KINDS]
    found += [f"lacks {key}" for key in ("course", "title", "group", "members") if not group.get(key)]
    found += [
        f"{k} is {group[k]!r}, wanted a {kind.__name__}"
        for k, kind in KINDS.items()
        if not isinstance(group.get(k, kind()), kind)
    ]
    group = {**{key: kind() for key, kind in KINDS.items()}, **group}
    found += [f"hours for {id}, which is no task" for id in set(group["hours"]) - set(TASKS)]
    if not found:
        members = group["members"]
        found += [f"{len(members)} members, wanted two or three"] if len(members) not in (2, 3) else []
        complete = [
            isinstance(m, dict) and m.keys() == MEMBER.keys() and all(isinstance(v, str) and v for v in m.values())
            for m in members
        ]
        found += [
            f"member {place} wants the texts {', '.join(MEMBER)}" for place, ok in enumerate(complete, 1) if not ok
        ]
    if is_private(path.name, text.encode()):
        found.append("holds a password, key or token, and all of it goes into the zip")
    if found:
        raise ValueError(f"{path.name}: {'; '.join(found)}")
    return group


def placeholders(group: dict) -> list[str]:
    """Every text that is still to be filled in; hours may stay open."""
    texts = [group[key] for key in ("course", "title", "group", "repository")] + group["sources"] + group["aids"]
    return [text for text in texts + [v for m in group["members"] for v in m.values()] if PLACEHOLDER in str(text)]


def archive_name(group: dict, sheet: str | None) -> str:
    """<course>_<ids>; DRAFT in it while a placeholder is left."""
    ids = [member["id"] for member in group["members"] if PLACEHOLDER not in member["id"]]
    parts = [group["course"], sheet or "", "DRAFT" if placeholders(group) else "", *ids]
    return "_".join(re.sub(r"[^\w-]+", "-", part).strip("-") for part in parts if part)


def cover(group: dict, sheet: str | None, seconds: dict[str, float]) -> str:
    """Title, group, who did what, sources, aids, and time. seconds: training seconds per notebook, see `training_seconds`."""
    exercises = [name for letter, name in SHEETS.items() if sheet in (None, letter)]
    pieces = [f"# {group['title']}"]
    if placeholders(group):
        pieces.append(f"**DRAFT**: `submission.toml` still has places that say {PLACEHOLDER}.")
    pieces += [f"**{group['course']}** · {' · '.join(exercises)}", f"Group: **{group['group']}**"]
    pieces.append(markdown_table([{MEMBER[k]: _in_a_cell(v) for k, v in m.items()} for m in group["members"]]))
    for title in ("sources", "aids"):
        pieces += [f"## {title.capitalize()}", "\n".join(f"* {item}" for item in group[title])]
    pieces += ['<a id="time" name="time"></a>', "## Time"]
    if seconds:
        pieces.append(
            markdown_table(
                [{"notebook": n, "minutes of training, all runs": round(s / 60)} for n, s in seconds.items()]
            )
        )
    hours = [f"{task.id} {group['hours'].get(task.id, '') or '____'}" for task in of_sheet(sheet) if task.id != TIME]
    return "\n\n".join([*pieces, f"Hours that the group spent: {' · '.join(hours)}"]) + "\n"


def _in_a_cell(text: str) -> str:
    """On one line, with every | escaped: as it is, it would end the table's cell."""
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(text.split()))


def training_seconds(results: Path, stems: Iterable[str]) -> dict[str, float]:
    """Seconds of all runs in results/ per notebook; notebooks without runs are left out. A search counts its trials."""
    total = {}
    for stem in stems:
        files = sorted(results.glob(f"{number(stem)}_*.json"))
        files = [file for file in files if not file.name.startswith(f"{number(stem)}_trial_")]
        if values := [result["seconds"] or 0 for result, _ in map(read_result, files) if result]:
            total[stem] = sum(values)
    return total


def contents(parts: dict[str, list[Section]]) -> str:
    """Linked contents by notebook."""
    lines = ['<a id="contents" name="contents"></a>', "", "## Contents", ""]
    for front, *sections in parts.values():
        lines.append(f"* [{front.title}](#{front.anchor})")
        lines += [f"    * [{section.title}](#{section.anchor})" for section in sections]
    return "\n".join(lines) + "\n"


def contents_by_sheet(parts: dict[str, list[Section]], sheet: str | None = None) -> str:
    """Every id of the sheet, linked to each section that answers it; what is not answered is said."""
    sections = [section for those in parts.values() for section in those]
    pieces = ["## Where each task is answered"]
    for letter in [sheet] if sheet else SHEETS:
        rows = []
        for task in of_sheet(letter):
            links = ["[cover](#time)"] if task.id == TIME else []
            links += [f"[{number(s.stem)}](#{s.anchor})" for s in sections if task.id in s.ids]
            rows.append({"id": task.id, "task": task.title, "where": " · ".join(links) or "not answered"})
        pieces += [f"### {letter} · {SHEETS[letter]}", markdown_table(rows)]
    return "\n\n".join(pieces) + "\n"
