"""Learner: one training run with everything around it; seeded, resumable, cached, logged, written down as a result."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from cvf20.datasets.pictures import read_image
from cvf20.paths import runs_dir
from cvf20.training import results
from cvf20.training.devices import make_accelerator, on_gpu, once, processes, same_random_state, to_device
from cvf20.training.fitting import train_network
from cvf20.training.loop import validate
from cvf20.training.network import Network
from cvf20.training.outputs import forward, probabilities
from cvf20.training.recipe import Recipe, untouched
from cvf20.training.runs import finished, keep, publish_run, published, run_key


class Learner:
    """Train `model` on `train_data`, choose its best epoch on `valid_data`, and keep what was found.

    model:     a function without arguments that builds the network (under the seed), or a network, which is then
               trained in place; given again under the same name it starts from what it was the first time
    loss:      (logits, target, …) → scalar, or a dict of named parts; None: see `train`
    data:      pairs (image, labels[, more]): float images and integer labels, e.g. a SegmentationDataset
    name:      of the run, a file name that begins with the notebook's number, e.g. "03_unet"
    batch_size: images of a step, in all processes together (`accelerate launch`); batch norm sees each one's share
    quick:     a rehearsal, at most 2 epochs of 8 images in batches of 4; its result says so
    metrics:   (logits, labels) of the whole split → dict, in place of the metrics of `validate`
    snapshots: indices of validation images whose predictions are kept at the first, quarter, half and last epoch
    precision: see `make_accelerator`; no part of the run's key
    settings:  optimizer, lr_scales, weight_decay, schedule, grad_clip, average, monitor: see `Recipe`
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
        metrics: Callable[[Tensor, Tensor], dict[str, float]] | None = None,
        snapshots: Sequence[int] = (),
        verbose: bool = True,
        precision: str = "auto",
        **settings,
    ):
        if quick:
            epochs, batch_size = min(epochs, 2), min(batch_size, 4)
        self.settings = Recipe(lr=lr, batch_size=batch_size, epochs=epochs, **settings)
        self.name, self.seed, self.quick, self.verbose = results.file_name(name), int(seed), bool(quick), verbose
        self.label = f"{self.name}-seed{self.seed}"
        self.network, self.loss, self.metrics = Network(model, self.name, self.seed), loss, metrics
        self.train_data, self.valid_data, self.precision = train_data, valid_data, precision
        self.snapshots = tuple(map(int, snapshots))
        self.snapshot_epochs = sorted({1, *(max(1, self.settings.epochs // part) for part in (4, 2, 1))})
        self._key = self._file = self._result = None
        make_accelerator(precision)  # an unknown precision is an error here, not hours later

    def fit(self, after_epoch: Callable[[dict], None] = lambda row: None) -> dict:
        """Train, resume, or load the finished run of this key; `model` is then the best epoch's. Returns the result.

        after_epoch: gets the row of numbers of every epoch, also of those trained earlier; may raise to end the run
        """
        say = print if self.verbose and processes().is_main_process else lambda text: None

        def on_row(row: dict) -> None:
            values = "  ".join(f"{key} {row[key]:.3f}" for key in row if key not in ("epoch", "lr"))
            say(f"{self.label}  epoch {row['epoch']:3d}/{self.settings.epochs}  lr {row['lr']:.1e}  {values}")
            after_epoch(row)

        self._key = self._file = None
        with same_random_state():
            self.network.reset()
            self._key = self.key
            found = finished(self.label, self.folder, self.key)
            if found:
                is_local = found[0].parent == self.folder
                say(f"{self.label}: loaded from {'runs/' if is_local else 'results/ (published)'}")
                for row in results.read_rows(found[0].with_suffix(".csv")):
                    on_row(row)
            else:
                try:
                    train_network(self, on_row)
                finally:
                    self.network.leave()
        self._file, self._result = found or finished(self.label, self.folder, self.key)
        if self.network.is_given:
            with contextlib.suppress(FileNotFoundError):
                self.model  # noqa: B018 — trained in place, so it gets its weights now, if they are here
        metrics, self._result["metrics"] = self._result["metrics"], {}  # others are computed anew, or found
        self.record("val", metrics["val"])
        return self._result

    @property
    def file(self) -> Path:
        if self._file is None:
            raise RuntimeError(f"{self.label} is not trained yet: call fit() first")
        return self._file

    @property
    def result(self) -> dict:
        return self.file and self._result

    @property
    def model(self) -> nn.Module:
        """The network: after fit() with the best epoch's weights, which must then be in runs/ or in weights/."""
        if self._file is not None:
            files = self.folder / "best.pt", published(f"../weights/{self.label}.pt")
            self.network.load(files, self.key, self.label)
        return self.network.built

    @property
    def curves(self) -> dict[str, list[float]]:
        """epoch, lr, seconds of training, train_loss, loss and the validation metrics of every epoch, as columns."""
        rows = results.read_rows(self.file.with_suffix(".csv"))
        return {column: [row[column] for row in rows] for column in rows[0]}

    @property
    def key(self) -> str:
        """What the run is, in 64 hex digits; settled by `fit()`, which looks at the data anew each time."""
        settings = [asdict(self.settings), self.seed, self.quick, self.snapshots]
        parts = [self.network, type(self), untouched(self.loss), self.metrics, self.train_data, self.valid_data]
        return self._key or run_key(settings, parts)

    def key_parts(self, description) -> str:
        description.learners += 1
        return self.key

    @property
    def recipe(self) -> dict:
        """The settings in words, as results show them."""
        sets = {"transforms": self.train_data, "valid_transforms": self.valid_data}
        told = {name: getattr(results.inside(data)[0], "transforms", None) for name, data in sets.items()}
        told = results.words({"loss": self.loss, "metrics": self.metrics} | told)
        return {"images": len(self.train_data), **asdict(self.settings), **told}

    @property
    def accelerator(self):
        return make_accelerator(self.precision)

    @property
    def folder(self) -> Path:
        return runs_dir() / f"{self.label}-{self.key[:12]}"

    def loader(self, data: Dataset) -> DataLoader:
        return DataLoader(self.looked_at(data), self.settings.batch_size, **on_gpu(self.accelerator))

    def looked_at(self, data: Dataset) -> Dataset:
        return Subset(data, range(min(len(data), 8))) if self.quick else data

    def score(self, split: str, data: Dataset) -> dict[str, float]:
        """Metrics of the best epoch's weights on `data`, kept in the result under metrics[split]."""
        key = run_key(self.quick, [self.file and self, self.metrics, data])
        local = self.folder / "scores" / f"{results.file_name(split)}-{key[:12]}.json"

        def make() -> dict:
            model, options = to_device(self.model, self.accelerator), {"accelerator": self.accelerator}
            return {"key": key, "value": validate(model, self.loader(data), metrics=self.metrics, **options)}

        return self.record(split, keep(f"{self.label}/{split}.json", local, key, make)[0]["value"])

    def test(self, data: Dataset) -> dict[str, float]:
        return self.score("test", data)

    def record(self, split: str, metrics: dict) -> dict:
        """Add metrics that were computed elsewhere to the result, under metrics[split]."""
        self.result["metrics"][split] = metrics
        once(lambda: (results.write_result(self.result), publish_run(self.file, self.label)))
        return metrics

    @torch.inference_mode()
    def predict(self, images: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Probabilities (N, K, H, W) of normalised images (N, C, H, W), in eval mode; interpolated to (H, W) = size."""
        model = to_device(self.file and self.model, self.accelerator).eval()
        batches = images.to(self.accelerator.device).split(self.settings.batch_size)
        return torch.cat([probabilities(forward(model, b, self.accelerator, size), model).cpu() for b in batches])

    def snapshot(self, epoch: int, index: int) -> Tensor:
        """(H, W) labels that the network predicted for validation image `index` after `epoch`."""
        picture = self.file.with_suffix("") / f"epoch{epoch:03d}_{index:04d}.png"
        return torch.from_numpy(read_image(picture).copy())

    def explainit(self, input_shape: Sequence[int]):
        """Table, receptive field and drawing of the network for one image of shape (C, H, W), see `cvf20.show.explain`."""
        from cvf20.show.explain import explainit  # slow to import

        return explainit(self.network.built, input_shape)
