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
from torchvision.transforms import v2

from cvf20 import predict
from cvf20.datasets import StanfordBackground, YeastColonies, YeastMovie
from cvf20.losses import cross_entropy_criterion
from cvf20.models import BaseConv, UNet, WatershedNet, spec_of
from cvf20.models.weights import write_half
from cvf20.predict import Run, find_run, load_run, main, predict_labels, read_photograph
from cvf20.training.learner import Learner
from cvf20.training.results import write_text
from cvf20.transforms import IMAGENET_MEAN, IMAGENET_STD, PadTo, ScaleInto, eval_transforms, to_input

NORMALISED = {"Compose": {"transforms": [{"ToDtype": {}}, {"Normalize": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}}]}}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("CVF20_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(predict, "project_dir", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)


def a_result(built, **more):
    steps = {"Compose": {"transforms": [{"ResizeImage": {"size": [8, 10]}}, NORMALISED]}}
    result = {"network": spec_of(built), "data": "stanford_background", "quick": False, "key": "ab"}
    return result | {"metrics": {"val": {}}, "recipe": {"valid_transforms": steps}} | more


def finished(label="02_tiny-seed0-abc", **more):
    """A folder in runs/ as a finished run leaves it, without its training."""
    network, folder = BaseConv(3, 9, (4,)), predict.runs_dir() / label
    write_text(folder / "result.json", json.dumps(a_result(network) | more))
    torch.save(network.state_dict(), folder / "best.pt")
    return folder


def published(label, network, **more):
    """The same in results/ and weights/, in half precision."""
    torch.save(network.state_dict(), source := predict.project_dir() / "best.pt")
    write_half(source, file := predict.project_dir() / f"weights/{label}.pt", key="ab")
    write_text(predict.project_dir() / f"results/{label}.json", json.dumps(a_result(network, **more)))
    return file


def photograph(path, size=(30, 20), mode="RGB"):
    channels = {"RGB": (3,), "RGBA": (4,), "L": ()}[mode]
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], *channels), dtype=np.uint8)).save(path)
    return path


def made(folder="predictions"):
    return sorted(path.name for path in predict.Path(folder).iterdir())


def test_command_writes_labels_and_overlay_and_goes_on_after_bad_images(tmp_path, capsys):
    folder = finished()
    good = [photograph(tmp_path / "one.png"), photograph(tmp_path / "two.jpg", (1, 7))]
    good += [photograph(tmp_path / "grey.png", mode="L"), photograph(tmp_path / "alpha.png", mode="RGBA")]
    (broken := tmp_path / "broken.jpg").write_bytes(good[1].read_bytes()[:200])
    names = map(str, [good[0], tmp_path / "gone.jpg", broken, *good[1:]])
    assert main(["--weights", "02_tiny-seed0", "--out", "made", *names]) == 1
    said = capsys.readouterr().err
    assert "gone.jpg" in said and "broken.jpg" in said and len(said.splitlines()) == 2 and len(made("made")) == 8
    for path in good:
        labels, overlay = (Image.open(f"made/{path.stem}_{kind}.png") for kind in ("labels", "overlay"))
        assert labels.size == overlay.size == Image.open(path).size and labels.mode == "P"
        classes = np.asarray(labels)
        assert np.array_equal(np.asarray(labels.convert("RGB")), StanfordBackground.palette[classes])
        assert np.array_equal(classes, predict_labels(load_run(folder), Image.open(path).convert("RGB")))


