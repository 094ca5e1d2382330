"""Learner: state laws of a run. Same seed, same numbers; stopped and resumed is uninterrupted; finished is loaded."""

from functools import partial

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import Patches, tiny_unet
from torch.optim import SGD
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from cvf20.labels import VOID
from cvf20.losses import binary_cross_entropy, cross_entropy_criterion
from cvf20.training import fitting, results
from cvf20.training.learner import Learner
from cvf20.training.recipe import Recipe
from cvf20.transforms import train_transforms

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


def tiny_learner(model=None, loss=counted_loss, train=None, valid=None, **choices):
    """Four epochs of two batches, with everything random that there is: dropout, augmentation, order."""
    settings = {"lr": 1e-2, "batch_size": 4, "epochs": 4, "name": "02_tiny", "precision": "fp32", "verbose": False}
    data = train or Patches(8, transforms=AUGMENT), valid or Patches(5)
    return Learner(model or partial(tiny_unet, dropout=0.3), loss, *data, **(settings | choices))


def fitted(*arguments, **choices):
    run = tiny_learner(*arguments, **choices)
    run.fit()
    return run


def found(run):
    """All that a run gives: curves, weights, and its result less what may differ from day to day."""
    result = {key: value for key, value in run.result.items() if key not in ("seconds", "commit")}
    curves = {key: value for key, value in run.curves.items() if key != "seconds"}
    return result, curves, {key: value.tolist() for key, value in run.model.state_dict().items()}


def die(*arguments, **options):
    raise Killed


def die_in_the_third_epoch(path, write, replace=results.replace):
    if path.name == "last.pt" and len(CALLS) == 12:  # an epoch has 2 training and 2 validation batches
        raise Killed
    replace(path, write)


KILLS = {
    "in the middle of an epoch": (counted_loss, "lifetime", 10),
    "between best and last": (results, "replace", die_in_the_third_epoch),
    "before the result is written": (fitting, "finish", die),
    "after the result is written": (Learner, "record", die),
}


