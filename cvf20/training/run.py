"""What a run is: its settings in words, its key, its place; and how its data are loaded."""

import copy
from dataclasses import asdict
from pathlib import Path

import accelerate
from torch.utils.data import DataLoader, Dataset, Subset

from cvf20.paths import runs_dir
from cvf20.training import results
from cvf20.training.describe import Description
from cvf20.training.devices import make_accelerator, on_gpu
from cvf20.training.runs import publish_run, run_key

QUICK = {"epochs": 2, "images": 8, "batch_size": 4}  # the most that a quick run looks at


class Run:
    """The part of a Learner that is settled before anything is trained."""

    @property
    def recipe(self) -> dict:
        """The settings in words, as results show them."""
        told = {"model": self.network.name, "loss": self.loss, "metrics": self.metrics}
        for name, data in (("transforms", self.train_data), ("valid_transforms", self.valid_data)):
            told[name] = getattr(data, "transforms", None)
        return {"images": len(self.train_data), **asdict(self.settings), **results.words(told)}

    @property
    def key(self) -> str:
        """What the run is, in 64 hex digits; settled by `fit()`, which looks at the data anew each time."""
        return self._key or self._make_key()

    def _make_key(self) -> str:
        settings = [asdict(self.settings), self.seed, self.quick, self.snapshots]
        data = [self.train_data, self.valid_data]
        return run_key(settings, [self.network, type(self), _untouched(self.loss), self.metrics, *data])

    def key_parts(self, description: Description) -> str:
        description.learners += 1
        return self.key

    @property
    def label(self) -> str:
        return f"{self.name}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """runs/<name>-seed<seed>-<key>: another recipe, data set or code gets another folder."""
        return runs_dir() / f"{self.label}-{self.key[:12]}"

    @property
    def accelerator(self) -> accelerate.Accelerator:
        return make_accelerator(self.precision)

    @property
    def snapshot_epochs(self) -> list[int]:
        """First, quarter, half and last epoch."""
        epochs = self.settings.epochs
        return sorted({1, max(1, epochs // 4), max(1, epochs // 2), epochs})

    def loader(self, data: Dataset) -> DataLoader:
        return DataLoader(self.looked_at(data), self.settings.batch_size, **on_gpu(self.accelerator))

    def looked_at(self, data: Dataset) -> Dataset:
        return Subset(data, range(min(len(data), QUICK["images"]))) if self.quick else data

    def _publish(self) -> None:
        if self.accelerator.is_main_process:
            results.write_result(self.result)
            publish_run(self._files, self.label)

    def _print(self, row: dict) -> None:
        """One line per epoch that stays readable in a saved notebook."""
        if self.verbose:
            values = "  ".join(f"{key} {row[key]:.3f}" for key in row if key not in ("epoch", "lr"))
            print(f"{self.label}  epoch {row['epoch']:3d}/{self.settings.epochs}  lr {row['lr']:.1e}  {values}")


def _untouched(loss):
    """A copy of a loss for the key, told that training begins: one that was used before is the same loss."""
    try:
        loss = copy.deepcopy(loss)
    except Exception:  # it holds what cannot be copied
        return loss
    if hasattr(loss, "set_progress"):
        loss.set_progress(0.0)
    return loss
