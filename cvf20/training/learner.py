"""Learner: one training run with everything around it; seeded, resumable, cached, logged, written down as a result."""

import contextlib
import json
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from cvf20.datasets.pictures import read_image
from cvf20.training import results
from cvf20.training.devices import make_accelerator, same_random_state, to_device
from cvf20.training.fitting import check, train_network
from cvf20.training.loop import train
from cvf20.training.network import Network
from cvf20.training.recipe import Recipe
from cvf20.training.run import QUICK, Run
from cvf20.training.runs import finished, keep, published, run_key
from cvf20.training.validation import evaluate_model, forward, probabilities, validate

__all__ = ["QUICK", "Learner", "evaluate_model", "train", "validate"]


class Learner(Run):
    """Train `model` on `train_data`, choose its best epoch on `valid_data`, and keep what was found.

    model:        a function without arguments that builds the network (under the seed), or a network, which is then
                  trained in place; given again under the same name it starts from what it was the first time
    loss:         (logits, target, …) → scalar, or a dict of named parts; None: see `compute_losses`
    data:         pairs (image, labels[, more]): float images and integer labels, e.g. a SegmentationDataset
    name:         of the run, a file name: results/<name>-seed<seed>.json; begins with the notebook's number, e.g. "03_unet"
    quick:        a rehearsal of a few batches; its result says so
    metrics:      (logits, labels) of the whole split → dict, in place of the metrics of `validate`
    snapshots:    indices of validation images whose predictions are kept at the first, quarter, half and last epoch
    precision:    see `make_accelerator`; shown in the result, no part of the run's key
    settings:     optimizer, lr_scales, weight_decay, schedule, grad_clip, average, monitor: see `Recipe`

    `fit()` loads a finished run of the same key, from runs/ or from what is published, and resumes one that was stopped.
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
            epochs, batch_size = min(epochs, QUICK["epochs"]), min(batch_size, QUICK["batch_size"])
        self.settings = Recipe.of(lr=lr, batch_size=batch_size, epochs=epochs, **settings)
        self.name, self.seed, self.quick, self.verbose = results.file_name(name), int(seed), bool(quick), verbose
        self.loss, self.metrics, self.snapshots = loss, metrics, tuple(map(int, snapshots))
        self.train_data, self.valid_data, self.precision = train_data, valid_data, precision
        self.network, self._key, self._files, self._result = Network(model, self.name, self.seed), None, None, None
        make_accelerator(precision)  # an unknown precision is an error here, not hours later
        with contextlib.suppress(FileNotFoundError):  # it begins with the weights of another run, which are not here
            self.settings.check(self.network.built)

    @property
    def model(self) -> nn.Module:
        """The network: after fit() with the best epoch's weights, which must then be in runs/ or in weights/."""
        return self.network.trained

    @property
    def result(self) -> dict:
        if self._result is None:
            raise RuntimeError(f"{self.label} is not trained yet: call fit() first")
        return self._result

    @property
    def curves(self) -> dict[str, list[float]]:
        """epoch, lr, seconds of training, train_loss, loss and the validation metrics of every epoch, as columns."""
        return results.read_curves((self.result and self._files).curves)

    def fit(self, after_epoch: Callable[[dict], None] = lambda row: None) -> dict:
        """Train, or load the finished run; the model then holds the best epoch's weights. Returns the result.

        after_epoch: gets the row of numbers of every epoch, also of those trained earlier; may raise to end the run,
                     which can be taken up again
        """
        with same_random_state():
            self._result = None
            self.network.reset()
            self._key = self._make_key()
            self._files = finished(self.label, self.folder, self.key)
            if self._files is None:
                try:
                    check(self)
                    train_network(self, lambda row: (self._print(row), after_epoch(row)))
                finally:
                    self.network.leave()
                self._files = finished(self.label, self.folder, self.key)
            else:
                if self.verbose:
                    print(f"{self.label}: loaded from {self._files.where}")
                for row in results.read_rows(self._files.curves):
                    self._print(row)
                    after_epoch(row)
        self._result = json.loads(self._files.result.read_text(encoding="utf-8"))
        self._result["metrics"] = {"val": self._result["metrics"]["val"]}  # others are computed anew, or found
        again = f"./run_all.sh --fresh {self.name[:2]}" if self.result["notebook"] else "CVF20_FRESH=1"
        missing = f"{self.label}: its weights are neither in {self.folder} nor in weights/; train it again with {again}"
        files = [self.folder / "best.pt", published(f"../weights/{self.label}.pt")]
        self.network.expect(files, self.key, missing)
        self._publish()
        return self.result

    def test(self, data: Dataset, flips: bool = False) -> dict[str, float]:
        """Metrics on the test split, computed once per finished run and added to its result."""
        return self.score("test_flips" if flips else "test", data, flips=flips)

    def score(self, split: str, data: Dataset, flips: bool = False) -> dict[str, float]:
        """Metrics of the best epoch's weights on `data`, kept in the result under metrics[split]."""
        self.result  # noqa: B018 — raises before fit()
        key = run_key([flips, self.quick], [self, self.metrics, data])
        local = self.folder / "scores" / f"{results.file_name(split)}-{key[:12]}.json"

        def make() -> dict:
            options = {"accelerator": self.accelerator, "metrics": self.metrics, "flips": flips}
            return {
                "key": key,
                "value": validate(to_device(self.model, self.accelerator), self.loader(data), **options),
            }

        return self.record(split, keep(f"{self.label}/{split}.json", local, key, make)[0]["value"])

    def record(self, split: str, metrics: dict) -> dict:
        """Add metrics that were computed elsewhere to the result, under metrics[split]."""
        self.result["metrics"][split] = metrics
        self._publish()
        return metrics

    @torch.inference_mode()
    def predict(self, images: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Probabilities (N, K, H, W) of normalised images (N, C, H, W), in eval mode; interpolated to (H, W) = size."""
        self.result  # noqa: B018 — raises before fit()
        model = to_device(self.model, self.accelerator).eval()
        batches = images.to(self.accelerator.device).split(self.settings.batch_size)
        outputs = (forward(model, batch, self.accelerator, size) for batch in batches)
        return torch.cat([probabilities(output, model).cpu() for output in outputs])

    def snapshot(self, epoch: int, index: int) -> Tensor:
        """(H, W) labels that the network predicted for validation image `index` after `epoch`."""
        file = (self.result and self._files).pictures / f"epoch{epoch:03d}_{index:04d}.png"
        return torch.from_numpy(read_image(file).copy())

    def explainit(self, input_shape: Sequence[int]):
        """Table, receptive field and drawing of the network for one image of shape (C, H, W), see `cvf20.show.explain`."""
        from cvf20.show.explain import explainit  # slow to import

        return explainit(self.network.built, input_shape)
