"""train, validate and evaluate_model by themselves: against loops written out by hand."""

import math
from functools import partial

import pytest
import torch
from tiny import Patches, tiny_unet
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from cvf20.labels import VOID
from cvf20.losses import cross_entropy_criterion
from cvf20.metrics import average_precision, compute_confusion_matrix, iou
from cvf20.models import UNet
from cvf20.training.devices import to_device
from cvf20.training.loop import evaluate_model, make_accelerator, seed_everything, train, validate
from cvf20.transforms import eval_transforms

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def accelerator():
    return make_accelerator("fp32")


def images_and_targets(data):
    return tuple(torch.stack(parts) for parts in zip(*data, strict=True))


def on_cpu(model):
    return model.to("cpu").eval()


def test_validate_is_the_metrics_of_all_pixels_together(accelerator):
    """Batches of 3, 3 and 1 of images with different shares of void: a mean over batches would differ."""
    data, model = Patches(7, void=True), tiny_unet(dropout=0.5).train().to(accelerator.device)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = validate(model, DataLoader(data, 3), cross_entropy_criterion, accelerator=accelerator)
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())  # nothing is trained
    images, target = images_and_targets(data)
    with torch.no_grad():
        scores = on_cpu(model)(images).softmax(1)
    confusion = compute_confusion_matrix(scores.argmax(1), target, 3)
    correct = (scores.argmax(1) == target) & (target != VOID)
    assert found["mIoU"] == pytest.approx(float(iou(confusion).nanmean()), abs=1e-6)
    assert found["accuracy"] == pytest.approx(float(correct.sum() / (target != VOID).sum()), abs=1e-6)
    assert found["mAP"] == pytest.approx(float(average_precision(scores, target).mean()), abs=1e-4)  # near ties


def test_scores_are_taken_at_the_size_of_the_labels(accelerator):
    """A network that sees 8×8 images is judged on the 16×16 labels, its logits interpolated."""
    data, model = Patches(4, transforms=eval_transforms((8, 8))), on_cpu(tiny_unet())
    images, target = images_and_targets(data)
    assert images.shape[2:] == (8, 8) and target.shape[1:] == (16, 16)
    found = validate(model, DataLoader(data, 3), accelerator=accelerator)
    with torch.no_grad():
        logits = F.interpolate(model(images), size=(16, 16), mode="bilinear", align_corners=False)
    assert found["accuracy"] == pytest.approx((logits.argmax(1) == target).double().mean().item(), abs=0.01)
    assert evaluate_model(model, data, precision="fp32") == pytest.approx(found["accuracy"], abs=1e-6)


@pytest.mark.parametrize("void", [False, True])
def test_evaluate_model_equals_counting_pixel_by_pixel(void):
    data, model = Patches(5, void=void), on_cpu(tiny_unet())
    data.masks[0].flatten()[1:] = VOID  # its one labelled pixel counts as much as all of another image
    data.masks[0][0, 0] = 1
    per_image = []
    for image, mask in data:
        with torch.no_grad():
            labels = model(image[None])[0].argmax(0)
        judged = [(p == t) for p, t in zip(labels.flatten().tolist(), mask.flatten().tolist(), strict=True) if t != 255]
        if judged:
            per_image.append(sum(judged) / len(judged))
    assert len(per_image) == (4 if void else 5)
    assert evaluate_model(model, data, batch_size=2, precision="fp32") == pytest.approx(sum(per_image) / len(per_image))


class Perfect(nn.Module):
    """Knows the labels of an image by its first channel; wrong: says the opposite."""

    def __init__(self, channels, wrong=False):
        super().__init__()
        self.channels, self.wrong, self.weight = channels, wrong, nn.Parameter(torch.zeros(1))

    def forward(self, images):
        labels = (images[:, 0] > 0.7) ^ self.wrong
        return 10.0 * labels[:, None] - 5 if self.channels == 1 else torch.stack([~labels, labels], 1).float()


@pytest.mark.parametrize(("channels", "shape"), [(1, (16, 16)), (1, (1, 16, 16)), (2, (16, 16))])
def test_a_perfect_network_scores_one(channels, shape):
    """package.md 10: the argmax of a single channel is always 0. Labels of −1 are void, too; a loader is as good."""
    images = torch.rand(5, 3, 16, 16)
    for void in (255, -1):
        labels = (images[:, 0] > 0.7).long().reshape(5, *shape)
        labels[..., :3] = void
        data, model = TensorDataset(images, labels), Perfect(channels)
        assert evaluate_model(model, data) == evaluate_model(model, DataLoader(data, 2)) == 1.0
        assert evaluate_model(Perfect(channels, wrong=True), data, batch_size=3) == 0.0


@pytest.mark.parametrize("classes", [3, 1])
def test_pictures_of_several_sizes_one_per_batch(accelerator, classes):
    """public-reports 10: mAP and own metrics at the end, too. What is filled up is void."""
    sizes = [(16, 16), (12, 20), (24, 8)]
    batches = [(torch.randn(1, 3, *size), torch.randint(max(2, classes), (1, *size))) for size in sizes]
    model = on_cpu(tiny_unet(classes))
    found = validate(model, batches, accelerator=accelerator)
    with torch.no_grad():
        scores = [model(image) for image, _ in batches]
    if classes == 1:
        pairs = [(score[:, 0] > 0, target == 1) for score, (_, target) in zip(scores, batches, strict=True)]
        sets = [((p & t).sum().item(), (p | t).sum().item()) for p, t in pairs]
        wanted = {
            "IoU": sum(i for i, _ in sets) / sum(u for _, u in sets),
            "IoU_per_image": sum(i / u for i, u in sets) / 3,
        }
        assert found == pytest.approx(wanted)
    else:
        flat = torch.cat([score.flatten(2) for score in scores], -1)
        target = torch.cat([labels.flatten() for _, labels in batches])
        wanted = average_precision(flat.softmax(1)[..., None], target[None, :, None])
        assert found["mAP"] == pytest.approx(float(wanted.nanmean()), abs=1e-4)

    def metrics(logits, labels):
        return {"pixels": (labels != VOID).sum(), "height": labels.shape[1], "width": logits.shape[3]}

    seen = validate(model, batches, accelerator=accelerator, metrics=metrics)
    assert seen == {"pixels": 256 + 240 + 192, "height": 24, "width": 20}


