"""Every defect a grader would stumble over is made here on purpose, and must be found; the clean notebook has none."""

import json
import time

import nbformat
import pytest
from nbformat.v4 import new_output
from submission.projects import RESULT, executed, markdown, notebook, picture, png, stream

from cvf20.submission.__main__ import main
from cvf20.submission.check import check, check_outputs, check_source, is_error


@pytest.fixture
def work(project):
    """A notebook as a run leaves it: one figure, one result, every task answered. work(spoil) → what is then found."""
    nb = executed(notebook("x = 1", "y = 2\n"))
    nb.cells[2].outputs = [picture(), markdown("A line. `figures/03_line.png`")]
    project.put("figures/03_line.png", png([0, 255]))
    project.put("results/03_net-seed0.json", RESULT)

    def found(spoil=lambda nb: None, **result) -> list[str]:
        spoil(nb)
        if result:
            content = {key: value for key, value in (RESULT | result).items() if value is not None}
            project.put("results/03_net-seed0.json", content)
        return check(project.save("03_unet", nb), project.root)

    found.nb, found.project = nb, project
    return found


def put(cell, **fields):
    return lambda nb: nb.cells[cell].update(fields)


def append(output):
    return lambda nb: nb.cells[3].outputs.append(output)


def say(text):  # a heading's cell says something more
    return lambda nb: nb.cells[0].update(source=nb.cells[0].source + text)


DEFECTS = [
    ("error", put(3, execution_count=None), "cell 4: did not run"),
    ("error", append(new_output("error", ename="KeyError", evalue="7", traceback=[])), "cell 4: KeyError: 7"),
    ("note", append(stream("x.py:3: UserWarning: no gradient\n", "stderr")), "UserWarning: no gradient"),
    ("note", append(new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})), "widget"),
    ("error", append(stream("figures/03_more.png")), "names figures/03_more.png, which is missing"),
    ("error", append(stream("SYNTHETIC: scenes")), "of a quick run, a stand-in or a small sample"),
    ("error", append(markdown("| yeast (sample) |")), "a stand-in or a small sample"),
    ("error", lambda nb: nb.cells[2].metadata.update(tags=["injected-parameters"]), "of a quick run"),
    ("error", lambda nb: nb.cells[1].metadata.update(tags=[]), "a quick run would be full"),
    ("error", say("\n\n![x](../figures/03_no.png)"), "shows ../figures/03_no.png, which is missing"),
    ("error", say('\n\n<img width=3 src="no.png">'), "shows no.png, which is missing"),
    ("note", say("\n\n![x](https://example.org/x.png)"), "shows https://example.org/x.png from the network"),
    ("note", lambda nb: nb.cells[0].update(source="# x\n\n## A1a · x\nAsked: y"), "does not answer A1b, A2a, A-t, B3"),
    ("note", lambda nb: nb.cells[0].update(source=nb.cells[0].source.replace("*Asked:*", "")), "what A1a, A1b, A2a,"),
]


@pytest.mark.parametrize(("level", "spoil", "symptom"), DEFECTS)
def test_defect_is_found_and_said_how_to_mend(work, level, spoil, symptom):
    assert work() == []
    (finding,) = [finding for finding in work(spoil) if symptom in finding]
    assert finding.startswith(f"{level}: notebooks/03_unet.ipynb") and "To mend: " in finding


def test_defects_of_results_are_found(work):
    assert "lacks seconds" in work(seconds=None)[0]
    assert all("a quick run, a stand-in" in work(**{kind: True})[0] for kind in ("quick", "synthetic", "sample"))
    assert work(synthetic=True, data="keypoints") == []  # drawn by design: nothing to say
    work.project.put("results/03_net-seed0.json", "[")
    assert "results/03_net-seed0.json: is no result" in work()[0]
    (work.project.root / "notebooks/03_unet.ipynb").write_text("{}")
    assert "is no notebook" in check(work.project.root / "notebooks/03_unet.ipynb", work.project.root)[0]


def test_a_draft_may_be_quick_and_on_stand_ins(work):
    path = work.project.save("03_unet", work.nb)
    work(append(stream("SYNTHETIC stand-in")), quick=True, sample=True)
    assert check_outputs(path, work.project.root, draft=True) == []


NOTHING = [say("\n\nMore words."), append(stream("SYNTHETIC by design"))]
NOTHING += [append(stream('```python\nreturn "SYNTHETIC stand-in"\n```\n'))]


@pytest.mark.parametrize("change", NOTHING)
def test_what_is_no_defect(work, change):
    assert work(change) == []


def test_outputs_of_older_sources_are_a_note(work):
    """Of cells that were changed, and of a notebook that does not know from what it was made; its errors stay errors."""
    for spoil in (put(3, source="y = 3"), lambda nb: nb.metadata.pop("cvf20")):
        (finding,) = work(spoil)
        assert finding.startswith("note: notebooks/03_unet.ipynb: rendered from older sources")
    work.nb.cells[3].execution_count = None
    append(stream("figures/03_more.png"))(work.nb)
    assert not any(map(is_error, work()))
    assert any(map(is_error, work(append(new_output("error", ename="KeyError", evalue="7", traceback=[])))))


def test_code_that_only_a_notebook_understands_is_no_error(work):
    source = "%matplotlib inline\n!ls\nawait work()\nx = ?"
    assert any("SyntaxError" in finding for finding in work(put(3, source=source)))
    assert not any("Error" in finding for finding in work(put(3, source=source.replace("x = ?", "print?"))))


def test_notebooks_of_ones_own_need_no_parameters(project):
    path = project.save("10_mine", nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("seed = 3")]))
    assert check_source(path) == []
    project.save("10_mine", notebook("1", stem="10_mine", parameters="quick = False\nseed, epochs = 3, 20"))
    assert check_source(path) == []


LONG = ["WARNING " * 4000, "![" * 50_000, "<img " * 20_000, "figures/" + "a" * 100_000]
LONG += ["## " + "-" * 100_000, "## " + "B3," * 30_000, "## Task" + " " * 100_000]


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_long_lines_take_no_time(work, text):
    start = time.perf_counter()
    work(lambda nb: (append(stream(text, "stderr"))(nb), say("\n\n" + text)(nb)))
    assert time.perf_counter() - start < 2


def test_command(work, monkeypatch, capsys):
    path = work.project.save("03_unet", work.nb)
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out == "0 errors, 0 notes\n"
    work(append(new_output("error", ename="KeyError", evalue="7", traceback=[])))
    assert main(["check", str(path)]) == 1
    assert "error: notebooks/03_unet.ipynb, cell 4: KeyError: 7" in capsys.readouterr().out
    monkeypatch.setattr("cvf20.submission.__main__.project_dir", lambda: work.project.root)
    work.project.put("results/03_net-seed0.json", json.dumps(RESULT))
    assert main(["check"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("error: ") and "01_augmentation, 02_baselines, 04_tuning" in printed
    assert "error: submission.toml: " in printed
