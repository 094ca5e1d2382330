"""Every defect a grader would stumble over is made here on purpose, and must be found; the clean notebook has none."""

import base64
import json

import nbformat
import pytest
from nbformat.v4 import new_output
from submission.projects import ADMIN, SOMEONE, png, stream

from cvf20.submission.__main__ import main
from cvf20.submission.check import check


def spoil_notebook(change):
    def spoil(path, figures, results):
        nb = nbformat.read(path, as_version=4)
        change(nb)
        nbformat.write(nb, path)

    return spoil


def spoil_result(**changes):
    def spoil(path, figures, results):
        file = results / "03_unet_net-seed0.json"
        result = json.loads(file.read_text()) | changes
        file.write_text(json.dumps({key: value for key, value in result.items() if value is not ...}))

    return spoil


def picture_output(colours):
    return new_output("display_data", data={"image/png": base64.b64encode(png(colours)).decode()})


def widget_output():
    return new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": "1"}})


def append(cell, output):
    return spoil_notebook(lambda nb: nb.cells[cell].outputs.append(output))


def put(cell, **fields):
    return spoil_notebook(lambda nb: nb.cells[cell].update(fields))


def untag(nb):
    nb.cells[1].metadata.tags = []


def rename_kernel(nb):
    nb.metadata.kernelspec.name = "my-env"


def without_alt(nb):
    nb.cells[3].outputs[0].metadata = {"image/png": {"alt": "03_unet_line"}}  # what show() puts where nothing is said


def cell_0(before, after):
    def change(nb):
        nb.cells[0].source = nb.cells[0].source.replace(before, after)

    return spoil_notebook(change)


DEFECTS = {
    "not executed": (put(2, execution_count=None), "was not executed"),
    "out of order": (put(2, execution_count=9), "In [9]"),
    "error output": (append(5, new_output("error", ename="KeyError", evalue="7", traceback=[])), "KeyError"),
    "warning": (append(5, stream("x.py:3: UserWarning: no gradient\n", "stderr")), "UserWarning: no gradient"),
    "widget": (append(5, widget_output()), "widget"),
    "widget's text": (append(5, new_output("display_data", data={"text/plain": "HBox(children=(…"})), "widget"),
    "empty picture": (append(5, picture_output([7, 7])), "all of one colour"),
    "dropped picture": (put(3, outputs=[stream("figures/03_unet_line.png")]), "holds no picture"),
    "unnamed figure": (lambda p, f, r: (f / "03_more.png").write_bytes(png([0, 9])), "named in no notebook"),
    "missing figure": (lambda p, f, r: (f / "03_unet_line.png").unlink(), "names figures/03_unet_line.png"),
    "empty figure": (lambda p, f, r: (f / "03_unet_line.png").write_bytes(png([3, 3])), "all of one colour"),
    "cut figure": (lambda p, f, r: (f / "03_unet_line.png").write_bytes(png([0, 9])[:40]), "cannot be read"),
    "150 dpi": (lambda p, f, r: (f / "03_unet_line.png").write_bytes(png([0, 9], dpi=(150, 150))), "150 dpi"),
    "figure without notebook": (lambda p, f, r: (f / "08_old.png").write_bytes(png([0, 9])), "belongs to no notebook"),
    "figure without number": (lambda p, f, r: (f / "old.png").write_bytes(png([0, 9])), "belongs to no notebook"),
    "missing result": (lambda p, f, r: (r / "03_unet_net-seed0.json").unlink(), "names results/03_unet_net-seed0.json"),
    "unnamed result": (put(4, outputs=[]), "named in no notebook"),
    "broken result": (lambda p, f, r: (r / "03_unet_net-seed0.json").write_text("{"), "is no JSON"),
    "incomplete result": (spoil_result(seconds=...), "lacks seconds"),
    "result without number": (spoil_result(metrics={"val": {"IoU": None}}), "no number"),
    "result of another name": (spoil_result(seed=4), "03_unet_net-seed4.json"),
    "result of another notebook": (spoil_result(notebook="04_tuning"), "says that 04_tuning made it"),
    "quick result": (spoil_result(quick=True), "quick run"),
    "synthetic result": (spoil_result(synthetic=True), "SYNTHETIC"),
    "synthetic table": (append(5, stream("SYNTHETIC stand-in for scenes\n")), "SYNTHETIC stand-in for scenes"),
    "path in source": (put(5, source=f"open('{SOMEONE}/x.png')"), f"{SOMEONE}/x.png"),
    "path in output": (append(5, stream(f"saved {ADMIN}/x.png\n")), f"{ADMIN}/x.png"),
    "path as an address": (append(5, stream(f"file://{SOMEONE}/x.png")), f"{SOMEONE}/x.png"),
    "Windows path": (append(5, stream(r"C:\Users\me\x.png")), r"C:\Users\me\x.png"),
    "too big": (append(5, stream("x" * 3_100_000)), "3.1 MB"),
    "kernel": (spoil_notebook(rename_kernel), "kernel name 'my-env'"),
    "no parameters": (spoil_notebook(untag), "0 cells are tagged"),
    "quick left on": (put(1, source="quick = True\nseed = 0"), "does not set"),
    "other parameters": (
        spoil_notebook(lambda nb: nb.cells[2].metadata.update(tags=["injected-parameters"])),
        "other parameters",
    ),
    "no alternative text": (spoil_notebook(without_alt), "without alternative text"),
    "no answer": (cell_0("## D5 · ", "## D6 · "), "does not answer D5"),
    "answer in a code block": (cell_0("## D5 · Task", "```\n## D5 · Task\n```"), "does not answer D5"),
    "nothing asked": (cell_0("*Asked:* the work.", ""), "does not say what A1a asked"),
    "changed parameter": (put(5, source="for seed in range(3):\n    pass"), "assigns seed"),
    "no notebook": (lambda p, f, r: p.write_text("{}"), "03_unet.ipynb"),
}


