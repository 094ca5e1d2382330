"""Learner: state laws of a run. Same seed, same numbers; stopped and resumed is uninterrupted; finished is loaded."""

from functools import partial

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import Patches, tiny_unet
from torch.optim import SGD
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from cvf20.losses import binary_cross_entropy, cross_entropy_criterion
from cvf20.training import fitting, learner, results
from cvf20.training.learner import Learner
from cvf20.training.recipe import Recipe
from cvf20.transforms import IMAGENET_STD, train_transforms

pytestmark = pytest.mark.usefixtures("one_thread")
AUGMENT = train_transforms((16, 16), degrees=20.0, displacement=1.0, colour=0.2)
CALLS = []  # one entry per call of counted_loss


class Killed(BaseException):
    """As a signal: nothing that catches exceptions catches it."""


def counted_loss(logits, target):
    """Cross-entropy whose `lifetime`-th call is the process's last."""
    CALLS.append(len(logits))
    if len(CALLS) == counted_loss.lifetime:
        raise Killed
    return cross_entropy_criterion(logits, target)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("CVF20_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("CVF20_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(counted_loss, "lifetime", None, raising=False)
    CALLS.clear()
    return tmp_path


def tiny_learner(model=None, loss=counted_loss, **choices):
    """Four epochs of two batches, with everything random that there is: dropout, augmentation, order."""
    settings = {"lr": 1e-2, "batch_size": 4, "epochs": 4, "name": "02_tiny", "precision": "fp32", "verbose": False}
    train, valid = (
        choices.pop("train", None) or Patches(8, transforms=AUGMENT),
        choices.pop("valid", None) or Patches(5),
    )
    return Learner(model or partial(tiny_unet, dropout=0.3), loss, train, valid, **(settings | choices))


def found(run):
    """All that a run gives: curves and weights, and its result less what may differ from day to day."""
    result = {key: value for key, value in run.result.items() if key not in ("seconds", "commit")}
    curves = {key: value for key, value in run.curves.items() if key != "seconds"}
    return result, curves, {key: value.clone() for key, value in run.model.state_dict().items()}


def assert_same(one, other):
    assert one[:2] == other[:2]
    assert one[2].keys() == other[2].keys()
    assert all(one[2][key].equal(other[2][key]) for key in one[2])


def forget(folders):
    """Take the finished runs away, so that the next one trains."""
    (folders / "runs").rename(folders / f"forgotten{len(list(folders.iterdir()))}")


# --- same seed, same numbers; killed, resumed -------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_seed_gives_the_same_numbers_bit_for_bit(folders, precision):
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)  # what happened before the run does not matter
        run = tiny_learner(average=0.9, precision=precision)
        run.fit()
        runs.append(found(run))
        forget(folders)
    assert_same(*runs)
    assert runs[0][0]["precision"] == precision


def kill_in_the_middle_of_an_epoch(monkeypatch):
    counted_loss.lifetime = 10  # an epoch has 2 training and 2 validation batches


def kill_between_best_and_last(monkeypatch):
    save, saved = fitting.save, []

    def save_until(value, path):
        saved.append(path.name)
        if saved.count("last.pt") == 3 and path.name == "last.pt":
            raise Killed
        save(value, path)

    monkeypatch.setattr(fitting, "save", save_until)


def kill_while_writing_a_checkpoint(monkeypatch):
    save, saved = torch.save, []

    def save_half(value, path):
        saved.append(path)
        save(value, path)
        if len([p for p in saved if p.name == "last.tmp"]) == 2:
            path.write_bytes(path.read_bytes()[:1000])
            raise Killed

    monkeypatch.setattr(torch, "save", save_half)


def kill_before_the_result_is_written(monkeypatch):
    def never(run, state, scores):
        raise Killed

    monkeypatch.setattr(fitting, "finish", never)


def kill_after_the_result_is_written(monkeypatch):
    def never(self, split, metrics):
        raise Killed

    monkeypatch.setattr(Learner, "record", never)


