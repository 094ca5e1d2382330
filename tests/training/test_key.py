"""The key of a run differs with whatever changes what is learned or computed, and with nothing else."""

import ast
import functools
import importlib
import inspect
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Patches, tiny_unet
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset
from torchvision.transforms import v2

from cvf20.learner import Learner
from cvf20.losses import SorensenDiceLoss, TopologyLoss, cross_entropy_criterion
from cvf20.training import devices
from cvf20.training.code import code_behind, dump
from cvf20.training.runs import run_key
from cvf20.transforms import train_transforms

LOSS = '''
"""A loss."""
from mylab.helper import scale
from mylab.front import mean

POWER = 2


def loss(logits, target):
    """Mean square."""
    return mean(scale((logits - target) ** POWER))  # a comment


class Loss:
    def __init__(self, weight=1.0):
        self._w = weight

    def __call__(self, logits, target):
        from mylab import late
        return late.shift(self._w * loss(logits, target))


class SubLoss(Loss):
    pass
'''
FILES = {
    "__init__": "",
    "loss": LOSS,
    "front": "from mylab.mean import mean\n",
    "mean": "def mean(values):\n    return values.mean()\n",
    "helper": "import os\n\ndef scale(values):\n    return values\n",
    "late": "def shift(value):\n    return value\n",
    "other": "def nothing():\n    return 0\n",
}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A user's own package, of which lab(name=text) edits modules and imports all anew."""
    folder = tmp_path / "mylab"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(**texts):
        for name, text in (FILES | texts).items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        for name in [name for name in sys.modules if name.split(".")[0] == "mylab"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return importlib.import_module("mylab.loss")

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "mylab"]:
        del sys.modules[name]


def key(*parts):
    return run_key({}, parts)


EDITS = {
    "comment": (False, {"loss": LOSS.replace("# a comment", "# another comment")}),
    "docstring": (False, {"loss": LOSS.replace("Mean square.", "The mean of squares.")}),
    "docstring of the module": (False, {"loss": LOSS.replace('"""A loss."""', "")}),
    "layout": (False, {"loss": LOSS.replace("** POWER", "\n  **     POWER\n    ")}),
    "another module": (False, {"other": "def nothing():\n    return 1\n"}),
    "the package": (False, {"__init__": "import os\n"}),
    "code": (True, {"loss": LOSS.replace("logits - target", "target - logits")}),
    "constant": (True, {"loss": LOSS.replace("POWER = 2", "POWER = 4")}),
    "import": (True, {"helper": FILES["helper"].replace("return values", "return 2 * values")}),
    "through a module that hands it on": (True, {"mean": FILES["mean"].replace("mean()", "sum()")}),
    "what else it hands on": (False, {"front": FILES["front"] + "from mylab.other import nothing\nX = 1\n"}),
    "import inside a function": (True, {"late": FILES["late"].replace("return value", "return -value")}),
}


@pytest.mark.parametrize("part", ["loss", "Loss", "SubLoss"])
@pytest.mark.parametrize(("counts", "texts"), EDITS.values(), ids=EDITS)
def test_code_counts_with_what_it_imports_and_nothing_that_is_not_run(lab, part, counts, texts):
    before = key(getattr(lab(), part))
    assert (key(getattr(lab(**texts), part)) != before) == counts


def test_code_counts_as_it_was_imported_and_not_as_it_stands_on_the_disk(lab, tmp_path):
    """An edit without a restart: the old code still runs, so it keeps its key, until it is imported anew."""
    module = lab()
    (tmp_path / "mylab" / "mean.py").write_text("def mean(values):\n    return 0 * values.sum()\n")
    before = key(module.loss)
    importlib.reload(sys.modules["mylab.mean"])
    assert key(module.loss) != before
    assert key(lab().loss) == before


def test_code_is_found_wherever_it_hides(lab):
    hidden = [
        lambda m: functools.partial(print, functools.partial(m.loss), end=m.SubLoss()),
        lambda m: m.Loss().__call__,
        lambda m: v2.Compose([v2.Compose([v2.Lambda(m.loss)])]),
        lambda m: [{"base": (m.loss,)}],
        lambda m: m,
    ]
    keys = [[key(hide(module)) for hide in hidden] for module in (lab(), lab())]
    module = lab(mean="def mean(values):\n    return values.sum()\n")
    assert keys[0] == keys[1] and not set(keys[0]) & {key(hide(module)) for hide in hidden}


