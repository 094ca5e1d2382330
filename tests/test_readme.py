"""README.md says what is so: its links lead somewhere, and its minutes are those that the results recorded."""

import re

import pytest

from cvf20.paths import project_dir
from cvf20.submission.cover import training_seconds
from cvf20.training.results import NOTEBOOKS

ROOT = project_dir()
README = (ROOT / "README.md").read_text(encoding="utf-8")
PUBLISHED = all((ROOT / "notebooks" / f"{stem}.ipynb").is_file() for stem in NOTEBOOKS)
pytestmark = pytest.mark.skipif(not PUBLISHED, reason="the hand-in of one sheet holds its own notebooks only")


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 50
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_minutes_are_the_recorded_ones(stem):
    (row,) = re.findall(rf"^\| \[{stem[:2]} · .*\]\(notebooks/{stem}\.ipynb\) \|.*\| (\d+) \|$", README, re.MULTILINE)
    recorded = round(training_seconds(ROOT / "results", [stem]).get(stem, 0) / 60)
    assert int(row) == recorded, f"after a regeneration README's row of {stem} wants its new minutes: {recorded}"