KILLS = [
    kill_in_the_middle_of_an_epoch,
    kill_between_best_and_last,
    kill_while_writing_a_checkpoint,
    kill_before_the_result_is_written,
    kill_after_the_result_is_written,
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What the run that the next test kills gives when nothing happens to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVF20_OUT", str(tmp_path_factory.mktemp("out")))
        patch.setenv("CVF20_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setattr(counted_loss, "lifetime", None, raising=False)
        run = tiny_learner(average=0.9, snapshots=(0, 3))
        run.fit()
        pictures = [run.snapshot(epoch, i) for epoch in run.snapshot_epochs for i in (0, 3)]
        return found(run), pictures


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.__name__)
def test_a_killed_run_resumes_to_the_same_result_bit_for_bit(uninterrupted, monkeypatch, kill):
    with monkeypatch.context() as patch:
        kill(patch)
        with pytest.raises(Killed):
            tiny_learner(average=0.9, snapshots=(0, 3)).fit()
    counted_loss.lifetime = None
    CALLS.clear()
    torch.manual_seed(99)
    run = tiny_learner(average=0.9, snapshots=(0, 3))
    run.fit()
    assert len(CALLS) < 16  # it went on, and did not begin again
    assert_same(found(run), uninterrupted[0])
    pictures = [run.snapshot(epoch, i) for epoch in run.snapshot_epochs for i in (0, 3)]
    assert all(a.equal(b) for a, b in zip(pictures, uninterrupted[1], strict=True))
    assert sorted(path.name for path in run.folder.iterdir() if path.suffix in (".pt", ".tmp")) in (
        ["best.pt"],
        ["best.pt", "last.tmp"],
    )


@pytest.mark.parametrize(("optimizer", "schedule"), [("sgd", "cosine")])
def test_other_optimizers_and_schedules_resume_too(folders, optimizer, schedule):
    choices = {"optimizer": optimizer, "schedule": schedule}
    whole = tiny_learner(**choices)
    whole.fit()
    forget(folders)
    CALLS.clear()
    counted_loss.lifetime = 10
    with pytest.raises(Killed):
        tiny_learner(**choices).fit()
    counted_loss.lifetime = None
    resumed = tiny_learner(**choices)
    resumed.fit()
    assert_same(found(whole), found(resumed))


# --- a finished run is loaded -----------------------------------------------------------------------------------------


def test_a_finished_run_is_loaded_and_not_repeated(monkeypatch, capsys):
    first = tiny_learner(verbose=True)
    first.fit()
    printed = capsys.readouterr().out
    monkeypatch.setattr(fitting, "train", lambda *a, **k: pytest.fail("trained again"))
    second = tiny_learner(verbose=True)
    second.fit()
    assert_same(found(first), found(second))
    assert second.result["seconds"] == first.result["seconds"]  # of training, not of loading
    again = capsys.readouterr().out  # the notebook shows the same lines
    said, _, lines = again.partition("\n")
    assert said == "02_tiny-seed0: loaded from runs/"
    assert lines == printed and len(printed.splitlines()) == 4


def test_a_loaded_run_publishes_its_files_again(folders):
    tiny_learner(snapshots=(1,)).fit()
    (folders / "out").rename(folders / "lost")
    tiny_learner(snapshots=(1,)).fit()
    for name in ("02_tiny-seed0.json", "02_tiny-seed0.csv", "02_tiny-seed0/epoch004_0001.png"):
        assert (folders / "out" / "results" / name).read_bytes() == (folders / "lost/results" / name).read_bytes()


@pytest.fixture(scope="module")
def fingerprint_of_the_unchanged():
    return tiny_learner().folder.name[-12:]


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 2e-2},
        {"batch_size": 5},
        {"epochs": 3},
        {"optimizer": "sgd"},
        {"weight_decay": 0.0},
        {"schedule": "cosine"},
        {"grad_clip": None},
        {"average": 0.5},
        {"snapshots": (0,)},
        {"seed": 1},
        {"quick": True},
        {"loss": partial(cross_entropy_criterion, weight=torch.ones(3))},
        {"model": partial(tiny_unet, dropout=0.2)},
        {"model": partial(tiny_unet, activation="elu", dropout=0.3)},
        {"train": Patches(8, seed=1, transforms=AUGMENT)},
        {"train": Patches(7, transforms=AUGMENT)},
        {"train": Patches(8)},
        {"valid": Patches(5, seed=1)},
        {"valid": Patches(5, transforms=train_transforms((16, 16), std=IMAGENET_STD[::-1]))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_changed_makes_another_run(fingerprint_of_the_unchanged, change):
    assert tiny_learner(**change).folder.name[-12:] != fingerprint_of_the_unchanged


def test_other_initial_weights_make_another_run():
    """A network that comes ready-made, e.g. pretrained, is told from another by its weights."""
    one, other = tiny_unet(), tiny_unet()
    assert tiny_learner(one).folder != tiny_learner(other).folder
    other.load_state_dict(one.state_dict())
    assert tiny_learner(one).folder == tiny_learner(other).folder


def test_name_and_verbosity_do_not_change_what_is_trained(fingerprint_of_the_unchanged):
    assert tiny_learner(verbose=True, name="02_other").folder.name[-12:] == fingerprint_of_the_unchanged


# --- what a run writes ------------------------------------------------------------------------------------------------


def test_the_result_says_everything(folders):
    train, valid = Patches(8, transforms=AUGMENT), Patches(5)
    run = tiny_learner(train=train, valid=valid, average=0.9)
    run.fit()
    (result,) = results.load_results("02_*")
    assert result == run.result
    assert set(results.REQUIRED) < set(result)
    assert result["metrics"].keys() == {"val"} and result["metrics"]["val"].keys() == {"mAP", "mIoU", "accuracy"}
    assert result["notebook"] == "02_baselines" and result["data"] == train.name and result["synthetic"] is True
    assert result["data_sha256"] == train.sha256
    assert result["parameters"] == sum(p.numel() for p in tiny_unet().parameters())
    assert result["recipe"] == run.recipe and result["recipe"]["average"] == 0.9
    assert result["versions"]["torch"] == torch.__version__ and result["device"] and result["seconds"] > 0


def test_the_best_epoch_is_kept_and_not_the_last(monkeypatch):
    """A validation that likes epoch 2 best: its weights are those that the run ends with."""
    quality, weights = iter([0.1, 0.9, 0.5, 0.9]), []

    def judge(model, *args, ranked=True, **kwargs):
        if args[0].__class__ is list:  # the check before the first step
            return {"mIoU": 0.0}
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
        return {"mIoU": next(quality), "accuracy": 0.0, "loss": 0.0} if not ranked else {"mIoU": 0.9}

    monkeypatch.setattr("cvf20.training.loop.validate", judge)
    monkeypatch.setattr(fitting, "validate", judge)
    run = tiny_learner()
    run.fit()
    assert run.result["best_epoch"] == 2
    assert all(value.equal(weights[1][key]) for key, value in run.model.state_dict().items())
    assert not all(value.equal(weights[3][key]) for key, value in weights[1].items())


def test_the_reported_metrics_are_those_of_the_kept_weights():
    run = tiny_learner()
    run.fit()
    best = run.curves["epoch"].index(run.result["best_epoch"])
    for metric in ("mIoU", "accuracy"):
        assert run.result["metrics"]["val"][metric] == pytest.approx(run.curves[metric][best], rel=1e-4)
    assert run.curves["mIoU"][best] == max(run.curves["mIoU"])
    images = torch.stack([image for image, _ in run.valid_data])
    target = torch.stack([mask for _, mask in run.valid_data])
    correct = run.predict(images).argmax(1) == target
    assert run.result["metrics"]["val"]["accuracy"] == pytest.approx(correct.double().mean().item(), abs=1e-6)


def test_a_snapshot_is_what_the_network_predicted():
    run = tiny_learner(snapshots=(2,), epochs=1)
    run.fit()
    labels = run.predict(run.valid_data[2][0][None])[0].argmax(0)
    assert run.snapshot_epochs == [1]
    assert run.snapshot(1, 2).equal(labels.to(torch.uint8))


@pytest.mark.parametrize(("epochs", "wanted"), [(20, [1, 5, 10, 20]), (4, [1, 2, 4]), (3, [1, 3]), (1, [1])])
def test_snapshots_are_at_the_first_quarter_half_and_last_epoch(epochs, wanted):
    assert tiny_learner(epochs=epochs).snapshot_epochs == wanted


def test_tensorboard_has_losses_and_pictures():
    run = tiny_learner(snapshots=(0,))
    run.fit()
    events = EventAccumulator(str(run.folder / "events")).Reload()
    assert {"lr", "train_loss", "loss", "mIoU", "accuracy"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(run.curves["loss"], rel=1e-4)
    assert [event.step for event in events.Images("prediction/0")] == run.snapshot_epochs


def test_test_split_is_scored_once_and_kept(monkeypatch):
    run = tiny_learner()
    run.fit()
    scores = run.test(Patches(3, seed=4))
    monkeypatch.setattr(learner, "validate", lambda *a, **k: pytest.fail("test split looked at again"))
    again = tiny_learner()
    again.fit()
    assert again.test(Patches(3, seed=4)) == scores
    assert results.load_results()[0]["metrics"]["test"] == scores


def test_binary_task():
    data = Patches(8, num_classes=1)
    run = tiny_learner(partial(tiny_unet, 1), binary_cross_entropy, train=data, valid=data, snapshots=(0,), lr=3e-2)
    run.fit()
    assert run.result["metrics"]["val"].keys() == {"IoU", "IoU_per_image"}
    assert set(run.snapshot(4, 0).unique().tolist()) <= {0, 1}


# --- behaviour of training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "schedule"), [("adamw", "onecycle"), ("adam", "cosine"), ("sgd", "constant")])
def test_optimizers_and_schedules(optimizer, schedule):
    lr = 1e-2
    run = tiny_learner(loss=cross_entropy_criterion, optimizer=optimizer, schedule=schedule, lr=lr, epochs=5)
    run.fit()
    rates, losses = run.curves["lr"], run.curves["train_loss"]
    assert losses[-1] < losses[0]
    if schedule == "constant":
        assert rates == pytest.approx([lr] * 5)
    else:
        assert max(rates) <= lr and rates[-1] < 0.1 * lr and rates[1:] == sorted(rates[1:], reverse=True)


def test_it_learns():
    """Eight images by heart; whatever the seed, 25 passes are more than enough."""
    data = Patches(8)
    run = tiny_learner(tiny_unet, cross_entropy_criterion, train=data, valid=data, epochs=25, lr=4e-2)
    run.fit()
    assert run.result["metrics"]["val"]["mIoU"] > 0.9


def test_a_quick_run_looks_at_a_few_images_only():
    run = tiny_learner(train=Patches(30), valid=Patches(30), epochs=50, batch_size=16, quick=True)
    run.fit()
    assert run.result["quick"] is True
    assert CALLS == [4, 4, 4, 4] * 2  # 2 epochs of 8 images for training and 8 for validation, 4 at a time
    assert run.snapshot_epochs == [1, 2]


def test_networks_of_both_precisions_live_side_by_side():
    half, full = tiny_learner(precision="bf16"), tiny_learner(precision="fp32")
    half.fit()
    images = torch.stack([image for image, _ in half.valid_data])
    before = half.predict(images)
    full.fit()
    assert half.predict(images).equal(before)
    assert [run.accelerator.mixed_precision for run in (half, full, half)] == ["bf16", "no", "bf16"]
    assert half.predict(images).dtype == torch.float32  # scores are float32 whatever the network computes in
    full.model.load_state_dict(half.model.state_dict())
    assert not full.predict(images).equal(before)  # rounding shows that it was bf16
    torch.testing.assert_close(full.predict(images), before, atol=0.05, rtol=0)


# --- choices that other tasks need ------------------------------------------------------------------------------------


def test_a_slower_encoder(monkeypatch):
    """With a rate near 0 the encoder stands still while the rest moves."""
    rates = []
    loop = fitting.train

    def record(*args, **options):
        rates.extend(group["lr"] for group in args[4].param_groups)
        return loop(*args, **options)

    monkeypatch.setattr(fitting, "train", record)
    run = tiny_learner(lr_scales={"encoder": 1e-9}, optimizer="sgd", weight_decay=0.0, schedule="constant")
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    run.fit()
    moved = {name for name, value in run.model.named_parameters() if not torch.allclose(value, before[name], atol=1e-6)}
    assert rates == pytest.approx([1e-2, 1e-11])
    assert moved and not any(name.startswith("encoder") for name in moved)


def test_frozen_parameters_are_left_out():
    model = tiny_unet()
    frozen = next(model.parameters())
    frozen.requires_grad_(False)
    before = frozen.clone()
    tiny_learner(model, weight_decay=0.5).fit()
    assert frozen.equal(before)


def brightness(logits, target):
    """Any two numbers of a whole split."""
    return {"mean": float(logits.mean()), "images": float(len(target))}


def test_own_metrics_choose_the_best_epoch():
    run = tiny_learner(metrics=brightness, monitor="mean")
    run.fit()
    means = run.curves["mean"]
    assert run.result["best_epoch"] == 1 + means.index(max(means))
    assert run.result["metrics"]["val"] == {"mean": pytest.approx(max(means)), "images": 5.0}
    assert run.test(Patches(7))["images"] == 7
    assert run.folder != tiny_learner(metrics=brightness, monitor="images").folder
    with pytest.raises(ValueError, match="monitor='IoU': expected one of .*mean"):
        tiny_learner(metrics=brightness, monitor="IoU").fit()


class TwoParts:
    """A loss of named parts that is told how far training is."""

    def __init__(self):
        self.progress = []

    def set_progress(self, share):
        self.progress.append(share)

    def __call__(self, logits, target):
        loss = cross_entropy_criterion(logits, target)
        return {"near": 0.25 * loss, "far": 0.75 * loss}


def test_parts_of_a_loss_are_summed_and_logged():
    whole, parts = tiny_learner(loss=cross_entropy_criterion), tiny_learner(loss=TwoParts())
    whole.fit(), parts.fit()
    assert parts.loss.progress == [k / 8 for k in range(8)]  # 4 epochs of 2 batches
    assert parts.curves["train_loss"] == pytest.approx(whole.curves["train_loss"], rel=1e-4)
    assert parts.curves["loss"] == pytest.approx(whole.curves["loss"], rel=1e-4)
    assert parts.curves["train_far"] == pytest.approx([3 * v for v in parts.curves["train_near"]])
    assert "train_near" not in whole.curves


class Detector(torch.nn.Module):
    """As torchvision's: losses in training mode, predictions otherwise."""

    def __init__(self):
        super().__init__()
        self.net = tiny_unet()

    def forward(self, images, target=None):
        logits = self.net(images)
        return {"mask": cross_entropy_criterion(logits, target), "box": 0 * logits.mean()} if self.training else logits


def test_a_network_may_compute_its_own_losses():
    run = tiny_learner(Detector, loss=None)
    run.fit()
    assert {"train_loss", "train_mask", "train_box", "mIoU"} <= set(run.curves)
    assert "loss" not in run.curves


def test_whoever_watches_sees_every_epoch_and_may_stop_the_run():
    def stop(row):
        seen.append(row["epoch"])
        if row["epoch"] == 2:
            raise StopIteration

    seen = []
    with pytest.raises(StopIteration):
        tiny_learner().fit(stop)
    stopped = tiny_learner()
    stopped.fit(lambda row: seen.append(row["epoch"]))
    again = tiny_learner()
    again.fit(lambda row: seen.append(row["epoch"]))
    assert seen == [1, 2, 1, 2, 3, 4, 1, 2, 3, 4]
    assert_same(found(stopped), found(again))


def test_a_bad_loss_names_the_place_and_leaves_no_result(folders):
    def bad(logits, target):
        return logits.mean() * float("nan")

    with pytest.raises(FloatingPointError, match=r"loss is nan in epoch 1, batch 1, at learning rate 0\.00"):
        tiny_learner(loss=bad).fit()
    assert not list(folders.rglob("result.json")) + list(folders.rglob("02_tiny*.json"))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"optimizer": "lion"}, r"optimizer='lion'.*'adamw', 'adam', 'sgd'"),
        ({"schedule": "step"}, r"schedule='step'.*'onecycle', 'cosine', 'constant'"),
        ({"precision": "fp16"}, r"precision='fp16'.*'auto', 'bf16', 'fp32'"),
        ({"epochs": 0}, "epochs=0"),
        ({"lr": 0.0}, "lr=0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_named(choice, message):
    with pytest.raises(ValueError, match=message):
        tiny_learner(**choice)


# --- any data, any numbers --------------------------------------------------------------------------------------------


def pairs(count, seed=0, classes=3):
    images, masks = zip(*Patches(count, classes, seed=seed), strict=True)
    return TensorDataset(torch.stack(images), torch.stack(masks))


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: Subset(d, range(1, len(d))), lambda d: ConcatDataset([d, d])])
def test_any_pairs_train_under_any_name(wrap):
    """No transforms, sha256 or name are needed, and the default name works."""
    choices = {"batch_size": 4, "epochs": 2, "verbose": False, "snapshots": (1,)}
    run = Learner(tiny_unet, cross_entropy_criterion, wrap(pairs(8)), wrap(pairs(4)), **choices)
    run.fit()
    (result,) = results.load_results()
    assert (result["name"], result["data"], result["notebook"]) == ("run", "data", "")
    assert len(result["data_sha256"]) == 64 and run.snapshot(2, 1).shape == (16, 16)
    run.test(pairs(3))


