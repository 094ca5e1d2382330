"""The merged notebook holds every cell once, in order, with its outputs, as it was written."""

import base64
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell
from submission.projects import executed, markdown, notebook, picture, png, stream

from cvf20.submission.merge import merge, sections_of
from cvf20.submission.notebook import set_up


@pytest.fixture
def merged(project):
    """merged({stem: notebook}, sheet, repository) → the merged notebook"""

    def make(books: dict, sheet=None, repository=""):
        paths = [project.save(stem, nb) for stem, nb in books.items()]
        nb = merge(sections_of(paths, sheet), ["# Cover"], repository)
        nbformat.validate(nb)
        return nb

    return make


def test_every_cell_is_there_once_in_order_with_its_outputs(merged):
    books = {stem: notebook(f"print('{stem}')", stem=stem) for stem in ("03_unet", "02_base", "10_mine")}
    for stem, nb in books.items():
        nb.cells.insert(1, new_code_cell(set_up()))
        executed(nb).cells[3].outputs = [stream(f"{stem}\n"), picture(), markdown("| a |\n|---|\n| ____ (fill in) |")]
    nb = merged(books)
    wanted = [books[stem].cells[3].outputs for stem in sorted(books)]
    assert [cell.outputs for cell in nb.cells if cell.get("outputs")] == wanted
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)
    codes = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [cell.source for cell in codes].count(set_up()) == 1 and codes[0].source == set_up()
    assert all(cell.execution_count for cell in codes) and codes[0].execution_count == 1
    other = merged(books, repository="https://example.org/a.git")
    codes = [cell for cell in other.cells if cell.cell_type == "code"]
    assert 'repository = "https://example.org/a.git"' in codes[0].source and codes[0].execution_count is None


def test_what_a_student_wrote_stays(merged):
    """Own cells that mention google.colab, own parameters, raw cells, text in front of the first heading."""
    own = notebook("if 'google.colab' in sys.modules:\n    mount()", parameters="quick = False\nseed = 3\nepochs = 20")
    own.cells[2].metadata = {"tags": ["hide-input"], "mine": 1}
    own.cells.insert(0, new_markdown_cell("Some words."))
    own.cells.append(nbformat.v4.new_raw_cell("raw"))
    nb = merged({"03_unet": executed(own), "04_tuning": executed(notebook("1", stem="04_tuning"))})
    sources = [cell.source for cell in nb.cells]
    for cell in own.cells[2:]:
        assert cell.source in sources
    (hidden,) = [cell.metadata for cell in nb.cells if "jupyter" in cell.metadata]
    assert hidden["jupyter"] == {"source_hidden": True} and hidden["mine"] == 1, "collapsed as in the PDF"
    parameters = [cell.source for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    assert parameters == ["quick = False\nseed = 3\nepochs = 20", "quick = False\nseed = 0"]


def test_pictures_come_along(merged, project):
    """Pasted ones, data URIs, files in figures/ and beside the notebook: all are inside of the one notebook."""
    project.put("figures/my x.png", png([0, 9]))
    project.put("notebooks/y.jpg", png([0, 8]))
    data = "data:image/png;base64," + base64.b64encode(png([0, 7])).decode()
    pasted = {"image.png": {"image/png": base64.b64encode(png([0, 6])).decode()}}
    text = f'![a](attachment:image.png) ![y.jpg](y.jpg)\n\n![b](../figures/my%20x.png "t") ![]({data})\n\n'
    text += '<img src="../figures/my%20x.png" width="30">'
    book = notebook(stem="10_mine")
    book.cells.append(new_markdown_cell(text, attachments=pasted))
    nb = merged({"10_mine": book})
    cell = nb.cells[-1]
    names = re.findall(r"attachment:([^\s)\"]+)", cell.source)
    assert len(names) == 4 and set(names) == set(cell.attachments) and data in cell.source
    assert "![y.jpg](" in cell.source and 'width="30"' in cell.source
    assert cell.attachments["image.png"] == pasted["image.png"]
    held = [base64.b64decode(next(iter(cell.attachments[name].values()))) for name in names]
    assert held == [png([0, 6]), png([0, 8]), png([0, 9]), png([0, 9])]


def test_one_sheet_takes_whole_sections(merged):
    """Those that name its tasks and, of the same notebooks, those that name none; nothing of other notebooks."""
    mine = notebook("## Preparation", "a = 1", "## C6 · x", "a", "## B3 · y", "print(a)", stem="10_mine")
    sources = [cell.source for cell in merged({"10_mine": mine, "02_base": notebook("5", stem="02_base")}, "B").cells]
    assert {"a = 1", "print(a)"} <= set(sources) and "a" not in sources and "5" not in sources


def test_anchors_are_unambiguous(project):
    path = project.save("03_unet", notebook("## Summary", "## C6 · a", "## C6 · b", "```\n## no\n```", "## Summary"))
    anchors = [section.anchor for section in sections_of([path])]
    assert anchors == ["part-03", *(f"part-03-{k}" for k in range(1, len(anchors)))] and len(anchors) == 6
