"""A fingerprint changes with whatever changes a run, and with nothing else."""

import functools
import importlib
import sys

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

import cvf20
from cvf20 import fingerprint as fp
from cvf20.fingerprint import describe, fingerprint, source_digest, tensors_digest
from cvf20.losses import SorensenDiceLoss, cross_entropy_criterion
from cvf20.transforms import RandomWarp, train_transforms

LOSS = '''
"""A loss."""
from .lab_helper import scale


def loss(logits, target):
    """Mean square."""
    return scale((logits - target) ** 2)  # a comment


class Loss:
    pass


class SubLoss(Loss):
    pass
'''
HELPER = """
import os


def scale(values):
    return values.mean()
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """lab(name, source) writes the module cvf20.<name> and imports it, as if it belonged to the package."""
    monkeypatch.setattr(cvf20, "__path__", [*cvf20.__path__, str(tmp_path)])
    before = set(sys.modules)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        fp._closure.cache_clear()
        return importlib.import_module(f"cvf20.{name}")

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]
    for name in ("lab_loss", "lab_helper", "plots_lab"):
        if hasattr(cvf20, name):
            delattr(cvf20, name)
    fp._closure.cache_clear()


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
        ("lab_loss", LOSS.replace("(logits - target) ** 2", "(\n        (logits - target)\n        ** 2\n    )")),
        ("lab_helper", HELPER.replace("import os\n", "import os  # unused\n\n\n")),
    ],
    ids=["comment", "docstring", "docstring of the module", "layout", "helper's comment"],
)
def test_comments_docstrings_and_layout_do_not_count(lab, loss_module, name, source):
    assert source != {"lab_loss": LOSS, "lab_helper": HELPER}[name]
    before = source_digest([loss_module.loss])
    lab(name, source)
    assert source_digest([loss_module.loss]) == before


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("lab_loss", LOSS.replace("** 2", "** 4")),
        ("lab_loss", LOSS + "\nSETTING = 1\n"),
        ("lab_helper", HELPER.replace("mean", "sum")),
        ("lab_helper", HELPER + "\nfrom .constants import VOID\n"),
    ],
    ids=["code", "constant", "code of a helper", "import of a helper"],
)
def test_code_counts_also_where_it_is_only_imported(lab, loss_module, name, source):
    before = source_digest([loss_module.loss])
    lab(name, source)
    assert source_digest([loss_module.loss]) != before


@pytest.mark.parametrize("wrap", [lambda m: functools.partial(m.loss, 1), lambda m: m.SubLoss(), lambda m: m.Loss])
def test_code_is_found_through_partials_instances_and_bases(lab, loss_module, wrap):
    part = wrap(loss_module)
    before = source_digest([part])
    lab("lab_helper", HELPER.replace("mean", "sum"))
    assert source_digest([part]) != before


def test_code_is_found_inside_networks_and_composed_transforms(lab, loss_module, monkeypatch):
    """v2.Compose keeps its steps in a list, nn.Sequential as children."""
    for whole in (v2.Compose([v2.Compose([inner := nn.Identity()])]), nn.Sequential(nn.Sequential(inner))):
        monkeypatch.setattr(type(inner), "__module__", "cvf20.lab_loss")
        lab("lab_helper", HELPER)
        before = source_digest([whole])
        lab("lab_helper", HELPER.replace("mean", "sum"))
        assert source_digest([whole]) != before
        monkeypatch.undo()


def test_a_loss_may_take_a_network_or_a_partial(lab, loss_module):
    """Arguments of a partial run too."""
    part = functools.partial(print, functools.partial(loss_module.loss), end=loss_module.SubLoss())
    before = source_digest([part])
    lab("lab_helper", HELPER.replace("mean", "sum"))
    assert source_digest([part]) != before


def test_modules_that_only_report_do_not_count(lab, loss_module):
    lab("lab_loss", LOSS + "\nfrom . import plots, results\nfrom .paths import out_dir\n")
    closure = fp._closure("cvf20.lab_loss")
    assert closure == {"cvf20.lab_loss", "cvf20.lab_helper"}


def test_what_a_training_run_depends_on():
    """The closure of the Learner holds the loop and its metrics, not what draws, stores or explains."""
    closure = fp._closure("cvf20.learner")
    assert {"cvf20.learner", "cvf20.training", "cvf20.metrics.semantic", "cvf20.labels", "cvf20.constants"} <= closure
    assert not {"cvf20.results", "cvf20.plots", "cvf20.paths", "cvf20.explain", "cvf20.fingerprint"} & closure


def notebook_function(path, source):
    """A function as a notebook defines it: in __main__, its source in a file of its own."""
    path.write_text(source)
    namespace = {"__name__": "__main__"}
    exec(compile(source, str(path), "exec"), namespace)
    return namespace["loss"]


def test_a_loss_from_the_notebook_counts_by_its_source(tmp_path):
    first, same, other = (
        notebook_function(tmp_path / f"cell{i}.py", source)
        for i, source in enumerate(
            [
                "def loss(a, b):\n    return a - b\n",
                "# moved down\n\ndef loss(a, b):\n    'Difference.'\n    return a - b  # the same\n",
                "def loss(a, b):\n    return b - a\n",
            ]
        )
    )
    assert source_digest([first]) == source_digest([same]) != source_digest([other])


# --- recipe and arguments ---------------------------------------------------------------------------------------------


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
        assert describe(build()) == describe(build())
        assert " at 0x" not in str(describe(build()))


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