def test_a_part_of_a_data_set_says_of_which():
    """A stand-in stays one, and predict reads how the images were prepared."""
    whole = tiny_learner(train=Patches(8), epochs=1).fit()
    part = tiny_learner(train=ConcatDataset([Subset(Patches(8), range(6))]), valid=Subset(Patches(5), [0, 1]), epochs=1)
    result = part.fit()
    assert result["synthetic"] is True and result["data"] == Patches.name
    assert result["recipe"]["valid_transforms"] == whole["recipe"]["valid_transforms"] != {}


def odd_numbers(logits, target):
    return {
        "single": np.float32(logits.mean()),
        "double": np.float64(1.5),
        "tensor": logits.std(),
        "whole": 3,
        "nothing": float("nan"),
    }


def test_numbers_of_numpy_and_torch_are_numbers(monkeypatch):
    """package.md 4: in settings, metrics, curves, resuming and results."""
    settings = {
        "lr": np.logspace(-2, -1, 2)[0],
        "epochs": np.int64(3),
        "batch_size": torch.tensor(4),
        "seed": np.int64(2),
    }
    settings |= {
        "weight_decay": np.float32(0.5),
        "average": torch.tensor(0.5),
        "grad_clip": np.float64(1),
        "monitor": "tensor",
    }
    with pytest.raises(Killed):
        tiny_learner(metrics=odd_numbers, **settings).fit(lambda row: stop_at(row, 2))
    run = tiny_learner(metrics=odd_numbers, **settings)
    run.fit()
    same = tiny_learner(metrics=odd_numbers, monitor="tensor", lr=0.01, epochs=3, seed=2, weight_decay=0.5, average=0.5)
    assert same.key == run.key
    assert run.curves["double"] == [1.5] * 3 and run.result["metrics"]["val"]["nothing"] is None
    assert tiny_learner(metrics=odd_numbers, **settings).fit() == run.result