def all_of(run):
    return *found(run), [run.snapshot(epoch, i).tolist() for epoch in run.snapshot_epochs for i in run.snapshots]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What the run that the next test kills gives when nothing happens to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVF20_OUT", str(tmp_path_factory.mktemp("out")))
        patch.setenv("CVF20_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setattr(counted_loss, "lifetime", None, raising=False)
        return all_of(fitted(average=0.9, snapshots=(0, 3)))


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_killed_run_resumes_to_the_same_result_bit_for_bit(uninterrupted, monkeypatch, kill):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(*kill)
        fitted(average=0.9, snapshots=(0, 3))
    CALLS.clear()
    torch.manual_seed(99)
    run = fitted(average=0.9, snapshots=(0, 3))
    assert len(CALLS) < 16  # it went on, and did not begin again
    assert all_of(run) == uninterrupted
    assert [path.name for path in run.folder.glob("*.pt")] == ["best.pt"]


@pytest.mark.parametrize("given", [False, True])
def test_interrupted_and_fitted_again_is_uninterrupted(folders, given):
    """public-reports 4: Ctrl-C in an epoch, then fit() again on the same Learner, of a network given either way."""
    runs = []
    for lifetime in (None, 6):
        torch.manual_seed(1)
        run = tiny_learner(tiny_unet(dropout=0.3) if given else None, average=0.9)
        CALLS.clear()
        counted_loss.lifetime = lifetime
        if lifetime:
            with pytest.raises(Killed):
                run.fit()
        run.fit()
        runs.append(found(run))
        (folders / "runs").rename(folders / f"forgotten{lifetime}")
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "change",
    [
        *({"lr": 2e-2}, {"batch_size": 5}, {"epochs": 3}, {"optimizer": "sgd"}, {"weight_decay": 0.0}),
        *({"schedule": "cosine"}, {"grad_clip": None}, {"average": 0.5}, {"snapshots": (0,)}, {"seed": 1}),
        *({"quick": True}, {"monitor": "mIoU"}),
        {"loss": partial(cross_entropy_criterion, weight=torch.ones(3))},
        {"model": partial(tiny_unet, dropout=0.2)},
        {"train": Patches(7, transforms=AUGMENT)},
        {"train": Patches(8)},
        {"valid": Patches(5, seed=1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_changed_makes_another_run(change):
    assert tiny_learner(**change).key != tiny_learner().key == tiny_learner(verbose=True, name="02_other").key


def test_the_result_says_everything():
    train = Patches(8, transforms=AUGMENT)
    run = fitted(train=train, average=0.9)
    (result,) = results.load_results("02_*")
    assert result == run.result and set(results.REQUIRED) < set(result)
    assert result["metrics"].keys() == {"val"} and result["metrics"]["val"].keys() == {"mAP", "mIoU", "accuracy"}
    assert result["notebook"] == "02_baselines" and result["data"] == train.name and result["synthetic"] is True
    assert result["key"] == run.key and result["data_sha256"] == train.sha256 and result["sample"] is False
    assert result["parameters"] == result["trainable"] == sum(p.numel() for p in tiny_unet().parameters())
    assert result["network"].startswith("cvf20.models.UNet(1, 3, 3,") and result["precision"] == "fp32"
    assert result["recipe"] == {"model": "UNet"} | run.recipe and result["recipe"]["average"] == 0.9
    assert result["versions"]["torch"] == torch.__version__ and result["device"] and result["seconds"] > 0


def test_the_reported_metrics_are_those_of_the_kept_weights():
    run = fitted()
    best = run.curves["epoch"].index(run.result["best_epoch"])
    for metric in ("mIoU", "accuracy"):
        assert run.result["metrics"]["val"][metric] == pytest.approx(run.curves[metric][best], rel=1e-4)
    assert run.curves["mIoU"][best] == max(run.curves["mIoU"])
    images, target = map(torch.stack, zip(*run.valid_data, strict=True))
    correct = run.predict(images).argmax(1) == target
    assert run.result["metrics"]["val"]["accuracy"] == pytest.approx(correct.double().mean().item(), abs=1e-6)


@pytest.mark.parametrize(("epochs", "wanted"), [(20, [1, 5, 10, 20]), (4, [1, 2, 4]), (3, [1, 3]), (1, [1])])
def test_snapshots_are_at_the_first_quarter_half_and_last_epoch(epochs, wanted):
    run = tiny_learner(epochs=epochs, snapshots=(2,))
    assert run.snapshot_epochs == wanted
    if epochs == 1:
        run.fit()
        labels = run.predict(run.valid_data[2][0][None])[0].argmax(0)
        assert run.snapshot(1, 2).equal(labels.to(torch.uint8))


def test_tensorboard_has_losses_and_pictures():
    run = fitted(snapshots=(0,))
    events = EventAccumulator(str(run.folder / "events")).Reload()
    assert {"lr", "train_loss", "loss", "mIoU", "accuracy"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(run.curves["loss"], rel=1e-4)
    assert [event.step for event in events.Images("prediction/0")] == run.snapshot_epochs


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


@pytest.mark.parametrize(
    ("classes", "loss", "metric"), [(3, cross_entropy_criterion, "mIoU"), (1, binary_cross_entropy, "IoU")]
)
def test_it_learns(classes, loss, metric):
    """Eight images by heart; whatever the seed, 25 passes are more than enough."""
    data = Patches(8, num_classes=classes)
    run = fitted(partial(tiny_unet, classes), loss, train=data, valid=data, epochs=25, lr=4e-2, snapshots=(0,))
    assert run.result["metrics"]["val"][metric] > 0.9
    assert set(run.snapshot(25, 0).unique().tolist()) <= set(range(max(2, classes)))


def test_a_quick_run_looks_at_a_few_images_only():
    run = fitted(train=Patches(30), valid=Patches(30), epochs=50, batch_size=16, quick=True)
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


def test_a_slower_encoder_and_frozen_parameters():
    """With a rate near 0 the encoder stands still, and what is frozen too, while the rest moves."""
    model = tiny_unet()
    model.final_module.bias.requires_grad_(False)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    fitted(model, lr_scales={"encoder": 1e-9}, optimizer="sgd", weight_decay=0.5, schedule="constant")
    moved = {name for name, value in model.named_parameters() if not torch.allclose(value, before[name], atol=1e-6)}
    assert "final_module.weight" in moved and "final_module.bias" not in moved
    assert not any(name.startswith("encoder") for name in moved)


@pytest.mark.parametrize(
    ("values", "monitor", "best"),
    [
        ([0.2, 0.8, float("nan"), 0.5], "m", 2),  # public-reports 3
        ([float("nan"), 0.1, 0.3], "m", 3),
        ([float("nan")] * 2, "m", 2),
        ([-7.0, -5.0, -6.0], "m", 2),  # public-reports 9
        ([3.0, 1.0, 2.0], "my_loss", 2),  # package.md 13
    ],
)
def test_the_best_epoch(values, monitor, best):
    """The highest value, of a loss the lowest; no number never is the best, and a value below −1 may be."""
    left = iter([0.0, *values])  # one before the first step
    run = tiny_learner(metrics=lambda logits, target: {monitor: next(left, 0.0)}, monitor=monitor, epochs=len(values))
    assert run.fit()["best_epoch"] == best


class Parts:
    """A loss of two named parts that is told how far training is."""

    def __init__(self, *names):
        self.names, self.progress = names, []

    def set_progress(self, share):
        self.progress.append(share)

    def __call__(self, logits, target):
        loss = cross_entropy_criterion(logits, target)
        return dict(zip(self.names, (0.25 * loss, 0.75 * loss), strict=True))


@pytest.mark.parametrize("names", [("near", "far"), ("part", "loss")])
def test_parts_of_a_loss_are_summed_and_logged(names):
    """package.md 14: also where one is called loss."""
    whole, parts = fitted(loss=cross_entropy_criterion), fitted(loss=Parts(*names))
    assert parts.loss.progress == [k / 8 for k in range(8)]  # 4 epochs of 2 batches
    assert parts.curves["train_loss"] == pytest.approx(whole.curves["train_loss"], rel=1e-4)
    assert parts.curves["loss"] == pytest.approx(whole.curves["loss"], rel=1e-4)
    one, other = ("train_loss_part" if name == "loss" else f"train_{name}" for name in names)
    assert parts.curves[other] == pytest.approx([3 * value for value in parts.curves[one]])
    assert one not in whole.curves


def pairs(count):
    images, masks = zip(*Patches(count), strict=True)
    return TensorDataset(torch.stack(images), torch.stack(masks))


OF_255 = TensorDataset(pairs(4).tensors[0], VOID * (pairs(4).tensors[1] > 0))


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
    numbers = {"single": np.float32(logits.mean()), "double": np.float64(1.5), "tensor": logits.std()}
    return numbers | {"whole": 3, "nothing": float("nan"), "endless": float("inf")}


def test_numbers_of_numpy_and_torch_are_numbers():
    """package.md 4: in settings, metrics, curves, resuming and results."""
    settings = {"lr": np.logspace(-2, -1, 2)[0], "epochs": np.int64(3), "batch_size": torch.tensor(4)}
    settings |= {"seed": np.int64(2), "weight_decay": np.float32(0.5), "average": torch.tensor(0.5)}
    settings |= {"grad_clip": np.float64(1)}
    plain = {"lr": 0.01, "epochs": 3, "seed": 2, "weight_decay": 0.5, "average": 0.5}
    own = {"metrics": odd_numbers, "monitor": "tensor"}
    with pytest.raises(Killed):
        tiny_learner(**own, **settings).fit(lambda row: die() if row["epoch"] == 2 else None)
    run, seen = tiny_learner(**own, **settings), []
    run.fit(lambda row: seen.append(row["epoch"]))
    assert seen == [1, 2, 3], "of those trained earlier, too"
    assert tiny_learner(**own, **plain).key == run.key
    scores = results.load_results()[0]["metrics"]["val"]
    assert run.curves["double"] == [1.5] * 3 and scores["nothing"] is scores["endless"] is None
    assert tiny_learner(**own, **settings).fit() == run.result


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ({"optimizer": "lion"}, ValueError, r"optimizer='lion'.*'adamw', 'adam', 'sgd'"),
        ({"schedule": "step"}, ValueError, r"schedule='step'.*'onecycle', 'cosine', 'constant'"),
        ({"precision": "fp16"}, ValueError, r"precision='fp16'.*'auto', 'bf16', 'fp32'"),
        ({"epochs": 0}, ValueError, "epochs=0"),
        ({"lr": 0.0}, ValueError, "lr=0"),
        ({"name": "a/b"}, ValueError, "a file name without a slash is wanted"),
        ({"patience": 3}, TypeError, "unexpected keyword argument 'patience'"),
        ({"metrics": lambda logits, target: 0.5}, TypeError, "'float' object"),
        ({"metrics": lambda logits, target: {}}, ValueError, "monitor=None: expected one of"),
        ({"metrics": lambda logits, target: {"m": torch.ones(2)}}, ValueError, "one element"),
        ({"metrics": lambda logits, target: {"m": "good"}}, ValueError, "'good'"),
        ({"metrics": lambda logits, target: {"m": 1.0}}, ValueError, "monitor=None: expected one of m"),
        ({"lr_scales": {"no_such": 0.1}}, ValueError, "lr_scales: no parameter of UNet starts with 'no_such'"),
        ({"snapshots": (5,)}, ValueError, r"snapshots=\(5,\): valid_data has 5 images"),
        ({"monitor": "mIuO"}, ValueError, "monitor='mIuO': expected one of mIoU, accuracy"),
        ({"model": lambda: 3}, TypeError, "model must build a network"),
        # public-reports 6: without an attribute masks the items are looked at
        ({"model": partial(tiny_unet, 1), "train": OF_255, "valid": OF_255}, ValueError, "map them to 0 and 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_said_before_the_first_step(choice, error, message):
    with pytest.raises(error, match=message):
        tiny_learner(**choice).fit()
    assert not CALLS
