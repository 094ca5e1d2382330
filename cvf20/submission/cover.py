"""submission.toml, and what it puts on the first page: who hands in what, from which sources, and where it is answered."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from cvf20.submission.merge import Section
from cvf20.submission.notebook import SHEETS, TASKS, TIME, number, of_sheet, render
from cvf20.training.results import read_result

EMPTY = dict(course="", title="", group="", repository="", members=[], sources=[], aids=[], hours={})


def read_group(path: Path) -> dict:
    """The content of submission.toml. Raises ValueError, naming the key, for what is unknown, missing or of another kind."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    group, faults = EMPTY | given, [f"unknown {key}" for key in given if key not in EMPTY]
    for key, empty in EMPTY.items():
        if not isinstance(group[key], type(empty)) or key in ("course", "title", "group") and not group[key].strip():
            faults.append(f"{key} is {group[key]!r}, wanted a {type(empty).__name__}")
    faults += [f"hours for {id}, which is no task" for id in group["hours"] if id not in TASKS]
    complete = [isinstance(m, dict) and m.keys() == {"name", "id", "did"} and all(m.values()) for m in group["members"]]
    if sum(complete) not in (2, 3) or not all(complete):
        faults.append(f"{sum(complete)} of {len(complete)} members are complete, wanted two or three")
    if "@" in str(group["repository"]):
        faults.append("repository holds a name or a password, and goes into the zip")
    if faults:
        raise ValueError(f"{path.name}: {'; '.join(faults)}")
    return group


def placeholders(group: dict) -> list[str]:
    """Every text that is still to be filled in; hours may stay open."""
    texts = [*(group[key] for key in ("course", "title", "group", "repository")), *group["sources"], *group["aids"]]
    return [text for text in [*texts, *(v for m in group["members"] for v in m.values())] if "FILL IN" in text]


def archive_name(group: dict, sheet: str | None) -> str:
    """<course>_<ids>; DRAFT in it while a placeholder is left."""
    ids = [member["id"] for member in group["members"] if "FILL IN" not in member["id"]]
    parts = [group["course"], sheet or "", "DRAFT" * bool(placeholders(group)), *ids]
    return "_".join(re.sub(r"[^\w-]+", "-", part).strip("-") for part in parts if part)


def cover(group: dict, sections: list[Section], sheet: str | None, seconds: dict[str, float]) -> list[str]:
    """Markdown of three cells: cover, contents, contents by sheet. seconds: see `training_seconds`."""
    sheets = {letter: title for letter, title in SHEETS.items() if sheet in (None, letter)}
    answers = {id: [f"[{number(s.stem)}](#{s.anchor})" for s in sections if id in s.ids] for id in TASKS}
    answers[TIME].insert(0, "[cover](#time)")
    hours = [f"{task.id} {group['hours'].get(task.id, '____')}" for task in of_sheet(sheet) if task.id != TIME]
    known = dict(group=group, draft=placeholders(group), exercises=sheets.values(), seconds=seconds, hours=hours)
    by_sheet = {f"{letter} · {title}": of_sheet(letter) for letter, title in sheets.items()}
    text = render("cover.md", sections=sections, answers=answers, sheets=by_sheet, **known)
    return text.split("<!-- next cell -->\n")


def training_seconds(results: Path, stems: Iterable[str]) -> dict[str, float]:
    """Seconds of all runs in results/ per notebook; notebooks without runs are left out. A search counts its trials."""
    files = {stem: [f for f in results.glob(f"{number(stem)}_*.json") if "_trial_" not in f.name] for stem in stems}
    total = {stem: sum(read_result(file)[0].get("seconds") or 0 for file in these) for stem, these in files.items()}
    return {stem: seconds for stem, seconds in total.items() if seconds}
