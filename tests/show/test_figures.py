"""show() leaves a file, a picture and a caption that names the file; legends name what is there."""

import base64
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from cvf20.labels import VOID
from cvf20.paths import project_dir
from cvf20.show import class_legend, figures, grid, show, show_file, title


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Figures go to a folder of the test; gives what was displayed, as (data by kind, metadata by kind)."""
    monkeypatch.setenv("CVF20_OUT", str(tmp_path))
    displayed, formatter = [], DisplayFormatter()
    monkeypatch.setattr(figures, "display", lambda item: displayed.append(formatter.format(item)))
    return displayed


def line():
    fig, axis = plt.subplots()
    axis.plot([1, 2])
    return fig


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_show_writes_displays_and_captions_the_figure(shown, tmp_path):
    fig = line()
    show(fig, "01_line", "A *rising* line in `blue`.")
    path = tmp_path / "figures" / "01_line.png"
    with Image.open(path) as image:
        assert max(image.info["dpi"]) <= 100.5
    (picture, metadata), (text, _) = shown
    assert base64.b64decode(picture["image/png"]) == path.read_bytes()
    assert metadata["image/png"]["alt"] == "A rising line in blue."
    assert text["text/markdown"] == f"A *rising* line in `blue`. `{path.as_posix()}`"
    assert not plt.fignum_exists(fig.number), "a figure left open would be drawn twice"


def test_the_caption_names_the_file_where_it_lies():
    """Not figures/03_x.png, the published one, while build/figures/03_x.png was written."""
    assert figures._place(project_dir() / "build" / "figures" / "03_x.png") == "build/figures/03_x.png"


def test_any_file_name_will_do_and_a_path_is_none(shown, tmp_path):
    for name in ("line", "10_mine", "03 mine (2)"):
        show(line(), name)
        assert (tmp_path / "figures" / f"{name}.png").is_file()
    for name in ("", "a/b", "../b", "a\\b"):
        with pytest.raises(ValueError, match="wanted the name of a file in figures/"):
            show(line(), name)
    plt.close("all")


@pytest.mark.parametrize(("colours", "mode"), [(6000, "RGB"), (200, "P")])
def test_photographs_keep_their_colours_and_few_get_a_palette_of_exactly_these(shown, tmp_path, colours, mode):
    """256 colours for a whole figure posterised its photographs."""
    picture = np.resize(noise(1, colours)[0], (6000, 3)).reshape(60, 100, 3)
    fig = plt.figure(figsize=(1, 0.6), layout="none")
    fig.figimage(picture)
    show(fig, "01_picture")
    with Image.open(tmp_path / "figures" / "01_picture.png") as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), picture)


def test_a_file_is_shown_as_it_is(shown, tmp_path):
    path = tmp_path / "else" / "figures" / "03_dot.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (3, 2), (0, 90, 200)).save(path)
    before = path.read_bytes()
    with pytest.raises(FileNotFoundError, match="figures/03_dot.png is missing: run the notebook that draws it"):
        show_file("03_dot")
    show_file("03_dot", "a blue dot", tmp_path / "else")
    assert base64.b64decode(shown[0][0]["image/png"]) == before == path.read_bytes()


def test_stand_ins_and_samples_say_so_in_the_title():
    assert title(SimpleNamespace(synthetic=True), "scenes") == "SYNTHETIC: scenes"
    assert title(SimpleNamespace(synthetic=False, sample=True), "scenes") == "SAMPLE: scenes"
    assert title(SimpleNamespace(synthetic=False), "scenes") == "scenes"


@pytest.mark.parametrize(("masks", "names"), [([[0, 1]], ["a", "b"]), ([[0, 1], [VOID, 0]], ["a", "b", "void"])])
def test_the_class_legend_lists_void_where_there_is_some(masks, names):
    data = SimpleNamespace(classes=("a", "b"), palette=np.array([(10, 20, 30), (200, 100, 50)]), masks=np.array(masks))
    fig = class_legend(grid(["x"], [[np.zeros((2, 2))]]), data)
    assert [text.get_text() for text in fig.legends[0].texts] == names
    plt.close(fig)
