"""A fingerprint changes with whatever changes a run, and with nothing else."""

import functools
import importlib
import sys

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

import cvf20
from cvf20.losses import SorensenDiceLoss, cross_entropy_criterion
from cvf20.training import source as source_module
from cvf20.training.fingerprint import describe, fingerprint, tensors_digest
from cvf20.training.learner import Learner
from cvf20.training.source import source_digest
from cvf20.transforms import RandomWarp, train_transforms

LOSS = '''
"""A loss."""
from . import lab_helper
from .lab_helper import scale

POWER = 2
UNUSED = 1


def loss(logits, target):
    """Mean square."""
    return scale((logits - target) ** POWER)  # a comment


class Loss:
    def __call__(self, logits, target):
        return lab_helper.scale(logits - target)


class SubLoss(Loss):
    pass
'''
HELPER = """
import os


def scale(values):
    return _mean(values)


def _mean(values):
    return values.mean()


def unused(values):
    return values
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """lab(name, source) writes the module cvf20.<name> and imports it, as if it belonged to the package."""
    monkeypatch.setattr(cvf20, "__path__", [*cvf20.__path__, str(tmp_path)])
    before = set(sys.modules)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        source_module._parse.cache_clear()
        return importlib.import_module(f"cvf20.{name}")

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]
    for name in ("lab_loss", "lab_helper", "plots_lab"):
        if hasattr(cvf20, name):
            delattr(cvf20, name)
    source_module._parse.cache_clear()


@pytest.fixture
def loss_module(lab):
    lab("lab_helper", HELPER)
    return lab("lab_loss", LOSS)


# --- source -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("lab_loss", LOSS.replace("# a comment", "# another comment")),
        ("lab_loss", LOSS.replace("Mean square.", "The mean of squares.")),
        ("lab_loss", LOSS.replace('"""A loss."""', "")),
        (
            "lab_loss",
            LOSS.replace("(logits - target) ** POWER", "(\n        (logits - target)\n        ** POWER\n    )"),
        ),
        ("lab_helper", HELPER.replace("import os\n", "import os  # unused\n\n\n")),
        ("lab_helper", HELPER + "\nfrom .constants import VOID\n"),
        ("lab_helper", HELPER.replace("return values\n", "return values + 1\n")),
        ("lab_loss", LOSS + "\nSETTING = 1\n"),
        ("lab_loss", LOSS.replace("UNUSED = 1", "UNUSED = 2")),
    ],
    ids=["comment", "docstring", "docstring of the module", "layout", "helper's comment"]
    + ["unused import", "unused function", "new constant", "unused constant"],
)
def test_what_is_not_run_does_not_count(lab, loss_module, name, source):
    assert source != {"lab_loss": LOSS, "lab_helper": HELPER}[name]
    before = source_digest([loss_module.loss])
    lab(name, source)
    assert source_digest([loss_module.loss]) == before


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("lab_loss", LOSS.replace("logits - target", "target - logits")),
        ("lab_loss", LOSS.replace("POWER = 2", "POWER = 4")),
        ("lab_helper", HELPER.replace("values.mean()", "values.sum()")),
        ("lab_helper", HELPER.replace("return _mean(values)", "return 2 * _mean(values)")),
    ],
    ids=["code", "constant", "code of a helper's helper", "code of a helper"],
)
def test_code_counts_also_where_it_is_only_imported(lab, loss_module, name, source):
    before = source_digest([loss_module.loss])
    lab(name, source)
    assert source_digest([loss_module.loss]) != before


@pytest.mark.parametrize("wrap", [lambda m: functools.partial(m.loss, 1), lambda m: m.SubLoss(), lambda m: m.Loss])
def test_code_is_found_through_partials_instances_and_bases(lab, loss_module, wrap):
    part = wrap(loss_module)
    before = source_digest([part])
    lab("lab_helper", HELPER.replace("values.mean()", "values.sum()"))
    assert source_digest([part]) != before


def test_code_is_found_inside_networks_and_composed_transforms(lab, loss_module, monkeypatch):
    """v2.Compose keeps its steps in a list, nn.Sequential as children."""
    for whole in (v2.Compose([v2.Compose([inner := nn.Identity()])]), nn.Sequential(nn.Sequential(inner))):
        monkeypatch.setattr(type(inner), "__module__", "cvf20.lab_loss")
        lab("lab_helper", HELPER)
        before = source_digest([whole])
        lab("lab_helper", HELPER.replace("values.mean()", "values.sum()"))
        assert source_digest([whole]) != before
        monkeypatch.undo()


def test_a_loss_may_take_a_network_or_a_partial(lab, loss_module):
    """Arguments of a partial run too."""
    part = functools.partial(print, functools.partial(loss_module.loss), end=loss_module.SubLoss())
    before = source_digest([part])
    lab("lab_helper", HELPER.replace("values.mean()", "values.sum()"))
    assert source_digest([part]) != before


def test_modules_that_only_report_do_not_count(lab, loss_module):
    lab("plots_lab", "def scale(values):\n    return 1\n")
    lab("lab_loss", LOSS.replace("from .lab_helper import", "from .plots_lab import"))
    before = source_digest([loss_module.loss])
    lab("plots_lab", "def scale(values):\n    return 2\n")
    assert source_digest([loss_module.loss]) == before


def names_behind(part, monkeypatch):
    """The definitions that count for `part`."""
    seen, static = set(), source_module._static

    def record(module, name):
        seen.add(f"{module}.{name}")
        return static(module, name)

    monkeypatch.setattr(source_module, "_static", record)
    source_digest([part])
    return seen


def test_what_a_training_run_depends_on(monkeypatch):
    """The loop, its metrics and constants; not what draws, stores or explains, nor what only reads a finished run."""
    names = names_behind(Learner._train, monkeypatch)
    assert {"cvf20.training.loop.train", "cvf20.training.loop.forward", "cvf20.metrics.semantic.iou"} <= names
    assert {"cvf20.training.learner.OPTIMIZERS", "cvf20.labels.VOID", "cvf20.labels.split_void"} <= names
    assert not [name for name in names if name.startswith(("cvf20.training.results", "cvf20.show", "cvf20.paths"))]
    assert "cvf20.training.learner.Learner" not in names


def test_functions_called_through_a_front_door_count(monkeypatch):
    """`from .metrics import iou` leads to the file where iou is written."""
    assert "cvf20.losses.dice.SorensenDiceLoss" in names_behind(SorensenDiceLoss(), monkeypatch)


def test_a_users_own_module_counts_and_a_library_does_not(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_losses.py").write_text("import math\n\ndef loss(a, b):\n    return math.hypot(a, b)\n")
    mine = importlib.import_module("my_losses")
    before = source_digest([mine.loss])
    (tmp_path / "my_losses.py").write_text("import math\n\ndef loss(a, b):\n    return math.dist(a, b)\n")
    source_module._parse.cache_clear()
    assert source_digest([mine.loss]) != before
    assert source_digest([torch.nn.functional.mse_loss]) == source_digest([])


def notebook_cell(path, source, name="loss"):
    """A function or class as a notebook defines it: in __main__, its source in a file of its own."""
    path.write_text(source)
    namespace = {"__name__": "__main__"}
    exec(compile(source, str(path), "exec"), namespace)
    return namespace[name]


def test_a_loss_from_the_notebook_counts_by_its_source(tmp_path):
    first, same, other = (
        notebook_cell(tmp_path / f"cell{i}.py", source)
        for i, source in enumerate(
            [
                "def loss(a, b):\n    return a - b\n",
                "# moved down\n\ndef loss(a, b):\n    'Difference.'\n    return a - b  # the same\n",
                "def loss(a, b):\n    return b - a\n",
            ]
        )
    )
    assert source_digest([first]) == source_digest([same]) != source_digest([other])


CELL = """
FACTOR = 2

