"""Learner: one training run with everything around it; seeded, resumable, cached, logged, written down as a result."""

import json
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import accelerate
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Subset
from torch.utils.tensorboard import SummaryWriter

from cvf20.datasets.base import read_image
from cvf20.paths import runs_dir
from cvf20.training import results
from cvf20.training.fingerprint import describe, fingerprint, tensors_digest
from cvf20.training.loop import (
    evaluate_model,
    forward,
    make_accelerator,
    probabilities,
    seed_everything,
    train,
    validate,
)

__all__ = ["Learner", "evaluate_model", "train", "validate"]

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
QUICK = {"epochs": 2, "images": 8, "batch_size": 4}  # the most that a quick run looks at


class Learner:
    """Train `model` on `train_data`, choose its best epoch on `valid_data`, and keep what was found.

    model:        a network, or a function without arguments that builds one (it is then built under the seed)
    loss:         (logits, target) → scalar, or a dict of named parts; None: see `compute_losses`
    data:         SegmentationDatasets whose transforms end with float images and int64 labels
    lr:           the highest learning rate of the schedule
    lr_scales:    factors on it for parameters whose name starts with the key, e.g. {"encoder": 0.1}
    name:         of the run: results/<name>-seed<seed>.json; starts with the notebook's number, e.g. "03_unet_bn"
    quick:        a rehearsal of a few batches; its result says so
    optimizer:    "adamw", "adam" or "sgd" (momentum 0.9)
    schedule:     "onecycle" (warm-up for 15 % of the steps, then cosine to 0), "cosine" or "constant"
    grad_clip:    largest norm of the gradient, None for no limit
    average:      decay per step of an exponential moving average of the weights, which is then what is validated
                  and kept; None for none
    patience:     epochs without improvement after which training stops; None for never
    metrics:      (logits, labels) of the whole split → dict, in place of the metrics of `validate`
    monitor:      the metric whose highest value chooses the best epoch; None: mIoU, or IoU of a binary task
    snapshots:    indices of validation images whose predictions are kept at the first, quarter, half and last epoch

    `fit()` resumes where it was stopped and loads a finished run while its fingerprint (recipe, data, initial weights,
    code) is unchanged.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[], nn.Module],
        loss: Callable[..., Tensor | dict[str, Tensor]] | None,
        train_data: Dataset,
        valid_data: Dataset,
        lr: float = 1e-3,
        batch_size: int = 16,
        epochs: int = 50,
        name: str = "run",
        seed: int = 0,
        *,
        quick: bool = False,
        optimizer: str = "adamw",
        lr_scales: dict[str, float] | None = None,
        weight_decay: float = 0.01,
        schedule: str = "onecycle",
        grad_clip: float | None = 1.0,
        average: float | None = None,
        patience: int | None = None,
        metrics: Callable[[Tensor, Tensor], dict[str, float]] | None = None,
        monitor: str | None = None,
        precision: str = "auto",
        snapshots: Sequence[int] = (),
        verbose: bool = True,
    ):
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer={optimizer!r}: allowed are {', '.join(map(repr, OPTIMIZERS))}")
        if schedule not in ("onecycle", "cosine", "constant"):
            raise ValueError(f"schedule={schedule!r}: allowed are 'onecycle', 'cosine', 'constant'")
        if quick:
            epochs, batch_size = min(epochs, QUICK["epochs"]), min(batch_size, QUICK["batch_size"])
        if min(epochs, batch_size) < 1 or lr <= 0:
            raise ValueError(f"epochs={epochs} ≥ 1, batch_size={batch_size} ≥ 1 and lr={lr} > 0 are wanted")
        if not isinstance(model, nn.Module):
            seed_everything(seed)
            model = model()
        self.model, self.loss, self.train_data, self.valid_data = model, loss, train_data, valid_data
        self.name, self.seed, self.quick, self.verbose = name, seed, quick, verbose
        self.metrics, self.snapshots = metrics, tuple(snapshots)
        for prefix in lr_scales or {}:
            if not any(parameter.startswith(prefix) for parameter, _ in model.named_parameters()):
                raise ValueError(f"lr_scales: no parameter of {type(model).__name__} starts with {prefix!r}")
        self.recipe = {
            "model": type(model).__name__,
            "loss": describe(loss),
            "transforms": describe(train_data.transforms),
            "valid_transforms": describe(valid_data.transforms),
            "images": len(train_data),
            "lr": lr,
            "lr_scales": lr_scales,
            "batch_size": batch_size,
            "epochs": epochs,
            "optimizer": optimizer,
            "weight_decay": weight_decay,
            "schedule": schedule,
            "grad_clip": grad_clip,
            "average": average,
            "patience": patience,
            "metrics": describe(metrics),
            "monitor": monitor,
            "precision": precision,
        }
        make_accelerator(precision)  # an unknown precision is an error here, not hours later

    @property
    def accelerator(self) -> accelerate.Accelerator:
        return make_accelerator(self.recipe["precision"])

    @cached_property
    def folder(self) -> Path:
        """runs/<name>-seed<seed>-<fingerprint>: another recipe, data set or code gets another folder."""
        recipe = {
            **self.recipe,
            "seed": self.seed,
            "quick": self.quick,
            "snapshots": self.snapshots,
            "data": [self.train_data.sha256, self.valid_data.sha256],
            "weights": tensors_digest(self.model.state_dict()),
            "structure": repr(self.model),
        }
        parts = [self.model, self.loss, self.metrics, self.train_data, self.valid_data]
        parts += [data.transforms for data in (self.train_data, self.valid_data)]
        loop = [
            Learner._train,
            Learner._loader,
            Learner._parameter_groups,
            Learner._scheduler,
            Learner._keep_predictions,
        ]
        return runs_dir() / f"{self.label}-{fingerprint(recipe, [*parts, *loop])[:12]}"

    @property
    def label(self) -> str:
        return f"{self.name}-seed{self.seed}"

    @property
    def curves(self) -> dict[str, list[float]]:
        """epoch, lr, seconds of training, train_loss, loss and the validation metrics of every epoch, as columns."""
        return results.read_curves(self.folder / "curves.csv")

    def fit(self, after_epoch: Callable[[dict], None] = lambda row: None) -> dict:
        """Train, or load the finished run; the model then holds the best epoch's weights. Returns the result.

        after_epoch: gets the row of numbers of every epoch, also of those trained earlier; may raise to end the run,
                     which can be taken up again
        """
        folder = self.folder  # before training changes the weights
        if (folder / "result.json").exists():
            for row in self._rows():
                after_epoch(row)
        else:
            self._train(after_epoch)
        self.accelerator.wait_for_everyone()
        self.result = json.loads((folder / "result.json").read_text())
        self._load_weights(torch.load(folder / "best.pt", weights_only=True))
        if not self._printed:
            for row in self._rows():
                self._print(row)
        self._publish()
        return self.result

    def _rows(self) -> list[dict]:
        """The curves epoch by epoch, as training handed them out."""
        curves = self.curves
        rows = [dict(zip(curves, row, strict=True)) for row in zip(*curves.values(), strict=True)]
        return [row | {"epoch": int(row["epoch"])} for row in rows]

    def test(self, data: Dataset, flips: bool = False) -> dict[str, float]:
        """Metrics on the test split, computed once per finished run and added to its result."""
        return self.score("test_flips" if flips else "test", data, flips=flips)

    def score(self, split: str, data: Dataset, flips: bool = False) -> dict[str, float]:
        """Metrics of the best epoch's weights on `data`, kept in the result under metrics[split]."""
        if split not in self.result["metrics"]:
            self.result["metrics"][split] = validate(
                self.model, self._loader(data), accelerator=self.accelerator, metrics=self.metrics, flips=flips
            )
            results.write_text(self.folder / "result.json", json.dumps(self.result, indent=1))
            self._publish()
        return self.result["metrics"][split]

    @torch.inference_mode()
    def predict(self, images: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Probabilities (N, K, H, W) of normalised images (N, C, H, W), in eval mode; interpolated to (H, W) = size."""
        self.model.eval()
        batches = images.to(self.accelerator.device).split(self.recipe["batch_size"])
        return torch.cat([probabilities(forward(self.model, batch, self.accelerator, size)).cpu() for batch in batches])

    def snapshot(self, epoch: int, index: int) -> Tensor:
        """(H, W) labels that the network predicted for validation image `index` after `epoch`."""
        file = self.folder / "predictions" / f"epoch{epoch:03d}_{index:04d}.png"
        return torch.from_numpy(read_image(file).copy())

    @property
    def snapshot_epochs(self) -> list[int]:
        """First, quarter, half and last epoch."""
        epochs = self.recipe["epochs"]
        return sorted({1, max(1, epochs // 4), max(1, epochs // 2), epochs})

    def explainit(self, input_shape: Sequence[int]):
        """Table, receptive field and drawing of the network for one image of shape (C, H, W), see `cvf20.explain`."""
        from cvf20.show.explain import explainit

        return explainit(self.model, input_shape)

    _printed = False

    def _train(self, on_row: Callable[[dict], None]) -> None:
        recipe, folder, accelerator = self.recipe, self.folder, self.accelerator
        folder.mkdir(parents=True, exist_ok=True)
        seed_everything(self.seed)
        plain = self.model.to(memory_format=torch.channels_last)
        average = None
        if recipe["average"]:
            average = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(recipe["average"]), use_buffers=True)
            average.to(accelerator.device)
        train_loader, valid_loader = self._loader(self.train_data, shuffle=True), self._loader(self.valid_data)
        extra = {"momentum": 0.9} if recipe["optimizer"] == "sgd" else {}
        optimizer = OPTIMIZERS[recipe["optimizer"]](
            self._parameter_groups(), recipe["lr"], weight_decay=recipe["weight_decay"], **extra
        )
        model, optimizer, train_loader = accelerator.prepare(plain, optimizer, train_loader)
        scheduler = self._scheduler(optimizer.optimizer, recipe["epochs"] * len(train_loader))
        parts = {"model": plain, "optimizer": optimizer, "scheduler": scheduler, "average": average}
        parts = {key: part for key, part in parts.items() if part is not None}
        state = {"rows": [], "best_epoch": 0, "best": -1.0, "seconds": 0.0}
        if (folder / "last.pt").exists():
            saved = torch.load(folder / "last.pt", weights_only=True, map_location=accelerator.device)
            state = saved.pop("state")
            for key, part in parts.items():
                part.load_state_dict(saved[key])
        writer = None  # of several processes the first one writes
        if accelerator.is_main_process:
            writer = SummaryWriter(folder / "events", purge_step=len(state["rows"]) + 1)
        kept = average.module if average is not None else plain
        for row in state["rows"]:
            self._print(row)
            on_row(row)
        started = time.perf_counter() - state["seconds"]

        def after_epoch(row: dict) -> bool:
            epoch = row["epoch"]
            state["rows"].append(row)
            quality = _monitored(row, recipe["monitor"])
            if not quality <= state["best"]:  # also true for nan: a split without any label still keeps its last epoch
                state.update(best=quality, best_epoch=epoch)
            state["seconds"] = time.perf_counter() - started
            if writer is not None:
                for key, value in row.items():
                    writer.add_scalar(key, value, epoch)
                if state["best_epoch"] == epoch:
                    _save(kept.state_dict(), folder / "best.pt")
                if epoch in self.snapshot_epochs:
                    self._keep_predictions(kept, epoch, writer)
                _save({key: part.state_dict() for key, part in parts.items()} | {"state": state}, folder / "last.pt")
                self._print(row)
            on_row(row)
            return recipe["patience"] is not None and epoch - state["best_epoch"] >= recipe["patience"]

        finished = recipe["patience"] is not None and len(state["rows"]) - state["best_epoch"] >= recipe["patience"]
        if len(state["rows"]) < recipe["epochs"] and not finished:
            train(
                model,
                self.loss,
                train_loader,
                valid_loader,
                optimizer,
                recipe["epochs"],
                accelerator=accelerator,
                scheduler=scheduler,
                average=average,
                grad_clip=recipe["grad_clip"],
                metrics=self.metrics,
                seed=self.seed,
                first_epoch=len(state["rows"]) + 1,
                after_epoch=after_epoch,
            )
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # gives the model its own forward back
        self._printed = True
        accelerator.wait_for_everyone()
        self._load_weights(torch.load(folder / "best.pt", weights_only=True))
        scores = validate(self.model, self._loader(self.valid_data), accelerator=accelerator, metrics=self.metrics)
        if writer is not None:
            writer.close()
            self._finish(state, scores)

    def _finish(self, state: dict, scores: dict) -> None:
        results.write_curves(state["rows"], self.folder / "curves.csv")
        result = results.new_result(
            self.name,
            self.seed,
            self.train_data,
            metrics={"val": scores},
            recipe=self.recipe,
            seconds=state["seconds"],
            quick=self.quick,
            best_epoch=state["best_epoch"],
            parameters=results.parameters(self.model),
            threads=torch.get_num_threads(),
            device=self.accelerator.device.type,
            precision="bf16" if self.accelerator.mixed_precision == "bf16" else "fp32",
            versions={p.__name__: p.__version__ for p in (torch, torchvision, accelerate)},
        )
        results.write_text(self.folder / "result.json", json.dumps(result, indent=1))
        (self.folder / "last.pt").unlink()

    def _publish(self) -> None:
        if not self.accelerator.is_main_process:
            return
        results.write_result(self.result)
        results.publish_run(self.folder, self.label)

    def _loader(self, data: Dataset, shuffle: bool = False) -> DataLoader:
        if self.quick:
            data = Subset(data, range(min(len(data), QUICK["images"])))
        loader = DataLoader(
            data,
            self.recipe["batch_size"],
            shuffle=shuffle,
            drop_last=shuffle and len(data) > self.recipe["batch_size"],
        )
        return loader if shuffle else self.accelerator.prepare(loader)

    def _parameter_groups(self) -> list[dict]:
        """What is to be trained, with its learning rate; the parameters at the full rate come first."""
        groups = {1.0: []}
        for name, parameter in self.model.named_parameters():
            scales = [s for prefix, s in (self.recipe["lr_scales"] or {}).items() if name.startswith(prefix)]
            if parameter.requires_grad:
                groups.setdefault(scales[0] if scales else 1.0, []).append(parameter)
        return [{"params": group, "lr": self.recipe["lr"] * scale} for scale, group in groups.items() if group]

    def _scheduler(self, optimizer: torch.optim.Optimizer, steps: int):
        kind = self.recipe["schedule"]
        if kind == "onecycle":
            rates = [group["lr"] for group in optimizer.param_groups]
            return torch.optim.lr_scheduler.OneCycleLR(
                optimizer, rates, total_steps=steps, pct_start=0.15, cycle_momentum=False
            )
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if kind == "cosine" else None

    def _load_weights(self, weights: dict[str, Tensor]) -> None:
        self.model.to(self.accelerator.device, memory_format=torch.channels_last).load_state_dict(weights)

    @torch.inference_mode()
    def _keep_predictions(self, model: nn.Module, epoch: int, writer: SummaryWriter) -> None:
        for index in self.snapshots:
            image, mask = self.valid_data[index]
            images = image[None].to(self.accelerator.device)
            scores = forward(model.eval(), images, self.accelerator, mask.shape[-2:])[0].cpu()
            labels = (scores[0] > 0 if len(scores) == 1 else scores.argmax(0)).to(torch.uint8)
            (self.folder / "predictions").mkdir(exist_ok=True)
            Image.fromarray(labels.numpy()).save(self.folder / "predictions" / f"epoch{epoch:03d}_{index:04d}.png")
            palette = torch.as_tensor(self.valid_data.palette)
            writer.add_image(f"prediction/{index}", palette[labels.long()], epoch, dataformats="HWC")

    def _print(self, row: dict) -> None:
        if self.verbose:
            print(self._line(row))

    def _line(self, row: dict) -> str:
        """One line per epoch that stays readable in a saved notebook."""
        values = "  ".join(f"{key} {row[key]:.3f}" for key in row if key not in ("epoch", "lr"))
        return f"{self.label}  epoch {row['epoch']:3d}/{self.recipe['epochs']}  lr {row['lr']:.1e}  {values}"


def _monitored(row: dict[str, float], monitor: str | None) -> float:
    if monitor is None and ("mIoU" in row or "IoU" in row):
        return row.get("mIoU", row.get("IoU"))
    if monitor not in row:
        raise ValueError(f"monitor={monitor!r}: expected one of {', '.join(row)}")
    return row[monitor]


def _save(value: dict, path: Path) -> None:
    """torch.save that leaves the previous file whole when killed."""
    temporary = path.with_suffix(".tmp")
    torch.save(value, temporary)
    temporary.replace(path)