def test_the_default_is_the_best_network_of_the_scenes_in_weights(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["photo.jpg"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "no network of the scenes in" in said
    assert "run_all.sh 07" in said and "--weights RUN" in said and "Traceback" not in said
    best = UNet(1, 3, 9, 4, norm_type="batch")
    published("03_unet-seed0", BaseConv(3, 9, (4,)), metrics={"val": {"mAP": 0.4}})
    published("07_resnet-seed0", best, metrics={"val": {"mAP": 0.7}})
    published("07_other-seed0", BaseConv(3, 9, (3,)), metrics={"val": {"mAP": 0.8}}, quick=True)
    published("05_cells-seed0", BaseConv(1, 1, (3,)), metrics={"val": {"IoU": 0.9}}, data="yeast_movie")
    (tmp_path / "weights/no_result.pt").write_bytes(b"")
    run = load_run()
    assert spec_of(run.model) == spec_of(best) and not run.model.training
    for name, value in run.model.state_dict().items():
        assert value.equal(best.state_dict()[name].half().to(value.dtype))
    assert main([str(photograph(tmp_path / "photo.jpg"))]) == 0 and len(made()) == 2


def test_a_run_is_found_by_folder_or_name_the_newest_first(tmp_path, capsys):
    old, new, other = (finished(name) for name in ("02_tiny-seed0-1", "02_tiny-seed0-2", "02_tiny_other-seed0-3"))
    file = published("07_resnet-seed1", BaseConv(3, 9, (4,)))
    for folder, age in ((old, 100), (new, 200), (other, 300)):
        os.utime(folder / "best.pt", (age, age))
    assert {find_run(run)[1].parent for run in (old, str(old), old.name)} == {old}
    assert {find_run(run)[1].parent for run in ("02_tiny-seed0", "02_tiny")} == {new}
    assert {find_run(run)[1] for run in (file, "07_resnet", "07_resnet-seed1")} == {file}
    with pytest.raises(SystemExit) as stopped:
        main(["--weights", "nothing", "a.jpg"])
    assert stopped.value.code == 2 and "--weights nothing: no finished run in" in capsys.readouterr().err


def test_runs_that_cannot_be_repeated_are_named(tmp_path):
    folder, (result, _) = finished(), find_run("02_tiny")
    steps = {"Compose": {"transforms": [{"MedianShift": {}}, {"Normalize": {"mean": [0.0], "std": [1.0]}}]}}
    for words, changed in (
        ("validated with .'MedianShift'", {"recipe": {"valid_transforms": steps}}),
        (r"validated with \[\]", {"recipe": {"valid_transforms": None}}),
        ("does not say how its network is built", {"network": None}),
        ("no class __main__.Mine .*your_models.py", {"network": "__main__.Mine(3, 9, (4,))"}),
        ("best.pt is no readable state dict", {}),
    ):
        (folder / "result.json").write_text(json.dumps(result | changed))
        if not changed:
            (folder / "best.pt").write_text("<html>")
        with pytest.raises(ValueError, match=words):
            load_run(folder)
        with pytest.raises(SystemExit):  # which says it without a traceback
            main(["--weights", str(folder), "a.jpg"])
    file = published("03_x-seed0", BaseConv(3, 9, (4,)), key="other")
    with pytest.raises(ValueError, match="x-seed0.pt holds weights of another run: key ab, wanted other"):
        load_run(file)


@pytest.mark.parametrize(
    ("transforms", "seen"),
    [
        (eval_transforms((8, 13)), {"resized": [8, 13], "padded": None}),
        (eval_transforms(), {"resized": None, "padded": None}),
        (v2.Compose([PadTo((20, 24)), to_input()]), {"resized": None, "padded": [20, 24]}),
        (v2.Compose([ScaleInto((20, 24)), PadTo((20, 24)), to_input()]), {"resized": None, "padded": [20, 24]}),
    ],
)
def test_a_learners_run_is_understood(transforms, seen):
    """And on a validation image it is the learner's own prediction, averaged with that of the mirror image."""
    data, valid = Patches(4, 3), Patches(2, 3, transforms=transforms)
    how = dict(epochs=1, name="02_tiny", verbose=False)
    learner = Learner(lambda: BaseConv(3, 9, (4,)), cross_entropy_criterion, data, valid, **how)
    learner.fit()
    run = load_run(learner.folder)
    assert {name: getattr(run, name) and list(getattr(run, name)) for name in seen} == seen
    if seen["resized"]:
        image = Image.open(photograph("p.png", seen["resized"][::-1]))
        x = to_input(run.mean, run.std)(image)[None]
        model = learner.model.cpu().eval()
        with torch.no_grad():
            expected = (model(x) + model(x.flip(-1)).flip(-1)).argmax(1)[0]
        assert predict_labels(run, image, "fp32").equal(expected.to(torch.uint8))


class Seen(nn.Module):
    def forward(self, x):
        self.size = tuple(x.shape[2:])
        return x[:, :2]


def photographs(network=None, data=StanfordBackground, channels=3, **settings):
    return Run(network or Seen(), data.name, data.palette, (0.5,) * channels, (0.2,) * channels, **settings)


@pytest.mark.parametrize(
    ("settings", "photo", "seen"),
    [
        ({"resized": (8, 8)}, (40, 10), (4, 16)),  # as many pixels, its own aspect
        ({"resized": (8, 8)}, (3, 3), (8, 8)),
        ({"padded": (32, 32)}, (64, 20), (10, 32)),  # has to fit
        ({}, (11, 5), (5, 11)),  # as it is
    ],
)
def test_what_the_network_sees(settings, photo, seen):
    run = photographs(**settings)
    assert predict_labels(run, Image.new("RGB", photo), "fp32").shape == photo[::-1]
    assert run.model.size == seen


@pytest.mark.parametrize("resized", [(8, 24), (24, 72), (64, 192)])
def test_labels_do_not_shift_whatever_size_the_network_sees(resized):
    """Half-pixel-exact: a border in the middle of the photograph stays in the middle."""

    class Bright(nn.Module):
        def forward(self, x):
            return torch.cat([-x[:, :1], x[:, :1]], 1)

    image = Image.fromarray(np.repeat(np.repeat(np.array([[[0], [255]]], np.uint8), 30, 1), 20, 0)[..., [0, 0, 0]])
    labels = predict_labels(photographs(Bright(), resized=resized), image, "fp32")
    assert labels[:, :30].sum() == 0 and (labels[:, 30:] == 1).all()


@pytest.mark.parametrize("label", [0, 1])
def test_foreground_of_one_class_and_of_a_watershed_network(label):
    """With a sigmoid at the end 0.4 is background, which a logit of 0.4 is not; other heads of a watershed are not shown."""
    ends = UNet(0, 3, 1, (2,), final_activation="sigmoid")
    watershed = WatershedNet(lambda channels: BaseConv(3, channels, (2,)), 4)
    for network, last, bias in (
        (ends, ends.final_module[0], [0.8 * label - 0.4]),
        (watershed, watershed.body[-1], [2.0 * label - 1, 0, 0, 0, 5, 0, 0]),
    ):
        nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor(bias)
        assert (predict_labels(photographs(network), Image.new("RGB", (6, 5)), "fp32") == label).all()


def a_colony(folder, grey):
    plt.imsave(folder / "it_input.png", grey, cmap="viridis", vmin=0, vmax=255)
    return YeastColonies, folder / "it_input.png", grey


def a_frame(folder, grey):
    field = 170 + 9 * grey.astype(np.uint16)
    Image.fromarray(field).save(folder / "it_channel1_phase.tif")
    return YeastMovie, folder / "it_channel1_phase.tif", predict.stretch(field)


@pytest.mark.parametrize("write", [a_colony, a_frame])
def test_a_data_sets_own_files_are_read_as_in_training(tmp_path, write):
    cls, path, wanted = write(tmp_path, np.random.default_rng(0).integers(0, 256, (12, 10), dtype=np.uint8))
    found = read_photograph(path, photographs(data=cls, channels=1))
    assert found.mode == "L" and np.abs(np.asarray(found).astype(int) - wanted).max() <= 1  # two greys share a colour