def stop_at(row, epoch):
    if row["epoch"] == epoch:
        raise Killed


# --- the best epoch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "monitor", "best"),
    [
        ([0.2, 0.8, float("nan"), 0.5], "m", 2),  # public-reports 3
        ([float("nan"), 0.1, 0.3], "m", 3),
        ([float("nan")] * 2, "m", 2),
        ([-7.0, -5.0, -6.0], "m", 2),  # public-reports 9
        ([3.0, 1.0, 2.0], "my_loss", 2),
    ],
)
def test_the_best_epoch(values, monitor, best):
    """The highest value, of a loss the lowest; no number never is the best, and a value below −1 may be."""
    left = iter([0.0, *values])  # one before the first step

    def metrics(logits, target):
        return {monitor: next(left, 0.0)}

    run = tiny_learner(metrics=metrics, monitor=monitor, epochs=len(values))
    assert run.fit()["best_epoch"] == best


def test_the_lowest_loss_is_the_best():
    run = tiny_learner(monitor="loss", lr=0.1)
    run.fit()
    assert run.result["best_epoch"] == 1 + run.curves["loss"].index(min(run.curves["loss"]))


# --- stopped in the same process --------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [6])
def test_interrupted_and_fitted_again_is_uninterrupted(folders, calls):
    """public-reports 4: Ctrl-C in an epoch, then fit() again on the same Learner, of a network given either way."""
    for build in (lambda: partial(tiny_unet, dropout=0.3), lambda: tiny_unet(dropout=0.3)):
        found_here = []
        for lifetime in (None, calls):
            torch.manual_seed(1)
            run = tiny_learner(build(), average=0.9)
            CALLS.clear()
            counted_loss.lifetime = lifetime
            if lifetime:
                with pytest.raises(Killed):
                    run.fit()
                counted_loss.lifetime = None
            run.fit()
            found_here.append(found(run))
            forget(folders)
        assert_same(*found_here)


