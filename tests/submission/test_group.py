"""submission.toml: what is wrong in it is named, and a placeholder anywhere makes the hand-in a draft."""

import tomllib

import pytest
from submission.projects import CREDENTIALS

from cvf20.paths import project_dir
from cvf20.submission.cover import cover
from cvf20.submission.group import PLACEHOLDER, read_group
from cvf20.submission.tasks import TASKS

MEMBER = '[[members]]\nname = "Ada"\nid = "{id}"\ndid = "all"\n'
FILLED = 'course = "CV 1"\ntitle = "Pixels"\ngroup = "7"\n' + MEMBER.format(id="11") + MEMBER.format(id="22")


@pytest.fixture
def group(tmp_path):
    def read(text):
        path = tmp_path / "submission.toml"
        path.write_text(text, encoding="utf-8")
        return read_group(path)

    return read


def test_filled_in_is_no_draft(group):
    found = group(FILLED + "[hours]\nC6 = 3.5\n")
    assert not found.draft and found.repository == "" and found.hours == {"C6": 3.5}
    assert found.archive_name() == "CV-1_11_22" and found.archive_name("B") == "CV-1_B_11_22"
    assert set(found.open_hours()) == set(TASKS) - {"C6", "A-t"}


@pytest.mark.parametrize("value", ["Pixels", "Ada", "22", "all", "7"])
def test_any_placeholder_makes_a_draft(group, value):
    found = group(FILLED.replace(f'"{value}"', f'"{PLACEHOLDER}: something"', 1))
    assert found.draft and "DRAFT" in found.archive_name()
    assert [text for _, text in found.placeholders()] == ["FILL IN: something"]


def test_ids_that_are_known_stand_in_a_drafts_name(group):
    assert group(FILLED.replace('"22"', '"FILL IN"')).archive_name() == "CV-1_DRAFT_11"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILLED + MEMBER.format(id="33") + MEMBER.format(id="44"), "4 members, wanted two or three"),
        (FILLED.split("[[members]]")[0] + MEMBER.format(id="1"), "1 members"),
        (FILLED.replace('group = "7"\n', ""), "lacks group"),
        (FILLED.replace("group", "grup"), "unknown grup"),
        (FILLED.replace('"7"', "7"), "group is 7, wanted a str"),
        (FILLED.replace('did = "all"\n', "", 1), "member 1 has"),
        (FILLED.replace('"Ada"', '""', 1), "member 1 has"),
        (FILLED.replace('"CV 1"', '""'), "course is empty"),
        (FILLED.replace('"7"', '" "').replace('"Pixels"', '""'), "title, group is empty"),
        ("members = [3, 4]\n" + FILLED.split("[[members]]")[0], "member 1 has 3"),
        ("sources = [1]\n" + FILLED, "sources holds 1"),
        (FILLED + "[hours]\nC66 = 1\n", "hours for C66"),
        (FILLED + "[hours]\nC6 = [1]\n", "hours of C6 are"),
        (f'repository = "{CREDENTIALS[-1]}"\n' + FILLED, "holds a password"),
        ("course = ", "submission.toml: "),
    ],
)
def test_mistakes_are_named(group, text, message):
    with pytest.raises(ValueError, match=message):
        group(text)


def test_cover_says_hours_and_holds_the_table_together(group):
    found = group(FILLED.replace('"all"', r'"""a|b\\|c\n\nd"""', 1) + "[hours]\nC6 = 0\nC2 = 1.5\nC7 = ''\n")
    text = cover(found, "C", {})
    assert r"| Ada | 11 | a\|b\|c d |" in text.splitlines()
    assert "C6 0 " in text and "C2 1.5 " in text and "C7 ____" in text


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="submission.toml"):
        read_group(tmp_path / "submission.toml")


def test_the_projects_own_can_be_read():
    group = read_group(project_dir() / "submission.toml")
    text = (project_dir() / "submission.toml").read_text(encoding="utf-8")
    assert group.sources and group.aids and group.course == tomllib.loads(text)["course"]