@pytest.mark.parametrize("dim", [1, 3])
def test_signals_and_volumes_train(accelerator, dim):
    """package.md 15."""
    images, rows, model = torch.randn(4, 3, *[8] * dim), [], to_device(UNet(1, 3, 2, (2, 4), dim=dim), accelerator)
    targets = (torch.randint(2, (4, *[size] * dim)) for size in (8, 12))
    small, loader = (DataLoader(TensorDataset(images, target), 2) for target in targets)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    train(model, F.cross_entropy, small, loader, optimizer, 1, accelerator=accelerator, after_epoch=rows.append)
    assert rows[0]["accuracy"] > 0
    assert validate(model, loader, accelerator=accelerator)["mAP"] > 0


@pytest.mark.parametrize(("classes", "end"), [(1, "sigmoid"), (3, "softmax")])
def test_probabilities_are_not_squashed_twice(accelerator, classes, end):
    """package.md 9: a network whose final_activation is not None gives probabilities."""
    logits = tiny_unet(classes)
    squashed = tiny_unet(classes, final_activation=nn.Sigmoid if end == "sigmoid" else partial(nn.Softmax, dim=1))
    state = zip(squashed.state_dict(), logits.state_dict().values(), strict=True)
    squashed.load_state_dict(dict(state))
    loader = DataLoader(Patches(5, classes), 2)
    found = [validate(model, loader, accelerator=accelerator) for model in (logits, squashed)]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert evaluate_model(logits, loader, precision="fp32") == evaluate_model(squashed, loader, precision="fp32")


def test_train_is_the_loop_that_one_would_write_by_hand(accelerator):
    """Two epochs of clipped SGD with a schedule and a moving average, against plain torch; the rows report it."""
    data, rows = Patches(6), []
    ours, theirs = (tiny_unet() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    options = {"lr": 0.1, "momentum": 0.9}  # larger steps would also enlarge what rounding makes of two memory layouts

    average = AveragedModel(ours, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    optimizer = torch.optim.SGD(ours.parameters(), **options)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    loader = DataLoader(data, 2, shuffle=True)
    train(
        *(ours, cross_entropy_criterion, loader, DataLoader(data, 2), optimizer, 2),
        **{"accelerator": accelerator, "scheduler": scheduler, "average": average, "grad_clip": 0.1, "seed": 5},
        after_epoch=lambda row: rows.append(row),
    )

    optimizer = torch.optim.SGD(theirs.parameters(), **options)
    mean, steps = None, 0
    for epoch in (1, 2):
        seed_everything(1_000_003 * 5 + epoch)
        theirs.train()
        losses = []
        for images, target in DataLoader(data, 2, shuffle=True):
            optimizer.param_groups[0]["lr"] = options["lr"] * (1 + math.cos(math.pi * steps / 6)) / 2
            loss = cross_entropy_criterion(theirs(images), target)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
            optimizer.step()
            losses.append(loss.item())
            steps += 1
            weights = {k: v.clone() for k, v in theirs.state_dict().items() if v.is_floating_point()}
            mean = weights if mean is None else {k: 0.5 * mean[k] + 0.5 * weights[k] for k in weights}
        assert rows[epoch - 1]["train_loss"] == pytest.approx(sum(losses) / 3, rel=1e-4)
        assert rows[epoch - 1]["lr"] == pytest.approx(optimizer.param_groups[0]["lr"])
    for key, value in theirs.named_parameters():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-3, atol=1e-5)
    for key, value in mean.items():
        torch.testing.assert_close(average.module.state_dict()[key], value, rtol=1e-3, atol=1e-5)
    expected = validate(average, DataLoader(data, 2), cross_entropy_criterion, accelerator=accelerator, ranked=False)
    assert {key: rows[-1][key] for key in expected} == expected  # the average is what is validated


def test_the_loss_gets_whatever_else_the_loader_gives_and_every_epoch_trains_in_training_mode(accelerator):
    """Validation leaves the network in eval mode; the next epoch must not stay there."""
    weights, modes = [], []

    class Weighted(Patches):
        def __getitem__(self, index):
            return *super().__getitem__(index), torch.tensor(float(index))

    def loss(logits, target, weight):
        weights.extend(weight.tolist()), modes.append(model.training)
        return cross_entropy_criterion(logits, target)

    model, loader = tiny_unet().eval(), DataLoader(Weighted(4), 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    train(model, loss, loader, loader, optimizer, 2, accelerator=accelerator)
    assert weights == [0, 1, 2, 3] * 4 and modes == [True, True, False, False] * 2


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_epoch_batch_and_learning_rate(accelerator, bad):
    calls = []

    def loss(logits, target):
        calls.append(model.training)
        return logits.mean() + (bad if calls.count(True) == 5 else 0)

    model, loader = tiny_unet(), DataLoader(Patches(6), 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.25)
    with pytest.raises(FloatingPointError, match=r"epoch 2, batch 2, at learning rate 0\.25"):
        train(model, loss, loader, loader, optimizer, 3, accelerator=accelerator)
