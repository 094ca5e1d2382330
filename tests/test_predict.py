"""Prediction from a finished run: any image, any size, honest about those that are missing or broken."""

import json
import os

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Patches
from torch import nn
from torch.nn import functional as F

from cvf20 import predict
from cvf20.datasets import StanfordBackground, YeastColonies, YeastMovie, base
from cvf20.losses import cross_entropy_criterion
from cvf20.models import BaseConv
from cvf20.predict import Run, find_run, load_run, main, predict_labels, read_photograph, upsampled_argmax
from cvf20.training.learner import Learner
from cvf20.transforms import eval_transforms
from cvf20.transforms.sizes import padded_eval_transforms


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("CVF20_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(name="02_tiny", transforms=None, epochs=1, **choices):
    data, valid = Patches(4, 3), Patches(2, 3, transforms=transforms or eval_transforms((8, 10)))
    learner = Learner(
        lambda: BaseConv(3, 9, (4,)),
        cross_entropy_criterion,
        data,
        valid,
        epochs=epochs,
        name=name,
        precision="fp32",
        verbose=False,
        **choices,
    )
    learner.fit()
    return learner


def photograph(path, size=(30, 20), mode="RGB", seed=0, **options):
    channels = {"RGB": (3,), "RGBA": (4,), "L": ()}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_command_writes_labels_and_overlay_and_goes_on_after_bad_images(tmp_path, capsys):
    learner = trained()
    good = [photograph(tmp_path / "one.png"), photograph(tmp_path / "two.jpg", (1, 7))]
    grey, transparent = photograph(tmp_path / "grey.png", mode="L"), photograph(tmp_path / "alpha.png", mode="RGBA")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(good[1].read_bytes()[:200])
    names = [str(p) for p in (good[0], tmp_path / "gone.jpg", broken, good[1], grey, transparent)]
    assert main(["--weights", "02_tiny-seed0", "--out", "made", *names]) == 1
    said = capsys.readouterr()
    assert "gone.jpg: No such file" in said.err and "broken.jpg" in said.err and len(said.err.splitlines()) == 2
    assert len(list((tmp_path / "made").iterdir())) == 8
    for path in good:
        labels, overlay = (Image.open(f"made/{path.stem}_{kind}.png") for kind in ("labels", "overlay"))
        assert labels.size == overlay.size == Image.open(path).size and labels.mode == "P"
        classes = np.asarray(labels)
        assert np.array_equal(np.asarray(labels.convert("RGB")), StanfordBackground.palette[classes])
        expected = predict_labels(load_run(learner.folder), Image.open(path).convert("RGB"))
        assert np.array_equal(classes, expected)


def test_only_good_images_give_zero(tmp_path):
    trained()
    (tmp_path / "other").mkdir()
    same_name = [photograph(tmp_path / "a.png"), photograph(tmp_path / "other/a.png", (5, 5))]
    assert main(["--weights", "02_tiny-seed0", *map(str, same_name)]) == 0
    assert Image.open("predictions/a_2_labels.png").size == (5, 5)  # no picture replaces another


def test_an_image_that_the_network_cannot_take_is_named_and_the_rest_go_on(tmp_path, monkeypatch, capsys):
    class Even(nn.Module):
        def forward(self, x):
            if x.shape[-1] % 2:
                raise RuntimeError("sizes do not match")
            return x

    monkeypatch.setattr(predict, "load_run", lambda *_: Run(Even(), StanfordBackground, (0.5,) * 3, (0.2,) * 3))
    images = [photograph(tmp_path / f"{n}.png", (n, n)) for n in (8, 9, 16)]
    bad = tmp_path / "bad.ppm"
    bad.write_bytes(b"P6 3x 3 255\n")
    assert main(["--weights", "any", *map(str, [images[0], images[1], bad, images[2]])]) == 1
    odd, unreadable = capsys.readouterr().err.splitlines()
    assert odd == f"{images[1]}: sizes do not match" and unreadable.startswith(f"{bad}: ")
    assert {path.name for path in (tmp_path / "predictions").glob("*_labels.png")} == {"8_labels.png", "16_labels.png"}


def test_broken_weights_are_named(tmp_path):
    folder = tmp_path / "runs/02_x-seed0-abc"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    (folder / "best.pt").write_text("<html>")
    with pytest.raises(ValueError, match="best.pt is no readable state dict"):
        load_run(folder)


def test_unknown_run_is_an_error_before_any_image(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--weights", "nothing", str(tmp_path / "a.jpg")])
    assert stopped.value.code == 2 and "nothing" in capsys.readouterr().err


def test_of_several_runs_the_newest(tmp_path):
    first = trained()
    second = trained(lr=2e-3)
    other = trained("02_tiny_other")
    assert find_run(first.folder) == first.folder and first.folder != second.folder != other.folder
    for learner, age in ((first, 100), (second, 200), (other, 300)):
        os.utime(learner.folder / "result.json", (age, age))
    assert find_run("02_tiny-seed0") == find_run("02_tiny") == second.folder


@pytest.mark.parametrize("width", [8, 13])
def test_on_a_validation_image_it_is_the_learners_own_prediction(width):
    """Same size, same normalisation: with flips averaged, as `score(flips=True)` does."""
    learner = trained(transforms=eval_transforms((8, width)))
    run = load_run(learner.folder)
    image = photograph("p.png", (width, 8))
    pixels = torch.from_numpy(np.array(Image.open(image))).permute(2, 0, 1) / 255
    x = ((pixels - torch.tensor(run.mean)[:, None, None]) / torch.tensor(run.std)[:, None, None])[None]
    model = learner.model.eval()
    with torch.no_grad():
        expected = (model(x) + model(x.flip(-1)).flip(-1)).argmax(1)[0]
    assert predict_labels(run, Image.open(image), "fp32").equal(expected.to(torch.uint8))


class Seen(nn.Module):
    """Remembers the size of what it is given."""

    def forward(self, x):
        self.size = tuple(x.shape[2:])
        return x[:, :2]


PHOTOGRAPHS = Run(Seen(), StanfordBackground, (0.5,) * 3, (0.2,) * 3)


@pytest.mark.parametrize(
    ("settings", "photo", "seen"),
    [
        ({"resized": (8, 8)}, (40, 10), (4, 16)),  # as many pixels, its own aspect
        ({"resized": (8, 8)}, (3, 3), (8, 8)),
        ({"padded": (32, 32)}, (64, 20), (10, 32)),  # has to fit
        ({"padded": (32, 32)}, (32, 21), (21, 32)),
        ({}, (11, 5), (5, 11)),  # as it is
    ],
)
def test_what_the_network_sees(settings, photo, seen):
    run = Run(Seen(), StanfordBackground, (0.5,) * 3, (0.2,) * 3, **settings)
    assert predict_labels(run, Image.new("RGB", photo), "fp32").shape == photo[::-1]
    assert run.model.size == seen


def test_sizes_come_from_the_runs_own_words():
    run = load_run(trained(transforms=padded_eval_transforms((20, 24))).folder)
    assert tuple(run.padded) == (20, 24) and run.resized is None and run.data is StanfordBackground
    assert tuple(load_run(trained().folder).resized) == (8, 10)


def test_labels_are_the_argmax_of_the_interpolated_logits():
    logits = torch.randn(1, 5, 6, 7)
    expected = F.interpolate(logits, size=(20, 15), mode="bilinear", align_corners=False).argmax(1)[0]
    assert upsampled_argmax(logits, (20, 15)).equal(expected.to(torch.uint8))
    binary = torch.randn(1, 1, 6, 7)
    assert upsampled_argmax(binary, (6, 7)).equal((binary[0, 0] > 0).to(torch.uint8))


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90°
    path = photograph(tmp_path / "p.jpg", (30, 20), exif=exif)
    assert read_photograph(path, PHOTOGRAPHS).size == (20, 30)


def a_colony(folder, grey):
    for kind in ("input", "mask"):
        (folder / f"train_{kind}").mkdir()
        plt.imsave(folder / f"train_{kind}/it_{kind}.png", grey, cmap="viridis", vmin=0, vmax=255)
    return YeastColonies, "train", folder / "train_input/it_input.png"


def a_frame(folder, grey):
    field = 170 + 9 * grey.astype(np.uint16)
    for kind in ("channel1_phase", "mask1"):
        Image.fromarray(field).save(folder / f"it_{kind}.tif")
    return YeastMovie, "all", folder / "it_channel1_phase.tif"


@pytest.mark.parametrize("write", [a_colony, a_frame])
def test_a_data_sets_own_files_are_read_as_in_training(tmp_path, monkeypatch, write):
    cls, split, path = write(tmp_path, np.random.default_rng(0).integers(0, 256, (12, 10), dtype=np.uint8))
    monkeypatch.setattr(base, "locate", lambda *_: tmp_path)
    monkeypatch.setattr(cls, "sample_names", lambda self: ["it"])
    (wanted,) = cls(split=split).images
    found = read_photograph(path, Run(Seen(), cls, (0.1,), (0.05,)))
    assert found.mode == "L" and np.array_equal(found, wanted[0])


def test_what_is_grey_already_is_no_viridis(tmp_path):
    path = photograph(tmp_path / "grey.png", mode="L")
    assert np.array_equal(read_photograph(path, Run(Seen(), YeastColonies, (0.1,), (0.05,))), Image.open(path))


def test_sixteen_bits_are_stretched_not_cut_off(tmp_path):
    values = np.linspace(200, 60000, 300).astype(np.uint16).reshape(15, 20)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = np.asarray(read_photograph(tmp_path / "deep.png", PHOTOGRAPHS))
    assert found.shape == (15, 20, 3) and len(np.unique(found)) > 250 and (np.diff(found[..., 0].ravel()) >= 0).all()


def test_runs_that_cannot_be_repeated_are_named(tmp_path):
    folder = trained().folder
    result = json.loads((folder / "result.json").read_text())
    steps = {"Compose": {"transforms": [{"MedianShift": {}}, {"Normalize": {"mean": [0.0], "std": [1.0]}}]}}
    (folder / "result.json").write_text(json.dumps(result | {"recipe": result["recipe"] | {"valid_transforms": steps}}))
    with pytest.raises(ValueError, match="validated with MedianShift"):
        load_run(folder)
    (folder / "result.json").write_text(json.dumps(result | {"data": "keypoints"}))
    with pytest.raises(ValueError, match="trained on 'keypoints'"):
        load_run(folder)


def test_help_fits_on_a_screen(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--weights RUN" in capsys.readouterr().out
    assert predict.__doc__.count("\n") < 12
