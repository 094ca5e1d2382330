"""Page and PDF from the merged notebook: everything is inside, in the sheets' order, and nothing comes from elsewhere."""

import base64
import re

import nbformat
import pytest
import typst
from nbformat.v4 import new_markdown_cell, new_output
from submission.projects import executed, markdown, notebook, picture, png, stream

from cvf20.submission.merge import merge, sections_of
from cvf20.submission.pages import ordered, page, report


def hidden(cell):
    cell.metadata["tags"] = ["hide-input"]
    return cell


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    """Two notebooks with everything that a notebook may hold."""
    folder = tmp_path_factory.mktemp("project") / "notebooks"
    folder.mkdir()
    text = "## D5 · Formulas\n$x_i$ costs 5 $ or\n\n\\begin{align*}\na &= b\n\\end{align*}\n\n![pasted](attachment:i.png)\n"
    text += "\n| a | b |\n|---|---|\n| `c|d` | $y^2$ |\n\n<img src='https://example.org/z.png'> and\n- a list\n"
    first = executed(notebook("defined = 1", "plotted = 2", "## A1a · One\nwords", "logged = 3", stem="03_unet"))
    first.cells.insert(2, new_markdown_cell(text, attachments={"i.png": {"image/png": picture().data["image/png"]}}))
    hidden(first.cells[4])
    first.cells[4].outputs = [picture(alt="old"), markdown("A *rising* line [0, 1). `figures/03_a.png`")]
    first.cells[6].outputs = [
        markdown("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | last $z$ |"),
        stream("03_a-seed0  epoch 1/2\n03_a-seed0: loaded\n" + "".join(f"line {i}\n" for i in range(40))),
        stream("UserWarning: odd", "stderr"),
        new_output("display_data", data={"text/html": "<b>frame</b>", "text/plain": "frame"}),
    ]
    second = executed(notebook("extra = 4", stem="10_mine"))
    for stem, nb in (("03_unet", first), ("10_mine", second)):
        nbformat.write(nb, folder / f"{stem}.ipynb")
    return sections_of(sorted(folder.iterdir()))


def test_page_holds_everything_and_loads_nothing(sections):
    html = page(merge(sections, ["# Cover"]), "Pixels & more")
    assert "<title>Pixels &amp; more</title>" in html and 'lang="en"' in html
    for words in ("defined", "plotted", "logged", "extra", "line 39", "UserWarning: odd", "<b>frame</b>", "5 $ or"):
        assert words in html, words
    assert html.count("<math") == 4 and html.count("<table") == 2
    assert "$$" not in html and "<ul>" in html and "| last" not in html
    sources = re.findall(r"<(?:img|link|script|iframe|embed|object)[^>]*?\b(?:src|href)=\"([^\"]*)", html)
    assert len(sources) == 2 and all(source.startswith("data:image/png") for source in sources)
    assert "Content-Security-Policy" in html and '<a href="https://example.org/z.png">' in html
    (caption,) = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", html.replace("pasted</figcaption>", ""))
    assert caption == "A <em>rising</em> line [0, 1). <code>figures/03_a.png</code>"
    (folded,) = re.findall(r"<details>(.*?)</details>", html, re.DOTALL)
    assert "plotted" in folded and "figure" not in folded


def test_pdf_is_by_sheet_and_task_without_plumbing(sections, monkeypatch):
    read = []
    compile = typst.compile
    monkeypatch.setattr(typst, "compile", lambda main, **more: read.append(main.read_text()) or compile(main, **more))
    assert report(sections, "# Cover", 'A "title" #1', "CV_11").startswith(b"%PDF-")
    (text,) = read
    places = ("= A · Segmentation", "== A1a · One", "= D · Lecture", "= Beyond the tasks", "== 10\\_mine")
    assert sorted(map(text.index, places)) == [text.index(place) for place in places]
    for words in ("defined = 1", "logged = 3", "line 11", "extra = 4", "frame", "`figures/03_a.png`", "28 more lines"):
        assert words in text, words
    for words in ("plotted", "quick = False", "epoch 1/2", "loaded", "line 12", "UserWarning", "<b>"):
        assert words not in text, words
    assert text.count("defined = 1") == 1 and text.count("image(") == 2


def test_a_section_of_two_tasks_stands_once(tmp_path):
    nbformat.write(notebook("## C4 and D2 · Both", "both = 1", stem="05_losses"), tmp_path / "05_losses.ipynb")
    text = "\n\n".join(cell.source for cell in ordered(sections_of([tmp_path / "05_losses.ipynb"]), "# Cover", None))
    assert text.count("both = 1") == 1 and "**D2** is answered above: *C4 and D2 · Both*." in text


@pytest.mark.parametrize("kind", ["image/svg+xml", "image/jpeg"])
def test_pictures_of_other_kinds(kind):
    cell = notebook("1").cells[-1]
    square = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9' height='9'/></svg>"
    data = square if "svg" in kind else base64.b64encode(png([0, 9])).decode()
    cell.outputs = [new_output("display_data", data={kind: data}), markdown("Words. `figures/03_a.png`")]
    html = page(nbformat.v4.new_notebook(cells=[cell]), "x")
    assert "<figcaption>Words. <code>figures/03_a.png</code>" in html
    assert f"data:{kind}" in html or "<svg" in html


def test_code_with_fences_stays_whole():
    book = notebook('text = """\n```python\n# no heading\n```\n"""', "# x\n\n```\n<img src='https://a.b/c.png'>\n```")
    html = page(book, "x")
    assert "```python" in html and "# no heading" in html and "&lt;img" in html and 'href="https' not in html
