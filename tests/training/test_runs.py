"""What was computed once is loaded: from runs/, from what is published, with weights only where they are needed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Patches, tiny_unet

from cvf20.learner import Learner
from cvf20.losses import cross_entropy_criterion
from cvf20.models.weights import write_half
from cvf20.training import fitting, network, results, runs
from cvf20.training.runs import cached

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project of its own: results/ and weights/ that are published, runs/ and build/ that are not."""
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "build"))
    monkeypatch.setenv("CVF20_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("CVF20_FRESH", raising=False)
    monkeypatch.setattr(runs, "project_dir", lambda: tmp_path)
    return tmp_path


def publish(project):
    """As run_all.sh does, and then a clone: results/ travels, runs/ does not."""
    shutil.copytree(project / "build" / "results", project / "results", dirs_exist_ok=True)
    for folder in ("runs", "build"):
        shutil.rmtree(project / folder)


def tiny(name="03_tiny", model=tiny_unet, valid=None, **choices):
    choices = {"lr": 1e-2, "batch_size": 4, "epochs": 3, "precision": "fp32", "verbose": False} | choices
    return Learner(model, cross_entropy_criterion, Patches(8), valid or Patches(4), name=name, **choices)


def fitted(*arguments, **choices):
    run = tiny(*arguments, **choices)
    run.fit()
    return run


def never(*args, **options):
    pytest.fail("trained again")


@pytest.mark.parametrize("place", ["runs/", "results/ (published)"])
def test_a_finished_run_is_loaded_without_a_step(project, monkeypatch, capsys, place):
    first = fitted(snapshots=(1,), verbose=True)
    test = first.test(Patches(3, seed=4))
    pictures = [first.snapshot(epoch, 1) for epoch in first.snapshot_epochs]
    printed, curves, result = capsys.readouterr().out, first.curves, first.result
    written = published_files(project / "build" / "results")
    publish(project) if place != "runs/" else shutil.rmtree(project / "build")
    monkeypatch.setattr(fitting, "train_network", never)
    monkeypatch.setattr("cvf20.training.learner.train_network", never)
    monkeypatch.setattr("cvf20.training.learner.validate", never)
    again, seen = tiny(snapshots=(1,), verbose=True), []
    again.fit(seen.append)
    assert again.test(Patches(3, seed=4)) == test and again.result == result and again.curves == curves
    assert [row["epoch"] for row in seen] == [1, 2, 3]
    assert all(again.snapshot(e, 1).equal(p) for e, p in zip(again.snapshot_epochs, pictures, strict=True))
    assert again.explainit((3, 16, 16)).parameters == result["parameters"]
    assert capsys.readouterr().out == f"03_tiny-seed0: loaded from {place}\n" + printed
    assert published_files(project / "build" / "results") == written
    if place == "runs/":
        return
    for use in (lambda: again.model, lambda: again.predict(torch.zeros(1, 3, 16, 16))):
        with pytest.raises(FileNotFoundError, match=r"03_tiny-seed0: its weights are .*run_all\.sh --fresh 03"):
            use()


def published_files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_weights_that_were_handed_on_are_used_and_those_of_another_key_refused(project):
    first = fitted()
    images = torch.stack([image for image, _ in first.valid_data])
    before, handed_on = first.predict(images), project / "weights" / f"{first.label}.pt"
    write_half(first.folder / "best.pt", handed_on, first.key)
    publish(project)
    again = fitted()
    torch.testing.assert_close(again.predict(images), before, atol=0.01, rtol=0)
    assert next(again.model.parameters()).dtype == torch.float32
    torch.save({"key": "0" * 64, "weights": first.model.state_dict()}, handed_on)
    with pytest.raises(ValueError, match="holds weights of another run"):
        fitted().model.eval()


@pytest.mark.parametrize("change", ["curves gone", "result torn"])
def test_whatever_does_not_fit_trains(project, change):
    fitted()
    publish(project)
    if change == "curves gone":
        (project / "results" / "03_tiny-seed0.csv").unlink()
    else:
        (project / "results" / "03_tiny-seed0.json").write_text('{"key"')
    assert (fitted().folder / "best.pt").exists()


def test_labels_edited_in_place_train_anew_on_the_same_learner(project):
    """public-reports 5: the digest is that of now."""
    run = fitted()
    key, curves = run.key, run.curves
    run.train_data.masks[0][:] = 2
    run.fit()
    assert run.key != key and run.curves["train_loss"] != curves["train_loss"]


def test_a_run_that_starts_from_another_needs_its_weights_only_to_train(project):
    def two_stages():
        first = fitted()
        return fitted("03_second", lambda: first.model, lr=1e-3)

    before = two_stages()
    publish(project)
    after = two_stages()
    assert (after.key, after.result) == (before.key, before.result) and not (project / "runs").exists()
    keys = {tiny("03_third", lambda: run.model).key for run in (before, after)}  # noqa: B023
    with pytest.raises(FileNotFoundError, match="03_second-seed0: its weights"):
        fitted("03_third", lambda: after.model)
    assert len(keys) == 1


def test_what_is_recorded_stands_in_the_result_and_another_test_set_has_its_own_numbers(project):
    """package.md 11: the split's name does not tell the data."""
    run = fitted()
    run.record("val_averaged", {"mIoU": torch.tensor(0.5), "mAP": np.float32(0.25)})
    scores = [run.score("test", Patches(3, seed=seed)) for seed in (4, 5, 4)]
    assert scores[0] == scores[2] != scores[1]
    (result,) = results.load_results("03_*")
    assert result["metrics"]["val_averaged"] == {"mIoU": 0.5, "mAP": 0.25}
    assert result["metrics"]["val"] and result["metrics"]["test"] == scores[2]


def test_before_fit_there_is_nothing_to_ask(project):
    run = tiny()
    for use in (lambda: run.test(Patches(2)), lambda: run.predict(torch.zeros(1, 3, 16, 16)), lambda: run.result):
        with pytest.raises(RuntimeError, match=r"03_tiny-seed0 is not trained yet: call fit\(\) first"):
            use()
    assert run.explainit((3, 16, 16)).parameters == results.parameters(run.model)


def computed(project):
    return len(list((project / "runs").glob("*/value.json")))


VALUE = {
    "numbers": [1, 2.5, None, True, "text", float("inf")],
    "nested": {"a": {"b": [[1], []]}},
    7: "seven",
    "array": np.arange(6, dtype=np.float16).reshape(2, 3),
    "tensor": torch.arange(4, dtype=torch.uint8),
    "scalars": [np.float32(0.5), torch.tensor(3), np.int64(4)],
    "many": [torch.ones(2), {"deep": np.zeros((0, 3), dtype=bool)}],
}


def test_a_value_is_the_same_computed_loaded_and_published(project, capsys):
    def compute():
        return VALUE

    found = [cached("06_things", compute), cached("06_things", compute)]
    assert computed(project) == 1
    (packed,) = (project / "runs").glob("06_things*/value.npz")
    packed.write_bytes(packed.read_bytes()[:40])  # torn: computed anew
    assert repr(cached("06_things", compute)) == repr(found[0])
    publish(project)
    found.append(cached("06_things", compute))
    assert [repr(value) for value in found] == [repr(VALUE | {"scalars": [0.5, 3, 4]})] * 3 and not computed(project)
    said = capsys.readouterr().out.splitlines()
    assert said == ["06_things-seed0: loaded from runs/", "06_things-seed0: loaded from results/ (published)"]
    files = [f"results/06_things-seed0/value.{end}" for end in ("json", "npz")]
    assert sorted(published_files(project / "build")) == files and results.load_results() == []


def test_a_value_on_a_data_set_is_a_result(project):
    def speed(rounds):
        return {"ms": np.float64(1.5), "rounds": rounds, "nothing": float("nan")}

    data = Patches(2)
    found = [cached("04_speed", speed, 3, data=data, seed=1, quick=True, recipe={"rounds": 3}) for _ in range(2)]
    publish(project)
    found.append(cached("04_speed", speed, 3, data=data, seed=1, quick=True, recipe={"rounds": 3}))
    assert found == [{"ms": 1.5, "rounds": 3, "nothing": None}] * 3
    (result,) = results.load_results("04_*")
    assert set(results.REQUIRED) <= set(result) and result["metrics"] == found[0] and result["quick"] is True
    assert (result["name"], result["seed"], result["recipe"]) == ("04_speed", 1, {"rounds": 3})
    assert result["data_sha256"] == data.sha256 and result["synthetic"] is True
    with pytest.raises(TypeError, match="04_speed: a dict of metrics is wanted with data="):
        cached("04_speed", lambda: 3, data=data)


def test_inputs_seed_and_what_is_read_count(project, monkeypatch):
    factor = [2]

    def compute(value, run=None):
        return value * factor[0]

    first, second = tiny(), tiny(lr=2e-2)
    for arguments, options in [((3,), {}), ((4,), {}), ((3,), {"seed": 1}), ((3,), {"quick": True}), ((3, first), {})]:
        cached("06_x", compute, *arguments, **options)
    assert computed(project) == 5
    assert cached("06_x", compute, 3, second) == 6 and computed(project) == 6
    factor[0] = 5
    assert cached("06_x", compute, 3) == 15 and computed(project) == 7
    factor[0] = 2
    monkeypatch.setenv("CVF20_FRESH", "1")
    assert cached("06_x", compute, 3) == 6 and computed(project) == 7  # runs/ are this machine's own


@pytest.mark.parametrize("value", [object(), {"a": tiny_unet}, np.array([object()]), [Path(".")]])
def test_what_cannot_be_stored_is_named(project, value):
    with pytest.raises(TypeError, match="a cached value holds"):
        cached("06_x", lambda: value)
    assert not list(project.rglob("*.json"))


def test_a_cell_that_is_run_twice_does_the_same_twice(project):
    """package.md 7: the network was trained by the first time."""
    net = tiny_unet()
    first, again = tiny(model=net), None
    first.fit()
    for _ in range(2):  # loaded, then trained anew: from the same start
        again = tiny(model=net)
        assert again.key == first.key and again.model is net
        again.fit()
        assert again.curves["train_loss"] == first.curves["train_loss"]
        shutil.rmtree(project / "runs")
        fitted(model=net, lr=2e-2)


def test_a_second_stage_goes_on_and_changes_by_hand_are_kept(project):
    net = tiny_unet()
    fitted(model=net)
    trained = network.state_of(net)
    second = tiny("03_second", net)
    assert all(value.equal(trained[name]) for name, value in network.state_of(second.model).items())
    other = tiny_unet()
    net.load_state_dict(other.state_dict())
    assert tiny(model=net).key == tiny(model=other).key != tiny(model=tiny_unet()).key


def test_the_random_state_is_the_same_whether_it_trained_or_loaded(project):
    after = []
    for _ in range(2):
        torch.manual_seed(3), np.random.seed(3)
        fitted()
        after.append((torch.rand(1).item(), np.random.rand()))
    torch.manual_seed(3), np.random.seed(3)
    assert after == [(torch.rand(1).item(), np.random.rand())] * 2


def test_a_compiled_network_is_saved_under_plain_names(project):
    part = tiny_unet()
    part.base_module = torch.compile(part.base_module, backend="eager")
    run = fitted(model=lambda: torch.compile(part, backend="eager"), epochs=1)
    saved = torch.load(run.folder / "best.pt", weights_only=True)
    assert not [name for name in saved if "_orig_mod" in name]
    tiny_unet().load_state_dict(saved)


def test_whatever_was_saved_on_another_device_is_loaded(project, monkeypatch):
    """package.md 3: finished or stopped on a GPU, loaded on a CPU. Every load says where to, and best.pt is the CPU's."""
    load, places = torch.load, []

    def record(*args, **options):
        places.append(options.get("map_location"))
        return load(*args, **options)

    def interrupt(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "load", record)
    with pytest.raises(KeyboardInterrupt):
        tiny().fit(interrupt)
    run = fitted()
    run.model.eval()
    assert len(places) == 3 and None not in places
    assert {value.device.type for value in load(run.folder / "best.pt", weights_only=True).values()} == {"cpu"}
