"""The report is ordered by exercise and task, loses no output, and every picture has its words."""

import base64

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from submission.projects import png, stream
from submission.test_merge import GROUP

from cvf20.submission.report import MAX_LINES, markdown, to_typst
from cvf20.submission.sections import split

PICTURE = base64.b64encode(png([0, 255])).decode()


def part(stem, *cells):
    front, sections = split(new_notebook(cells=[new_markdown_cell(f"# {stem}\n\nwords of {stem}"), *cells]), stem)
    return stem, front, sections


def section(heading, code="1", *outputs):
    return [new_markdown_cell(f"## {heading}\n\ntext of {heading}"), new_code_cell(code, outputs=list(outputs))]


@pytest.fixture
def text(tmp_path):
    def make(*parts, sheet=None):
        return markdown({stem: (stem, front, sections) for stem, front, sections in parts}, GROUP, sheet, {}, tmp_path)

    return make


def in_order(text, *words):
    places = [text.index(word) for word in words]
    assert places == sorted(places), [word for _, word in sorted(zip(places, words, strict=True))]


def test_by_sheet_and_task_whatever_the_order_in_the_notebooks(text):
    first = part("02_baselines", *section("D3 · x"), *section("C6 · one"), *section("A-t · Time"), *section("Summary"))
    second = part("03_unet", *section("C6 · two"), *section("B3 · y"), *section("A1a · z"))
    found = text(first, second)
    words = ["words of 02_baselines", "text of Summary", "words of 03_unet", "# A · ", "text of A1a · z"]
    words += ["text of A-t · Time", "# B · ", "text of B3 · y", "# C · ", "text of C6 · one", "text of C6 · two"]
    in_order(found, *words, "# D · ", "text of D3 · x")
    assert found.count("text of C6 · one") == 1
    only_c = text(first, second, sheet="C")
    assert "text of C6 · two" in only_c and "text of D3" not in only_c
    assert "Not answered in this hand-in: C1, C2, C3, C4, C5, C7, C8, C9." in only_c


def test_the_report_notebook_comes_first(text):
    found = text(part("03_unet", *section("B3 · y")), part("09_report", *section("Abstract"), *section("C8 · all")))
    in_order(
        found, "# Report", "text of Abstract", "text of C8 · all", "# Overview", "text of B3 · y", '#elsewhere("C8"'
    )


def test_the_report_notebook_shows_what_its_code_found_but_not_the_code(text):
    table = new_output("display_data", data={"text/markdown": "| a |\n|---|\n| 7 |"})
    found = text(part("03_unet", *section("B3 · y", "ours()")), part("09_report", *section("Data", "gather()", table)))
    assert "| 7 |" in found and "ours()" in found and "gather()" not in found


def test_what_answers_no_task_stands_before_the_task_it_leads_to(text):
    cells = [*section("Set-up"), *section("B3 · y"), *section("C6 · z"), *section("Outlook"), *section("Summary")]
    found = text(part("03_unet", *cells))
    in_order(found, "text of Summary", "text of Set-up", "text of B3", "text of C6", "text of Outlook")
    assert all(found.count(f"text of {word}") == 1 for word in ("Summary", "Set-up", "Outlook"))


def test_a_section_with_two_ids_is_printed_once_and_referred_to(text):
    found = text(part("05_losses", *section("C4, D2 · loss")))
    assert found.count("text of C4, D2 · loss") == 1
    assert '#elsewhere("D2", "C4, D2 · loss", <05-C4-D2>)' in found


def test_outputs(text, tmp_path):
    outputs = [
        new_output("display_data", data={"image/png": PICTURE}, metadata={"image/png": {"alt": 'two "pixels"'}}),
        stream("figures/03_unet_a.png\nloss 0.5\n"),
        new_output(
            "display_data", data={"text/html": "<table><tr><th>head</th></tr><tr><td>1 &lt; 2</td></tr></table>"}
        ),
        new_output("display_data", data={"text/markdown": "| a |\n|---|\n| 1 |", "text/plain": "<Markdown>"}),
        new_output("execute_result", data={"text/plain": "42"}, execution_count=1),
        stream("\n".join(f"epoch {n}" for n in range(100))),
    ]
    found = text(part("03_unet", *section("B3 · y", "show(fig)", *outputs)))
    in_order(found, "show(fig)", r'"two \"pixels\"", "figures/03_unet_a.png")', "loss 0.5", "| head", "| a |", "42")
    assert found.count("figures/03_unet_a.png") == 1 and "<table>" not in found
    assert "epoch 0\n" in found and "epoch 99" in found and "epoch 50\n" not in found
    assert f"{100 - MAX_LINES} more lines" in found
    assert [path.read_bytes() for path in tmp_path.glob("*.png")] == [base64.b64decode(PICTURE)]


def test_code_that_only_writes_sentences_is_left_to_the_notebook(text):
    sentence = new_output("display_data", data={"text/markdown": "It is **better**."})
    listing = new_output("display_data", data={"text/markdown": "```python\nclass A: ...\n```"})
    found = text(
        part("03_unet", *section("B3 · y", "note(1)", sentence), *section("D4 · z", "show_source(A)", listing))
    )
    assert "It is **better**." in found and "note(1)" not in found and "show_source(A)" in found and "class A" in found


def test_typst_of_formulas_tables_and_code():
    source = (
        "Sum $a_i$ and `$b$`:\n\n$$\\frac{1}{2}$$\n* list\n\n| a | b |\n|---|---|\n| `x_1` | 2 |\n\n```python\n$c$\n```"
    )
    typst = to_typst(source)
    assert "$a_i$" in typst and "1 / 2" in typst.replace("frac(1, 2)", "1 / 2") and "table(" in typst
    assert "```python\n$c$\n```" in typst and "`$b$`" in typst and "- list" in typst
    with pytest.raises(ValueError, match="frac"):
        to_typst(r"$\frac{a$")
