"""The merged notebook holds every cell once, in order, with its outputs; the parts stay strangers to each other."""

import copy

import nbformat
import pytest
from nbformat.v4 import new_output
from submission.projects import stream, working_notebook

from cvf20.submission.colab import set_up
from cvf20.submission.cover import unanswered
from cvf20.submission.faults import output_faults, source_faults
from cvf20.submission.group import Group
from cvf20.submission.merge import KEPT, merge, parts_of
from cvf20.submission.notebook import assigned, tagged

MEMBERS = tuple({"name": name, "id": id, "did": "half"} for name, id in (("Ada", "11"), ("Bo", "22")))
GROUP = Group("CV", "Pixels", "7", MEMBERS, sources=("a paper",), aids=("a book",), hours={"C6": 2})


def executed(stem, *sections):
    """A notebook as published, with equal cell ids in each; sections: (heading, code) more."""
    nb = working_notebook(stem)
    nb.cells.insert(1, nbformat.v4.new_code_cell("import sys\nif 'google.colab' in sys.modules:\n    pass"))
    for heading, code in sections:
        nb.cells += [nbformat.v4.new_markdown_cell(heading), nbformat.v4.new_code_cell(code)]
    for place, cell in enumerate(nb.cells):
        cell["id"] = f"cell-{place}"
        if cell.cell_type == "code":
            cell.execution_count = place
            cell.outputs = [stream(f"{stem} {place}\n")]
    return nb


@pytest.fixture
def parts(project):
    books = {
        "02_baselines": executed("02_baselines", ("## Summary", "1")),
        "03_unet": executed("03_unet"),
        "08_instance_segmentation": executed("08_instance_segmentation"),
    }
    for stem, nb in books.items():
        nbformat.write(nb, project.root / "notebooks" / f"{stem}.ipynb")
    return lambda sheet=None: parts_of(sorted((project.root / "notebooks").iterdir()), sheet)


def test_every_cell_is_there_once_in_order_with_its_outputs(parts):
    nb = merge(parts(), GROUP)
    nbformat.validate(nb)
    outputs = [output.text for cell in nb.cells for output in cell.get("outputs", [])]
    expected = [f"{stem} {place}\n" for stem in parts() for place in range(3, 7)]
    expected.insert(4, "02_baselines 8\n")
    assert outputs == expected
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)
    counts = [cell.execution_count for cell in nb.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_set_up_and_parameters_stand_once(parts):
    nb = merge(parts(), GROUP)
    assert sum("google.colab" in cell.source for cell in nb.cells) == 1
    assert [cell.source for cell in tagged(nb, "parameters")] == ["quick = False\nseed = 0"]
    found = {what.split(", ")[-1] for _, _, what, _ in (*source_faults(nb), *output_faults(nb, draft=False))}
    assert found == {"but holds no picture"}  # as these notebooks never ran


def test_what_set_up_and_parameters_define_outlives_a_new_part():
    names = assigned(set_up("")) | {"quick", "seed"}
    assert names - {"archive"} == set(KEPT.split("|"))  # a loop's variable is needed by nobody


def test_unexecuted_cells_stay_unexecuted(project):
    nb = executed("03_unet")
    nb.cells[4].execution_count = None
    nbformat.write(nb, project.root / "notebooks/03_unet.ipynb")
    merged = merge(parts_of([project.root / "notebooks/03_unet.ipynb"]), GROUP)
    assert [what for _, _, what, _ in output_faults(merged, False) if "executed" in what] == ["was not executed"]


def test_every_link_of_the_contents_leads_somewhere(parts):
    text = "\n".join(cell.source for cell in merge(parts(), GROUP).cells if cell.cell_type == "markdown")
    links = [part.split(")")[0] for part in text.split("](#")[1:]]
    anchors = [part.split('"')[0] for part in text.split('<a id="')[1:]]
    assert len(links) > 20 and set(links) <= set(anchors)
    assert len(set(anchors)) == len(anchors)


def test_cover_says_who_what_and_with_which_help(parts):
    text = merge(parts(), GROUP, None, {"03_unet": 120.0}).cells[0].source
    for words in ("Pixels", "Ada", "22", "half", "a paper", "a book", "C6 2 ", "| 03_unet | 2 |"):
        assert words in text, words
    assert "DRAFT" not in text
    draft = Group("CV", "Pixels", "FILL IN: group", MEMBERS)
    assert "DRAFT" in merge(parts(), draft).cells[0].source


def test_contents_by_sheet_name_every_id_and_say_what_is_open(parts):
    merged = merge(parts(), GROUP).cells[2].source
    assert "| C6 | BaseConv and U-Net, trained and discussed | [02](#02-C6) · [03](#03-C6) |" in merged
    assert "| C7 | ResNet-18 as encoder | not answered |" in merged
    assert "| A-t | the time each task took | [cover](#time) · [02](#02-time) · [03]" in merged
    sections = [section for _, _, those in parts().values() for section in those]
    assert unanswered([], "A")[-1] == "A3e"
    assert {"C7", "A2b", "B4"} < set(unanswered(sections)) and "C9" not in unanswered(sections)
    assert unanswered(sections, "D") == ["D1", "D2", "D6", "D8"]


def test_one_sheet_alone(parts):
    assert list(parts("D")) == ["02_baselines", "03_unet"]
    nb = merge(parts("D"), GROUP, "D")
    text = "\n".join(cell.source for cell in nb.cells)
    assert "## D3 · Task" in text and "## C2 · Task" not in text and "| D4 |" in text and "| C6 |" not in text
    assert parts("B").keys() == {"03_unet"}


def test_hours_in_outputs_refer_to_the_cover(project):
    nb = executed("03_unet")
    nb.cells[6].outputs = [new_output("display_data", data={"text/markdown": "Hours: ____ (fill in), C2 ____ · C3"})]
    nbformat.write(nb, project.root / "notebooks/03_unet.ipynb")
    before = copy.deepcopy(parts_of([project.root / "notebooks/03_unet.ipynb"]))
    merged = merge(before, GROUP)
    assert merged.cells[-1].outputs[0].data["text/markdown"] == "Hours: see cover, C2 see cover · C3"
