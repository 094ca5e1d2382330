"""show() leaves a file, a name and a picture; colours and rows say what the tensors hold."""

import os
import subprocess
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from cvf20.labels import VOID
from cvf20.paths import project_dir, read_dir
from cvf20.show import plots

PALETTE = np.array([(10, 20, 30), (200, 100, 50)], np.uint8)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Figures go to a folder of the test; gives what was displayed, as (object, its metadata)."""
    monkeypatch.setenv("CVF20_OUT", str(tmp_path))
    displayed = []
    monkeypatch.setattr(plots, "display", lambda item, metadata=None: displayed.append((item, metadata)))
    return displayed


def test_show_writes_displays_and_names_the_figure(shown, tmp_path, capsys):
    fig, axis = plt.subplots()
    axis.plot([1, 2])
    plots.show(fig, "01_line", alt="a rising line")
    path = tmp_path / "figures" / "01_line.png"
    with Image.open(path) as image:
        assert max(image.info["dpi"]) <= 100.5
    assert capsys.readouterr().out == "figures/01_line.png\n"
    ((picture, metadata),) = shown
    assert picture.data == path.read_bytes()
    assert metadata == {"image/png": {"alt": "a rising line"}}
    assert not plt.fignum_exists(fig.number), "a figure left open would be drawn twice"


def test_a_label_keeps_its_colour_beside_a_photograph_of_many(shown, tmp_path):
    random = np.random.default_rng(0)
    fig, axes = plt.subplots(1, 2)
    axes[0].imshow(random.integers(0, 256, (200, 200, 3), np.uint8), interpolation="nearest")
    axes[1].imshow(PALETTE[np.repeat([[0, 1]], 2, 0)], interpolation="nearest")
    plots.show(fig, "01_many")
    with Image.open(tmp_path / "figures" / "01_many.png") as image:
        assert image.mode == "P"
        found = {colour for count, colour in image.convert("RGB").getcolors() if count > 1000}
    assert {tuple(map(int, colour)) for colour in PALETTE} <= found


def test_a_legend_keeps_its_colours_beside_a_map_of_two_hundred(shown, tmp_path):
    """As beside maps in magma, each of whose colours covers more pixels than a patch of the legend."""
    fig, axis = plt.subplots(figsize=(8, 4))
    axis.imshow(np.linspace(0, 1, 230)[None].repeat(100, 0), cmap="magma", interpolation="nearest", aspect="auto")
    wanted = {(30, 94, 46), (126, 192, 66), (36, 84, 176), (126, 84, 150)}
    plots.class_legend(fig, SimpleNamespace(classes=list("abcd"), palette=np.array(sorted(wanted), np.uint8)))
    plots.show(fig, "01_legend")
    with Image.open(tmp_path / "figures" / "01_legend.png") as image:
        assert wanted <= {colour for _, colour in image.convert("RGB").getcolors()}


def test_show_rejects_a_name_without_a_notebook(shown, tmp_path):
    with pytest.raises(ValueError, match="'line' must begin with a notebook's number"):
        plots.show(plt.figure(), "line")
    assert not shown and not (tmp_path / "figures").exists()
    plt.close("all")


def test_a_file_is_shown_as_it_is(shown, tmp_path, capsys):
    (tmp_path / "else" / "figures").mkdir(parents=True)
    path = tmp_path / "else" / "figures" / "03_dot.png"
    Image.new("RGB", (3, 2), (0, 90, 200)).save(path)
    before = path.read_bytes()
    plots.show_file("03_dot", alt="a blue dot", folder=tmp_path / "else")
    ((picture, metadata),) = shown
    assert picture.data == before == path.read_bytes()
    assert metadata == {"image/png": {"alt": "a blue dot"}}
    assert capsys.readouterr().out == "figures/03_dot.png\n"


def test_a_missing_file_names_the_notebook_that_draws_it(shown):
    with pytest.raises(FileNotFoundError, match="figures/03_dot.png is missing: notebook 03_unet draws it"):
        plots.show_file("03_dot")
    assert not shown


def test_a_report_reads_what_was_built_else_what_is_published(tmp_path, monkeypatch):
    monkeypatch.setenv("CVF20_OUT", str(tmp_path))
    assert read_dir() == project_dir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "03_a-seed0.json").write_text("{}")
    assert read_dir() == tmp_path


def test_show_works_where_the_environment_asks_for_agg(tmp_path):
    """Under MPLBACKEND=Agg pyplot drops figures silently in a notebook; show() does not depend on the back end."""
    code = (
        "import matplotlib.pyplot as plt; from cvf20 import plots; "
        "fig, axis = plt.subplots(); axis.plot([1, 2]); plots.show(fig, '01_line')"
    )
    environment = {**os.environ, "MPLBACKEND": "Agg", "CVF20_OUT": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=project_dir(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "figures/01_line.png" in done.stdout and (tmp_path / "figures" / "01_line.png").exists()


def test_labels_get_their_colours_and_void_is_black():
    coloured = plots.colour_labels(torch.tensor([[0, 1], [VOID, 1]]), PALETTE)
    assert coloured.dtype == np.uint8
    assert coloured.tolist() == [[[10, 20, 30], [200, 100, 50]], [[0, 0, 0], [200, 100, 50]]]


def test_displayable_undoes_the_normalisation():
    image = torch.randint(0, 256, (3, 4, 5), dtype=torch.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.3)
    normalised = (image / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    channels_last = image.permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(plots.displayable(image), channels_last)
    assert np.abs(plots.displayable(normalised, mean, std).astype(int) - channels_last).max() <= 1
    assert plots.displayable(image[:1]).shape == (4, 5, 3)


def test_a_stand_in_says_so_in_the_title():
    assert plots.title(SimpleNamespace(synthetic=True), "scenes") == "SYNTHETIC: scenes"
    assert plots.title(SimpleNamespace(synthetic=False), "scenes") == "scenes"


def test_grid_names_columns_and_rows():
    fig = plots.grid(["image", "truth"], [[np.zeros((4, 6, 3))] * 2] * 3, row_names=["a", "b", "c"])
    assert len(fig.axes) == 6
    assert [axis.get_title() for axis in fig.axes] == ["image", "truth", "", "", "", ""]
    assert [axis.get_ylabel() for axis in fig.axes[::2]] == ["a", "b", "c"]
    plt.close(fig)


def test_confusion_figure_shows_shares_of_the_true_class():
    fig = plots.confusion_figure(torch.tensor([[3, 1], [0, 0]]), ["a", "b"])  # class b does not occur
    assert [text.get_text() for text in fig.axes[0].texts] == ["75", "25", "0", "0"]
    plt.close(fig)


def test_curves_draw_training_and_validation_loss():
    run = {"epoch": [1, 2], "train_loss": [3, 2], "loss": [3, 2.5], "mIoU": [0.1, 0.2]}
    fig = plots.curves({"one": run, "two": run})
    assert [len(axis.lines) for axis in fig.axes] == [4, 2]
    plt.close(fig)


def test_source_is_shown_as_code(shown):
    plots.show_source(plots.title)
    assert shown[0][0].data.startswith("```python\ndef title(dataset, text: str)")