def double(values):
    return FACTOR * values

class Loss:
    exponent = 2

    def __call__(self, a, b):
        return double(a - b) ** self.exponent
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [("FACTOR = 2", "FACTOR = 3"), ("exponent = 2", "exponent = 3"), ("* values", "- values"), ("a - b", "b - a")],
)
def test_a_class_from_the_notebook_counts_with_what_it_names(tmp_path, old, new):
    """inspect has no source of a class in a notebook, only of its functions."""
    first, same, other = (
        notebook_cell(tmp_path / f"cell{i}.py", text, "Loss")
        for i, text in enumerate([CELL, "# moved\n" + CELL, CELL.replace(old, new)])
    )
    assert source_digest([first]) == source_digest([same]) != source_digest([other])
    assert source_digest([first()]) == source_digest([first])


@pytest.mark.parametrize("way", ["lab_loss.loss(a, b)", "CHOICES['mine'](a, b)", "PART(a, b)"])
def test_a_function_of_the_notebook_counts_with_what_it_reaches(lab, loss_module, tmp_path, way):
    """Through a module, a dictionary, or a partial function."""
    cell = "import functools\nfrom cvf20 import lab_loss\nCHOICES = {'mine': lab_loss.loss}\n"
    cell += f"PART = functools.partial(lab_loss.loss)\ndef loss(a, b):\n    return {way}\n"
    function = notebook_cell(tmp_path / "cell.py", cell)
    before = source_digest([function])
    lab("lab_helper", HELPER.replace("values.mean()", "values.sum()"))
    assert source_digest([function]) != before


