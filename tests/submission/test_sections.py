"""A notebook is cut at its second-level headings; a part of it brings along what it builds on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cvf20.submission.sections import chosen, headings, split


def notebook(*cells):
    """Text that begins with # is Markdown, all else is code."""
    return new_notebook(cells=[(new_markdown_cell if c.startswith("#") else new_code_cell)(c) for c in cells])


def sources(cells):
    return [cell.source for cell in cells]


def test_cut_at_headings_of_the_second_level():
    nb = notebook("# 03 · Title", "import os", "## A1a · One", "x = 1", "### Detail", "## Summary", "y = 2")
    front, sections = split(nb, "03_unet")
    assert sources(front) == ["# 03 · Title", "import os"]
    assert [sources(section.cells) for section in sections] == [
        ["## A1a · One", "x = 1", "### Detail"],
        ["## Summary", "y = 2"],
    ]
    assert [(s.title, s.ids, s.anchor) for s in sections] == [
        ("A1a · One", ("A1a",), "03-A1a"),
        ("Summary", (), "03-Summary"),
    ]


def test_a_cell_with_two_headings_is_cut_and_nothing_is_lost():
    text = "# Title\n\nwords\n\n## A1a · One\n\n```\n## no heading\n```\n\n## B3, C6 · Two\n### D4 · Three"
    front, sections = split(notebook(text), "03_unet")
    assert "\n\n".join(sources([*front, *(cell for section in sections for cell in section.cells)])) == text
    assert [section.ids for section in sections] == [("A1a",), ("B3", "C6", "D4")]


def test_headings_in_fences_are_none():
    text = "# a\n~~~\n# b\n```\n# c\n~~~\n## d\n````\n```\n# e\n````\n#f\n### g"
    assert [line for _, line in headings(text)] == ["# a", "## d", "### g"]


def test_links_are_unambiguous():
    _, sections = split(notebook("## Summary", "## C6 · a", "## C6 · b", "## Summary", "## Summary 2"), "03_unet")
    anchors = [section.anchor for section in sections]
    assert len(set(anchors)) == 5 and all(anchor.replace("-", "").isalnum() for anchor in anchors)


def kept(ids, *cells):
    front, sections = split(notebook(*cells), "03_unet")
    return [section.ids[0] if section.ids else section.title for section in chosen(front, sections, set(ids))]


def test_what_a_section_uses_comes_along_and_the_rest_does_not():
    cells = ["# Title", "import numpy as np", "## C1 · a", "data = np.ones(3)", "## C2 · b", "other = 1"]
    cells += [
        "## C3 · c",
        "def f(x):\n    return data + x",
        "## B1 · d",
        "f(1)",
        "## A-t · time",
        "data",
        "## Summary",
        "1",
    ]
    assert kept(["B1"], *cells) == ["C1", "C3", "B1"]
    assert kept(["C2"], *cells) == ["C2"]
    assert kept(["A-t"], *cells) == kept(["D1"], *cells) == []
    assert kept(["C1", "C2", "C3", "B1"], *cells) == ["C1", "C2", "C3", "B1", "A-t", "Summary"]


@pytest.mark.parametrize("change", ["net.fit()", "net.rate = 2", "net['a'] = 2", "y = net.fit(1)"])
def test_what_changes_an_object_counts_as_defining_it(change):
    assert kept(["B1"], "## C1 · a", "net = N()", "## C2 · b", change, "## C3 · c", "print(1)", "## B1 · d", "net") == [
        *("C1", "C2", "B1")
    ]


def test_names_inside_functions_and_comprehensions_are_their_own():
    cells = ["## C1 · a", "rows = 1", "## B1 · b", "[rows for rows in ()]\ndef f(rows):\n    return rows"]
    assert kept(["B1"], *cells) == ["B1"]


def test_a_magic_needs_all_before_it():
    assert kept(["B1"], "## C1 · a", "x = 1", "## C2 · b", "y = 1", "## B1 · c", "%timeit x") == ["C1", "C2", "B1"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_chosen_sections_run_alone(data):
    """Any notebook of sums over earlier names: what is chosen of it runs from top to bottom, and gives the same value."""
    count = data.draw(st.integers(2, 8))
    cells = []
    for place in range(count):
        terms = data.draw(st.lists(st.integers(0, max(0, place - 1)), max_size=3)) if place else []
        value = " + ".join([str(place), *(f"x{term}" for term in terms)])
        name = data.draw(st.integers(0, place))  # also defines earlier names anew
        cells += [f"## {'ABCD'[place % 4]}{place + 1} · s", f"x{place} = {value}", f"x{name} = x{name} + 1"]
    wanted = data.draw(st.integers(0, count - 1))
    id = f"{'ABCD'[wanted % 4]}{wanted + 1}"
    front, sections = split(notebook(*cells), "03_unet")
    part, whole = {}, {}
    for section in chosen(front, sections, {id}):
        for cell in section.cells[1:]:
            exec(cell.source, part)
    for section in sections[: wanted + 1]:
        for cell in section.cells[1:]:
            exec(cell.source, whole)
    assert part[f"x{wanted}"] == whole[f"x{wanted}"]