def test_a_training_run_depends_on_the_loop_and_not_on_what_reports(lab):
    behind = code_behind({"cvf20.training.learner"})
    assert {"cvf20.training.loop", "cvf20.training.outputs", "cvf20.metrics.semantic", "cvf20.labels"} <= set(behind)
    silent = ("show", "submission", "paths", "losses", "training.results", "training.runs", "datasets.download")
    assert not [module for module in behind if module.startswith(tuple(f"cvf20.{name}" for name in silent))]
    assert not [module for module in behind if not module.startswith("cvf20.")]
    lab(loss="from cvf20.losses import SorensenDiceLoss\n" + LOSS)
    assert {m for m in code_behind({"mylab.loss"}) if m.startswith("cvf20.losses")} >= {"cvf20.losses.dice"}
    assert "cvf20.losses.topology" not in code_behind({"mylab.loss"})


def test_the_code_of_a_module_is_the_same_text_on_every_python():
    """Nothing of the syntax tree that came or went between 3.11 and 3.14; other versions here agree, where there are any."""
    script = f"import ast, sys\n{inspect.getsource(dump)}\nprint(dump(ast.parse(open(sys.argv[1]).read())))"
    found = set()
    for python in filter(None, [sys.executable, *map(shutil.which, ("python3.12", "python3.13", "python3.14"))]):
        done = subprocess.run([python, "-X", "utf8", "-c", script, devices.__file__], capture_output=True, timeout=60)
        found |= {done.stdout} if done.returncode == 0 else set()
    assert len(found) == 1 and dump(ast.parse("f'{x!r:>{w}}' f'a'")) == dump(ast.parse("f'{x!r:>{w}}a'"))


# --- notebooks --------------------------------------------------------------------------------------------------------

CELLS = """
import torch
import numpy as np
FACTOR = 2
LIST = [1, 2, 3]
TABLE = {"a": torch.arange(3.0)}
LONG = np.arange(1000)

def double(values):
    return FACTOR * values

class Loss:
    exponent = 2

    def __init__(self, weight=1.0):
        self._w = weight

    def __call__(self, a, b):
        '''Text.'''
        return double(a - b) ** self.exponent * self._w + LIST[0] + TABLE["a"][0] + LONG[-1]  # comment

def loss(a, b, share=0.5):
    return share * Loss()(a, b)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.act = torch.relu

    def forward(self, x):
        return self.act(x)

def make(k):
    return lambda a, b: k * (a - b)

lambdas = lambda a, b: a - b, lambda a, b: b - a, lambda: 1, lambda: 2, lambda: None, lambda: lambda: 1
built = Net()
unused = 3
"""


def cells(path, text=CELLS):
    """What a notebook defines: in __main__, its source in a file of its own that nobody imported."""
    number = len(list(path.glob("cell*.py")))
    file = path / f"cell{number}.py"
    file.write_text(text)
    space = {"__name__": "__main__"}
    exec(compile(text, str(file), "exec"), space)
    return space