# --- errors before the first step -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ({"metrics": lambda logits, target: 0.5}, TypeError, "'float' object"),
        ({"metrics": lambda logits, target: {}}, ValueError, "monitor=None: expected one of"),
        ({"metrics": lambda logits, target: {"m": torch.ones(2)}}, ValueError, "one element"),
        ({"metrics": lambda logits, target: {"m": "good"}}, ValueError, "'good'"),
        ({"lr_scales": {"no_such": 0.1}}, ValueError, "lr_scales: no parameter of UNet starts with 'no_such'"),
        ({"metrics": lambda logits, target: {"m": 1.0}}, ValueError, "monitor=None: expected one of m"),
        ({"snapshots": (5,)}, ValueError, r"snapshots=\(5,\): valid_data has 5 images"),
        ({"monitor": "mIuO"}, ValueError, "monitor='mIuO': expected one of mIoU, accuracy"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_step(choice, error, message):
    with pytest.raises(error, match=message):
        tiny_learner(**choice).fit()
    assert not CALLS


def test_masks_of_0_and_255_without_a_masks_attribute():
    """public-reports 6: found in the items."""
    data = TensorDataset(pairs(4, classes=1).tensors[0], pairs(4, classes=1).tensors[1] * 255)
    with pytest.raises(ValueError, match="map them to 0 and 1"):
        tiny_learner(partial(tiny_unet, 1), binary_cross_entropy, train=data, valid=data).fit()


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "a\\b", None])
def test_a_name_that_is_no_file_name(name):
    with pytest.raises(ValueError, match="a file name without a slash is wanted"):
        tiny_learner(name=name)