# --- recipe and arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda m: functools.partial(m.loss, 1), lambda m: m.SubLoss().__call__])
def test_code_is_found_in_the_attributes_of_a_module(lab, loss_module, wrap):
    whole = nn.Identity()
    whole.base = wrap(loss_module)
    before = source_digest([whole])
    lab("lab_helper", HELPER.replace("values.mean()", "values.sum()"))
    assert source_digest([whole]) != before


def test_a_module_that_holds_a_method_of_its_own_is_no_circle():
    """As accelerate leaves it, which wraps forward."""
    module = nn.Identity()
    module.forward = module.forward
    assert source_digest([module]) and describe(module)


def test_recipe_and_source_count_and_the_order_of_keys_does_not():
    parts = [cross_entropy_criterion]
    assert fingerprint({"a": 1, "b": 2}, parts) == fingerprint({"b": 2, "a": 1}, parts)
    assert fingerprint({"a": 1, "b": 2}, parts) != fingerprint({"a": 1, "b": 3}, parts)
    assert fingerprint({}, parts) != fingerprint({}, [])


def test_equal_arguments_have_equal_descriptions():
    """Two objects built alike: no address in memory, nothing random."""
    for build in (
        lambda: train_transforms((8, 8), degrees=10.0, displacement=2.0, color=0.1, quarter_turns=True),
        lambda: functools.partial(cross_entropy_criterion, weight=torch.arange(3.0)),
        lambda: SorensenDiceLoss(from_logits=False),
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
        lambda: {"a": [1, None, "x", (2.5, True)]},
    ):
        torch.manual_seed(0)
        first = describe(build())
        torch.manual_seed(0)
        assert first == describe(build())
        assert " at 0x" not in str(describe(build()))


def power(exponent):
    return lambda value: value**exponent


def keyword(exponent):
    def loss(value, *, exponent=exponent):
        return value**exponent

    return loss


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (train_transforms((8, 8)), train_transforms((8, 10))),
        (train_transforms((8, 8), flip=0.5), train_transforms((8, 8), flip=0.4)),
        (train_transforms((8, 8), color=0.1), train_transforms((8, 8), color=0.2)),
        (RandomWarp(10.0), RandomWarp(11.0)),
        (RandomWarp(10.0, fill="void"), RandomWarp(10.0)),
        (SorensenDiceLoss(), SorensenDiceLoss(from_logits=False)),
        (functools.partial(max, key=len), functools.partial(min, key=len)),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (power(1), power(2)),
        (keyword(1), keyword(2)),
        (SorensenDiceLoss().forward, SorensenDiceLoss(from_logits=False).forward),
        (nn.Linear(2, 2), nn.Linear(2, 2)),  # another draw of weights
        (torch.zeros(3), torch.ones(3)),
        (torch.zeros(100), torch.zeros(100).index_fill(0, torch.tensor(99), 1)),
    ],
)
def test_different_arguments_have_different_descriptions(one, other):
    assert describe(one) != describe(other)


def test_digest_of_weights_sees_names_shapes_types_and_values():
    weights = {"a": torch.arange(6.0), "b": torch.tensor(True)}
    same = {"a": torch.arange(6.0).reshape(3, 2).t().contiguous().t().flatten(), "b": torch.tensor(True)}
    assert tensors_digest(weights) == tensors_digest(same)
    for other in (
        {"c": weights["a"], "b": weights["b"]},
        {**weights, "a": weights["a"].reshape(2, 3)},
        {**weights, "a": weights["a"].bfloat16()},
        {**weights, "a": weights["a"] + torch.eye(6)[5] * 1e-6},
        {**weights, "b": torch.tensor(False)},
        {"a": weights["a"]},
    ):
        assert tensors_digest(other) != tensors_digest(weights)
    assert tensors_digest({"a": torch.empty(0)}) != tensors_digest({})


def test_memory_layout_does_not_count():
    weights = torch.rand(2, 3, 4, 5)
    assert tensors_digest({"w": weights}) == tensors_digest({"w": weights.to(memory_format=torch.channels_last)})
