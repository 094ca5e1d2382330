"""Whatever the machine has: precisions, processes, a device without float64; every image counts once."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState
from launched import ONE, TWO, start, told
from no_float64 import OnDevice
from tiny import Patches, tiny_unet
from torch.utils.data import DataLoader

from cvf20.losses import binary_cross_entropy, cross_entropy_criterion
from cvf20.training import devices
from cvf20.training.devices import has_bf16, make_accelerator, on_gpu
from cvf20.training.loop import validate

pytestmark = pytest.mark.usefixtures("one_thread")


# --- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [{}, {"avx512_bf16": True}, {"amx_bf16": False}, {"bf16": True}])
def test_bf16_on_a_processor(monkeypatch, found):
    """package.md 2: get_capabilities came with torch 2.11."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert has_bf16() is any(found.values())
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert has_bf16() is False and make_accelerator()


@pytest.mark.parametrize(("bf16", "wanted"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_without_fast_bf16_scales_fp16(monkeypatch, bf16, wanted):
    """Colab's T4; what Accelerate is asked for, since there is no GPU here."""
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(devices, "Accelerator", lambda mixed_precision: asked.append(mixed_precision))
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    make_accelerator()
    assert asked == [wanted]


def test_workers_and_pinned_memory_are_for_gpus():
    class Gpu:
        device = torch.device("cuda")

    assert on_gpu(make_accelerator("fp32")) == {}
    assert on_gpu(Gpu()) == {"pin_memory": True, "num_workers": min(8, os.cpu_count())}


# --- a device without float64 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "loss"), [(3, cross_entropy_criterion), (1, binary_cross_entropy)])
@pytest.mark.parametrize("metrics", [None, lambda logits, labels: {"m": logits.double().mean()}])
def test_nothing_needs_float64_on_the_device(monkeypatch, classes, loss, metrics):
    with pytest.raises(TypeError, match="float64"):
        torch.ones(2).as_subclass(OnDevice).double()

    def there(batch, device):
        return [part.as_subclass(torch.Tensor).as_subclass(OnDevice) for part in batch]

    monkeypatch.setattr("cvf20.training.loop.send_to_device", there)
    loader = DataLoader(Patches(4, classes, void=True), 2)
    model = tiny_unet(classes)
    found = validate(model, loader, loss, accelerator=make_accelerator("fp32"), metrics=metrics)
    monkeypatch.undo()
    assert found == validate(model, loader, loss, accelerator=make_accelerator("fp32"), metrics=metrics)


# --- several processes ------------------------------------------------------------------------------------------------

SAME = """
import json, os, signal
from functools import partial
from tiny import Patches, tiny_unet
from cvf20.learner import Learner
from cvf20.losses import cross_entropy_criterion

rank = os.environ.get("RANK", "0")

def killed(row):
    if row["epoch"] == 2 and rank == os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)

same = Learner(partial(tiny_unet, norm_type="group"), cross_entropy_criterion, Patches(18), Patches(5), lr=1e-2,
               batch_size=4, epochs=4, name="02_same", precision="fp32", verbose=False)
"""
SCRIPT = """
import torch
from cvf20.training.devices import make_accelerator
from cvf20.training.runs import cached

torch.set_num_threads(1)
said = {"processes": make_accelerator("fp32").num_processes}

class Noisy(Patches):
    def __getitem__(self, index):
        image, mask = super().__getitem__(index)
        drawn.append((index, torch.rand(()).item()))
        return image, mask

drawn = []
data = Noisy(8)
run = Learner(tiny_unet, cross_entropy_criterion, data, Patches(5), batch_size=2, epochs=2, name="02_two",
              precision="fp32", average=0.9, snapshots=(0,), verbose=False)
run.fit()
said["drawn"] = drawn
target = torch.stack([mask for _, mask in run.valid_data])
scores = run.predict(torch.stack([image for image, _ in run.valid_data]))
said["accuracy"] = (scores.argmax(1) == target).double().mean().item()
said["weights"] = sum(p.double().abs().sum().item() for p in run.model.parameters())
said["val"] = run.result["metrics"]["val"]["accuracy"]
said["test"] = run.test(Patches(3, seed=4))

def some_nan(logits, target):
    return cross_entropy_criterion(logits, target) * (float("nan") if rank == "1" else 1.0)

try:
    Learner(tiny_unet, some_nan, Patches(8), Patches(5), batch_size=2, name="02_nan", precision="fp32").fit()
except FloatingPointError as error:
    said["error"] = str(error)

said["same"] = [same.key, same.fit(killed)["metrics"]["val"], same.test(Patches(3, seed=4))]
said["losses"] = [same.curves[name] for name in ("train_loss", "loss")]
said["cached"] = [cached("02_value", lambda: [os.environ.get("RANK", "0"), same.test(Patches(3, seed=5))]) for _ in "ab"]
with open(f"said{rank}", "w") as file:
    json.dump(said, file)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What two processes and one say of the same training; the dictionary of each process."""
    outputs = {}
    for count, command in ((2, TWO), (1, ONE)):
        folder = tmp_path_factory.mktemp(f"processes{count}")
        printed = told(process := start(folder, command, SAME + SCRIPT))
        assert process.returncode == 0, printed
        outputs[count] = [json.loads((folder / f"said{rank}").read_text()) for rank in range(count)]
        outputs[f"files{count}"] = sorted(path.name for path in (folder / "out" / "results").glob("02_two*"))
    return outputs


def test_two_processes_train_one_network(said):
    """Both end with the same weights, one result is written, and its metrics are those of all images, each once."""
    first, second = said[2]
    assert first["weights"] == second["weights"] and first["test"] == second["test"]
    assert first["accuracy"] == second["accuracy"] == pytest.approx(first["val"], abs=1e-6)
    assert said["files2"] == said["files1"] == ["02_two-seed0", "02_two-seed0.csv", "02_two-seed0.json"]


def test_each_process_draws_its_own_augmentation_and_its_own_images(said):
    first, second = ([tuple(pair) for pair in one["drawn"]][-8:] for one in said[2])  # after the check of the masks
    for epoch in (0, 4):
        indices = [index for index, _ in first[epoch : epoch + 4] + second[epoch : epoch + 4]]
        assert sorted(indices) == list(range(8))
    assert not {number for _, number in first} & {number for _, number in second}


def test_one_process_and_two_train_alike(said):
    """issue 18: four images a step, or two in each of two processes, without batch norm; another key: another run."""
    (alone,) = said[1]
    assert [one["processes"] for one in said[2]] == [2, 2] and alone["processes"] == 1
    for one in said[2]:
        assert one["same"] == alone["same"]
        assert abs(torch.tensor(one["losses"]) - torch.tensor(alone["losses"])).max() < 1e-3
        assert one["cached"] == [["0", one["cached"][0][1]]] * 2  # computed by both, as it may train, kept by the first


def test_all_processes_end_where_the_loss_of_one_is_no_number(said):
    errors = [one["error"] for one in said[2]]
    assert errors[0] == errors[1] and "loss is nan in epoch 1, batch 1" in errors[0]


def test_a_batch_that_cannot_be_divided_is_an_error():
    with pytest.raises(ValueError, match="batch_size=4: a multiple of the 3 processes is wanted"):
        devices.training_loader(Patches(8), 4, 0, SimpleNamespace(num_processes=3))


ENDING = "metrics = same.fit(killed)['metrics']['val']\nif rank == '0': print(json.dumps([metrics, same.curves, same.result]))"


@pytest.mark.parametrize(("first", "second", "dies"), [(TWO, ONE, "1"), (ONE, TWO, "0")])
def test_a_killed_worker_ends_the_job_and_others_go_on(tmp_path, said, first, second, dies):
    """issue 18: what two processes left is read by one, and the other way round; metrics are equal, losses to 1e-3."""
    (alone,), process = said[1], start(tmp_path, first, SAME + ENDING, KILLED=dies)
    assert (first == ONE or "Signal 9 (SIGKILL)" in told(process)) and process.wait()
    metrics, curves, result = json.loads(told(start(tmp_path, second, SAME + ENDING)).splitlines()[-1])
    assert metrics == alone["same"][1] and result["processes"] == 1 + (second == TWO)
    assert torch.tensor([curves["train_loss"], curves["loss"]]).allclose(torch.tensor(alone["losses"]), 0, 1e-3)