PARTS = {
    "class": lambda s: s["Loss"],
    "instance": lambda s: s["Loss"](),
    "function": lambda s: s["loss"],
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize(
    ("counts", "old", "new"),
    [
        (True, "FACTOR = 2", "FACTOR = 3"),
        (True, "exponent = 2", "exponent = 3"),
        (True, "weight=1.0", "weight=2.0"),
        (True, "* values", "- values"),
        (True, "a - b) **", "b - a) **"),
        (False, "# comment", "# other"),
        (False, "Text.", "Words."),
        (False, "unused = 3", "unused = 4"),
        (False, "import torch\n", "import torch\n\n\n"),
    ],
)
def test_what_a_notebook_defines_counts_with_all_that_it_reads_and_no_more(tmp_path, part, counts, old, new):
    first, same, other = (cells(tmp_path, text) for text in (CELLS, CELLS, CELLS.replace(old, new)))
    assert key(part(first)) == key(part(same)) and (key(part(first)) != key(part(other))) == counts


def test_values_changed_in_place_count(tmp_path):
    space = cells(tmp_path)
    found = {key(space["loss"])}
    for name, place, value in (("LIST", 2, 4), ("LONG", 500, 0), ("TABLE", "a", torch.ones(3))):
        space[name][place] = value
        found.add(key(space["loss"]))
    space["TABLE"]["a"][2] = 7
    assert len(found | {key(space["loss"])}) == 5


def test_an_attribute_of_a_network_counts(tmp_path):
    """package.md 6: relu changed to tanh, in the class or on the object."""
    space, other = cells(tmp_path), cells(tmp_path, CELLS.replace("torch.relu", "torch.tanh"))
    before = key(space["built"])
    assert key(space["Net"]) != key(other["Net"]) and before != key(other["built"])
    space["built"].act = torch.tanh
    assert key(space["built"]) != before
    hooked, one, other = (cells(tmp_path)["built"] for _ in range(3))
    hooked.register_forward_hook(lambda module, x, y: 2 * y)
    one.register_buffer("mask", torch.zeros(2), persistent=False)
    other.register_buffer("mask", torch.ones(2), persistent=False)
    assert len({before, *map(key, (hooked, one, other))}) == 4


def test_lambdas_of_one_line_and_closures_are_told_apart(tmp_path):
    spaces = cells(tmp_path), cells(tmp_path)
    keys = [[key(part) for part in (*s["lambdas"], s["make"](1), s["make"](2))] for s in spaces]
    assert keys[0] == keys[1] and len(set(keys[0])) == 8


@pytest.mark.parametrize("body", ["mylab.loss.loss(a, b)", "CHOICES['mine'](a, b)", "PART(a, b)", "inner(a, b)"])
def test_a_notebook_reaches_modules(lab, tmp_path, body):
    text = "import functools, torch, mylab.loss\nCHOICES = {'mine': mylab.loss.loss}\n"
    text += "PART = functools.partial(mylab.loss.loss)\ndef inner(a, b):\n    from mylab.loss import loss\n"
    text += f"    return loss(a, b)\n@torch.no_grad()\ndef loss(a, b):\n    return {body}\n"
    lab()
    before = key(cells(tmp_path, text)["loss"])
    lab(mean="def mean(values):\n    return values.sum()\n")
    assert key(cells(tmp_path, text)["loss"]) != before


class Squares:
    """A plain callable: its address is another one in each process."""

    def __init__(self, weight=1.0, table=()):
        self._w, self.table = weight, list(table)

    def __call__(self, logits, target):
        return self._w * (logits - target) ** 2


def power(exponent):
    return lambda value: value**exponent


BUILDS = [
    lambda: Squares(),
    lambda: train_transforms((8, 8), degrees=10.0, displacement=2.0, colour=0.1, quarter_turns=True),
    lambda: functools.partial(cross_entropy_criterion, weight=torch.arange(3.0)),
    lambda: SorensenDiceLoss(from_logits=False),
    lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
    lambda: {"a": [1, None, "x", (2.5, True)], 3: {1, 2}, "g": np.random.default_rng(3), "t": torch.Generator()},
    lambda: Subset(Patches(4), [0, 2]),
    lambda: TopologyLoss(),
    lambda: power(2),
]


@pytest.mark.parametrize("build", BUILDS)
def test_equal_objects_have_equal_keys(build):
    """Two objects built alike: no address in memory, nothing random."""
    keys = set()
    for _ in range(2):
        torch.manual_seed(0)
        keys.add(key(build()))
    assert len(keys) == 1


LONG = torch.zeros(100_000)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Squares(), Squares(2.0)),
        (Squares(table=range(99)), Squares(table=[*range(98), 0])),
        (train_transforms((8, 8)), train_transforms((8, 10))),
        (SorensenDiceLoss(), SorensenDiceLoss(from_logits=False)),
        (functools.partial(max, key=len), functools.partial(min, key=len)),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (power(1), power(2)),
        (SorensenDiceLoss().forward, SorensenDiceLoss(from_logits=False).forward),
        (nn.Linear(2, 2), nn.Linear(2, 2)),  # another draw of weights
        (LONG, LONG.index_fill(0, torch.tensor(50_000), 1)),
        (LONG.numpy(), LONG.index_fill(0, torch.tensor(50_000), 1).numpy()),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(3), torch.zeros(3).bfloat16()),
        (1, True),
        ("1", 1),
        (torch.relu, torch.tanh),
        (nn.functional.relu, nn.functional.gelu),
        (Subset(Patches(4), [0, 1]), Subset(Patches(4), [0, 2])),
        (ConcatDataset([Patches(4), Patches(4)]), ConcatDataset([Patches(4), Patches(5)])),
        (TensorDataset(torch.zeros(2, 3)), TensorDataset(torch.ones(2, 3))),
    ],
)
def test_different_objects_have_different_keys(one, other):
    assert key(one) != key(other)


