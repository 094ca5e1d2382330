"""An executed notebook keeps what was found and loses what only this machine and this moment know."""

from pathlib import Path

from nbformat.v4 import new_output
from submission.projects import SOMEONE, stream, working_notebook

from cvf20.submission.clean import WIDGET, clean, joined, renamer


def cleaned(*outputs):
    nb = working_notebook("03_unet")
    nb.cells[5].outputs = list(outputs)
    nb.cells[5].metadata.update(papermill={"duration": 3}, tags=[], execution={"iopub.status.busy": "now"})
    nb.metadata.update(papermill={"input_path": f"{SOMEONE}/x.ipynb"}, widgets={}, kernelspec={"name": "my-env"})
    return clean(nb, {Path(SOMEONE, "cvf20/build"): "", Path(SOMEONE, "cvf20"): "", Path("/disk/data"): "data"})


def test_metadata_of_the_run_is_gone():
    nb = cleaned()
    assert set(nb.metadata) == {"kernelspec"} and nb.metadata.kernelspec.name == "python3"
    assert not nb.cells[5].metadata
    assert nb.cells[1].metadata.tags == ["parameters"]


def test_widgets_are_gone_and_the_rest_stays():
    picture = new_output("display_data", data={"image/png": f"{SOMEONE}/cvf20/"})
    nb = cleaned(new_output("display_data", data={WIDGET: {}, "text/plain": "0%|"}), picture)
    assert nb.cells[5].outputs == [picture]


def test_only_the_last_state_of_a_progress_bar_stays():
    pieces = [stream("begin\n 0%\r"), stream(" 50%\r 100%\r\nend\n"), stream("\r", "stderr")]
    assert joined(pieces) == [stream("begin\n 100%\nend\n")]


def test_paths_lose_the_machine():
    text = f"{SOMEONE}/cvf20/build/figures/a.png {SOMEONE}/cvf20/cvf20/x.py:3 /disk/data/scenes ({SOMEONE}/cvf20)"
    nb = cleaned(stream(text), new_output("display_data", data={"text/html": "<b>/disk/data/a</b>"}))
    assert nb.cells[5].outputs[0].text == "figures/a.png cvf20/x.py:3 data/scenes (.)"
    assert nb.cells[5].outputs[1].data["text/html"] == "<b>data/a</b>"


def test_only_whole_folders_are_renamed():
    rename = renamer({Path(SOMEONE): "~"})
    text = f"{SOMEONE}2/x https://a.org{SOMEONE}/x {SOMEONE}-too"
    assert rename(text) == text
    assert rename(f"'{SOMEONE}/x' {SOMEONE}") == "'~/x' ~"
    assert renamer({Path("/"): "root"})("/usr/x") == "/usr/x"