def test_an_unknown_setting_is_named_beside_the_known_ones():
    with pytest.raises(TypeError, match="no setting patience, weigth_decay; there are .*weight_decay"):
        tiny_learner(weigth_decay=1, patience=3)
    with pytest.raises(TypeError, match="model must build a network"):
        tiny_learner(lambda: 3).fit()


# --- oddities of losses and schedules ---------------------------------------------------------------------------------


def test_a_loss_dict_with_a_part_called_loss_keeps_its_parts():
    """package.md 14."""
    run = tiny_learner(loss=lambda logits, target: {"loss": logits.square().mean(), "rest": logits.abs().mean()})
    run.fit()
    parts = zip(run.curves["train_loss_part"], run.curves["train_rest"], strict=True)
    assert run.curves["train_loss"] == pytest.approx([a + b for a, b in parts], rel=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 3, 100])
@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
def test_every_schedule_has_steps_near_its_highest_rate(steps, schedule):
    """package.md 16: a single step of one cycle ran at 4e-8."""
    optimizer, rates = SGD([torch.zeros(1, requires_grad=True)], 1.0), []
    scheduler = Recipe(lr=1.0, schedule=schedule).make_schedule(optimizer, steps)
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step(), scheduler.step()
    assert max(rates) > 0.6 and min(rates) > 0
    assert rates.index(max(rates)) == (14 if (schedule, steps) == ("onecycle", 100) else 0)
