"""submission.toml: who hands in what, with which aids; placeholders in it make the hand-in a draft."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from cvf20.submission.private import is_private
from cvf20.submission.tasks import TASKS

PLACEHOLDER = "FILL IN"
_MEMBER = ("name", "id", "did")


@dataclass(frozen=True)
class Group:
    """The content of submission.toml.

    course, title: on the cover; course also begins the zip's name
    repository:    git address that Colab clones; empty: Colab takes the zip
    members:       two or three of {name, id, did}
    sources, aids: what was built on, what helped; Markdown
    hours:         task id -> hours the group spent on it, as text or number
    """

    course: str
    title: str
    group: str
    members: tuple[dict[str, str], ...]
    repository: str = ""
    sources: tuple[str, ...] = ()
    aids: tuple[str, ...] = ()
    hours: dict[str, str | float] = field(default_factory=dict)

    @property
    def draft(self) -> bool:
        return bool(list(self.placeholders()))

    def placeholders(self) -> Iterator[tuple[str, str]]:
        """(key, value) of everything that is still to be filled in; hours may stay open."""
        for key in ("course", "title", "group", "repository"):
            yield from ((key, value) for value in [getattr(self, key)] if _open(value))
        for place, member in enumerate(self.members, start=1):
            yield from ((f"members, {place}: {key}", member[key]) for key in _MEMBER if _open(member[key]))
        for key in ("sources", "aids"):
            yield from ((key, value) for value in getattr(self, key) if _open(value))

    def open_hours(self) -> list[str]:
        """Tasks whose hours are not filled in."""
        return [id for id in TASKS if id != "A-t" and self.hours.get(id, "") == ""]

    def archive_name(self, sheet: str | None = None) -> str:
        """<course>_<ids>; DRAFT in it while a placeholder is left."""
        ids = [member["id"] for member in self.members if not _open(member["id"])]
        parts = [self.course, *([sheet] if sheet else []), *(["DRAFT"] if self.draft else []), *ids]
        return "_".join(re.sub(r"[^\w-]+", "-", part).strip("-") for part in parts)


def _open(value: str) -> bool:
    return PLACEHOLDER in value or not value.strip() and value != ""


def read_group(path: Path) -> Group:
    """Raises ValueError, naming the key, where something is unknown, missing, of another type, or not two or three."""
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    if is_private(path.name, text.encode()):
        raise ValueError(f"{path.name}: holds a password, key or token, and all of it goes into the zip; wanted none")
    known = {each.name for each in fields(Group)}
    if unknown := set(content) - known:
        raise ValueError(f"{path.name}: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    if missing := [key for key in ("course", "title", "group", "members") if key not in content]:
        raise ValueError(f"{path.name}: lacks {', '.join(missing)}")
    for key, value in content.items():
        kind = list if key in ("members", "sources", "aids") else dict if key == "hours" else str
        if not isinstance(value, kind):
            raise ValueError(f"{path.name}: {key} is {value!r}, wanted a {kind.__name__}")
    if empty := [key for key in ("course", "title", "group") if not content[key].strip()]:
        raise ValueError(f"{path.name}: {', '.join(empty)} is empty, wanted a text")
    for key in ("sources", "aids"):
        if wrong := [item for item in content.get(key, ()) if not isinstance(item, str)]:
            raise ValueError(f"{path.name}: {key} holds {wrong[0]!r}, wanted texts")
    members = content["members"]
    if len(members) not in (2, 3):
        raise ValueError(f"{path.name}: {len(members)} members, wanted two or three")
    for place, member in enumerate(members, start=1):
        complete = isinstance(member, dict) and set(member) == set(_MEMBER)
        if not complete or not all(isinstance(value, str) and value.strip() for value in member.values()):
            raise ValueError(f"{path.name}: member {place} has {member}, wanted {', '.join(_MEMBER)}, each a text")
    if unknown := set(content.get("hours", {})) - set(TASKS):
        raise ValueError(f"{path.name}: hours for {', '.join(sorted(unknown))}, which are no tasks")
    for id, spent in content.get("hours", {}).items():
        if not isinstance(spent, str | int | float):
            raise ValueError(f"{path.name}: hours of {id} are {spent!r}, wanted a number or text")
    lists = {key: tuple(content.get(key, ())) for key in ("members", "sources", "aids")}
    return Group(**{**content, **lists})
