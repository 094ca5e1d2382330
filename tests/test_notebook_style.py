"""How the notebooks are written: short cells, plumbing folded away, a caption below every figure."""

import ast

import nbformat
import pytest

from cvf20.paths import project_dir

PATHS = sorted((project_dir() / "notebooks").glob("*.ipynb"))
OURS = [path for path in PATHS if path.stem[:2].isdigit() and "-" not in path.stem]  # not a student's own or a copy
pytestmark = pytest.mark.skipif(not OURS, reason="notebooks/ holds no notebook")
each = pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)


def code_cells(path) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def syntax(cell) -> ast.Module:
    """The cell's syntax, without lines that only IPython understands."""
    return ast.parse(
        "\n".join("pass" if line.lstrip()[:1] in "%!" and line.strip() else line for line in cell.source.split("\n"))
    )


@each
@pytest.mark.parametrize("tag", ["parameters", "set-up"])
def test_one_cell_sets_up_and_one_holds_the_parameters(path, tag):
    assert sum(tag in tags(cell) for cell in code_cells(path)) == 1


@each
def test_no_cell_is_longer_than_a_screen(path):
    long = {cell.id: cell.source.count("\n") + 1 for cell in code_cells(path)}
    assert {name: lines for name, lines in long.items() if lines > 40} == {}


@each
def test_what_is_left_out_of_the_pdf_is_folded_in_jupyter_too(path):
    for cell in code_cells(path):
        folded = bool(cell.metadata.get("jupyter", {}).get("source_hidden"))
        assert folded == ("hide-input" in tags(cell)) or "set-up" in tags(cell), cell.id


@each
def test_every_figure_has_a_caption_of_a_sentence(path):
    for cell in code_cells(path):
        for call in ast.walk(syntax(cell)):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("show", "show_file"):
                captions = [word.value for word in call.keywords if word.arg == "caption"] + call.args[-1:]
                assert len(call.args) + len(call.keywords) >= 3 or call.func.id == "show_file", (cell.id, call.lineno)
                last = captions[0].values[-1] if isinstance(captions[0], ast.JoinedStr) else captions[0]
                if isinstance(last, ast.Constant):
                    assert str(last.value).rstrip().endswith((".", "!", "?")), (cell.id, last.value)


@each
def test_the_time_of_every_task_is_booked(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    assert "time_table(" in source or path.stem.startswith("09")


def test_all_notebooks_together_are_short():
    """The set-up cell counts once: it is one text, written by cvf20.submission."""
    lines = {
        path.stem: sum(len(c.source.split("\n")) for c in code_cells(path) if "set-up" not in tags(c)) for path in OURS
    }
    set_up = max(len(c.source.split("\n")) for path in OURS for c in code_cells(path) if "set-up" in tags(c))
    assert sum(lines.values()) + set_up <= 5000, lines
