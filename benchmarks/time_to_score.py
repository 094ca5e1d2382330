"""Seconds of training until a score is reached on validation: our recipe beside the exercise's own.

    python -m benchmarks.time_to_score            # some twenty minutes; --limit SECONDS for each of the four

The exercise's recipe is a plain loop: float32, Adam at one rate, the images' own size. A recipe that has not reached the
score within the limit counts with the limit, so that the ratio is a lower bound. Validation is not counted.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchvision.transforms import v2

from benchmarks import report
from benchmarks.common import Row
from benchmarks.steps import printed_unet
from cvf20.datasets import StanfordBackground, YeastColonies
from cvf20.losses import binary_cross_entropy, cross_entropy_criterion
from cvf20.models import UNet
from cvf20.training.devices import make_accelerator, seed_everything, to_device, training_loader
from cvf20.training.loop import train, validate
from cvf20.training.recipe import Recipe
from cvf20.transforms import eval_transforms, to_input, train_transforms
from cvf20.transforms.joint import RandomQuarterTurn

GREY = (0.08,), (0.068,)  # mean and standard deviation of the yeast images
Trained = Iterator[nn.Module]  # the network after every epoch


def ours(model: nn.Module, loss: Callable, data: Dataset, recipe: Recipe) -> Trained:
    """The package's loop with its schedule, precision and mean of the weights."""
    accelerator = make_accelerator()
    model, loader = to_device(model, accelerator), training_loader(data, recipe.batch_size, 0, accelerator)
    optimizer = accelerator.prepare(recipe.make_optimizer(model))
    options = {"scheduler": recipe.make_schedule(optimizer.optimizer, recipe.epochs * len(loader))}
    options |= {"grad_clip": recipe.grad_clip, "accelerator": accelerator, "metrics": lambda outputs, target: {}}
    few = DataLoader(Subset(data, [0]))
    for epoch in range(1, recipe.epochs + 1):
        train(model, loss, loader, few, optimizer, epoch, first_epoch=epoch, **options)
        yield model


def exercise(model: nn.Module, loss: Callable, data: Dataset, batch_size: int, rate: float, epochs: int) -> Trained:
    """The loop that the exercise describes."""
    optimizer, loader = torch.optim.Adam(model.parameters(), rate), DataLoader(data, batch_size, shuffle=True)
    for _ in range(epochs):
        model.train()
        for images, target in loader:
            optimizer.zero_grad()
            loss(model(images), target).backward()
            optimizer.step()
        yield model


def seconds_to(goal: float, metric: str, trained: Trained, valid: Dataset, limit: float) -> dict:
    """Seconds of training, and the score after every epoch, until it reaches the goal or time is up."""
    curve, spent, loader = [], 0.0, DataLoader(valid, 16)
    while spent < limit:
        started = time.perf_counter()
        model = next(trained, None)
        spent += time.perf_counter() - started
        if model is None:
            break
        score = validate(model, loader, accelerator=make_accelerator())[metric]
        curve.append((round(spent, 1), round(score, 4)))
        print(f"  {spent:6.1f} s  {metric} {score:.3f}", flush=True)
        if score >= goal:
            return {"reached": True, "seconds": spent, "curve": curve}
    return {"reached": False, "seconds": max(spent, limit), "curve": curve}


def yeast() -> tuple[dict[str, Trained], Dataset]:
    turns = v2.Compose([RandomQuarterTurn(), v2.RandomHorizontalFlip(), to_input(*GREY)])
    data = YeastColonies(split="train", transforms=turns)
    valid = YeastColonies(split="val", transforms=to_input(*GREY))
    valid, few = Subset(valid, range(0, len(valid), 5)), Subset(data, range(0, len(data), 3))
    own = Recipe(lr=4e-3, batch_size=4, epochs=4)
    return {
        "ours": ours(UNet(4, 1, 1, 8, norm_type="batch"), binary_cross_entropy, ConcatDataset([few, few]), own),
        "theirs": exercise(UNet(5, 1, 1, (16, 32, 64, 128, 256, 512)), binary_cross_entropy, data, 4, 1e-4, 100),
    }, valid


def scenes() -> tuple[dict[str, Trained], Dataset]:
    small, loss = (112, 144), cross_entropy_criterion
    train_data = StanfordBackground(split="train", transforms=train_transforms(small))
    native = StanfordBackground(split="train", transforms=v2.Compose([v2.RandomHorizontalFlip(), to_input()]))
    valid = {
        side: StanfordBackground(split="val", transforms=eval_transforms(small if side == "ours" else None))
        for side in ("ours", "theirs")
    }
    own = Recipe(lr=4e-3, batch_size=8, epochs=4)
    return {
        "ours": ours(printed_unet(), loss, train_data, own),
        "theirs": exercise(printed_unet(), loss, native, 16, 1e-3, 100),
    }, valid


TASKS = {"yeast": (0.91, "IoU", yeast, ">= 8"), "scenes": (0.50, "mAP", scenes, ">= 5")}


def row(task: str, limit: float) -> Row:
    goal, metric, make, bound = TASKS[task]
    seed_everything(0)
    trained, valid = make()
    found = {}
    for side, epochs in trained.items():
        print(f"{task}, {side}")
        found[side] = seconds_to(goal, metric, epochs, valid[side] if isinstance(valid, dict) else valid, limit)
    sides = {side: found[side]["seconds"] for side in found}
    title = f"seconds to {metric} {goal:.2f}, {task}" + ("" if found["theirs"]["reached"] else " (theirs: not reached)")
    return Row(title, "the exercise's own recipe", sides["theirs"] / sides["ours"], bound, more=found, **sides)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.time_to_score", description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=600.0, metavar="SECONDS", help="of each of the four trainings")
    limit, started = parser.parse_args().limit, time.perf_counter()
    rows = [row(task, limit) for task in TASKS]
    report.write("benchmarks", {"time_to_score": report.group(rows)}, time.perf_counter() - started)
    report.write_readme()


if __name__ == "__main__":
    main()