def test_a_frozen_network_is_another_one_and_memory_format_does_not_count():
    net = tiny_unet()
    before = key(net)
    assert key(net.to(memory_format=torch.channels_last)) == before
    next(net.parameters()).requires_grad_(False)
    assert key(net) != before


class Drawn(Dataset):
    """A student's own: items that nothing but looking at them tells."""

    def __init__(self, shift):
        self.read = lambda index: torch.full((3, 8, 8), index + shift + float(torch.rand(())))

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.read(index), torch.zeros(8, 8, dtype=torch.long)


class Placed(Patches):
    @functools.cached_property
    def pictures(self):
        return {"patch_0": Path.cwd()}


def test_a_data_set_counts_by_what_it_holds_now_and_not_by_where_it_found_it():
    data = Placed(2)
    before = key(data)
    assert data.pictures and key(data) == before
    data, seen = Patches(4), torch.get_rng_state()
    assert key(Patches(4)) == key(data) != key(Subset(data, range(4)))
    assert key(Drawn(0)) == key(Drawn(0)) != key(Drawn(1))
    assert torch.get_rng_state().equal(seen)
    data.images[0].numpy()[0, 0, 0] ^= 1
    assert key(data) != key(Patches(4)) and key(Subset(data, range(4))) != key(Subset(Patches(4), range(4)))


def test_circles_are_no_trouble():
    module = nn.Identity()
    module.forward = module.forward  # as accelerate leaves it, which wraps forward
    table = {"module": module}
    table["itself"] = table
    assert key(module) and key(table)


# --- machines ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys
import torch
import cvf20.training.devices as devices
from tiny import Patches, tiny_unet
from cvf20.learner import Learner
from cvf20.losses import BorderWeightedLoss
from cvf20.transforms import train_transforms
torch.__version__, threads, bf16 = os.environ["FAKE"].split()
torch.set_num_threads(int(threads))
devices.has_bf16 = lambda: bf16 == "1"
FACTOR = [1, 2]
class Loss(BorderWeightedLoss):
    pass
def metrics(logits, labels):
    return {"m": FACTOR[0] * float(logits.mean())}
data = Patches(8, num_classes=1, transforms=train_transforms((16, 16)))
run = Learner(lambda: tiny_unet(1), Loss(), data, Patches(4, num_classes=1), metrics=metrics, name=os.getcwd()[-4:])
print(run.key)
"""


@pytest.mark.usefixtures("one_thread")
def test_the_key_is_equal_on_every_machine(tmp_path, monkeypatch, capsys):
    """Another working directory, thread count, precision, torch version, hash seed, place of the script, process."""
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    monkeypatch.setattr(devices, "has_bf16", lambda: True)
    folders = [tmp_path / name for name in ("here", "elsewhere")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "script.py").write_text("# a line\n" * number + SCRIPT)
    monkeypatch.chdir(folders[0])
    monkeypatch.setenv("FAKE", "2.6.0 2 1")
    runpy.run_path("script.py", run_name="__main__")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "PYTHONHASHSEED": "7"}
    command, environment["FAKE"] = [sys.executable, "script.py"], "9.9.9+cu999 1 0"
    done = subprocess.run(command, cwd=folders[1], env=environment, capture_output=True, text=True)
    assert done.stdout == capsys.readouterr().out and len(done.stdout) == 65, done.stderr


def test_a_loss_that_was_used_before_is_the_same_loss():
    """Its progress is the training's, not the loss's."""
    loss = TopologyLoss()
    first = Learner(tiny_unet, loss, Patches(2), Patches(2)).key
    loss.set_progress(0.9)
    assert Learner(tiny_unet, loss, Patches(2), Patches(2)).key == first