def test_clean_notebook_has_no_finding(executed):
    path, figures, results = executed
    assert check([path], figures, results) == []


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found(executed, defect):
    spoil, symptom = DEFECTS[defect]
    spoil(*executed)
    path, figures, results = executed
    findings = check([path], figures, results)
    assert any(symptom in finding.what and finding.level == "error" for finding in findings), findings
    assert all(finding.mend and finding.file for finding in findings)


def test_finding_names_file_and_cell(executed):
    DEFECTS["error output"][0](*executed)
    (finding,) = check([executed[0]], *executed[1:])
    assert (finding.file, finding.cell) == ("notebooks/03_unet.ipynb", 6)


@pytest.mark.parametrize("defect", ["quick result", "synthetic result", "synthetic table", "other parameters"])
def test_a_draft_may_be_quick_and_synthetic(executed, defect):
    DEFECTS[defect][0](*executed)
    levels = {finding.level for finding in check([executed[0]], *executed[1:], draft=True)}
    assert levels == {"note"}


def test_warning_of_a_missing_data_set_counts_as_synthetic_only(executed):
    append(5, stream("UserWarning: no data. Using the SYNTHETIC stand-in\n", "stderr"))(*executed)
    assert {finding.level for finding in check([executed[0]], *executed[1:], draft=True)} == {"note"}
    assert {finding.level for finding in check([executed[0]], *executed[1:])} == {"error"}


def test_what_is_synthetic_by_design_is_a_note(executed):
    spoil_result(synthetic=True, data="keypoints")(*executed)
    append(5, stream("SYNTHETIC by design\n"))(*executed)
    append(5, stream('```python\nreturn "SYNTHETIC stand-in"\n```\n'))(*executed)
    assert {finding.level for finding in check([executed[0]], *executed[1:])} == {"note"}


def test_names_may_be_patterns_and_addresses_are_no_machine_paths(executed):
    path, figures, results = executed
    for seed in (1, 2):
        spoiled = json.loads((results / "03_unet_net-seed0.json").read_text()) | {"seed": seed}
        (results / f"03_unet_net-seed{seed}.json").write_text(json.dumps(spoiled))
    put(4, outputs=[stream("results/03_unet_net-seed*.json, https://a.org/home/x, ../usr/x, and/or</tmp/>")])(*executed)
    assert check([path], figures, results) == []


def test_parameters_may_be_read_and_be_names_in_functions(executed):
    put(5, source="def f(seed=seed):\n    quick = seed\n[seed for seed in range(3)]")(*executed)
    assert check([executed[0]], *executed[1:]) == []


def test_only_known_notebooks_are_asked_for_tasks(executed):
    path, figures, results = executed
    cell_0("## ", "### ")(*executed)
    assert check([path], figures, results) == []  # a heading of the third level answers as well
    cell_0("### ", "##### ")(*executed)
    assert {finding.what[:15] for finding in check([path], figures, results)} == {"does not answer"}
    moved = path.rename(path.with_name("03_trial.ipynb"))
    assert check([moved], figures, results) == []


def test_command(executed, capsys):
    assert main(["check", str(executed[0])]) == 0
    assert capsys.readouterr().out == "0 errors, 0 notes in 1 notebooks\n"
    DEFECTS["warning"][0](*executed)
    assert main(["check", str(executed[0])]) == 1
    assert "error: notebooks/03_unet.ipynb, cell 6: warning" in capsys.readouterr().out
