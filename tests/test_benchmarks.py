"""The benchmarks compute what they say, and README shows what they found; no other library is needed here."""

import json

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import common, report, scaling, time_to_score
from benchmarks.metrics import cells, scenes
from benchmarks.steps import batch, operations
from cvf20.paths import project_dir


def test_calls_take_turns():
    order = []
    times = common.interleave({name: lambda name=name: order.append(name) for name in "ab"}, budget=0, least=3)
    assert order == list("ab") * 4 and [len(found) for found in times.values()] == [3, 3]


def test_theirs_that_takes_longer_gives_more_than_one(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(common.time, "perf_counter", lambda: clock[0])

    def takes(duration):
        return lambda: clock.__setitem__(0, clock[0] + duration)

    found = common.compare("x", "y", takes(2.0), takes(10.0), budget=40)
    assert (found.ratio, found.ours, found.theirs, found.rounds, found.reached) == (5.0, 2.0, 10.0, 5, None)


def test_pairs_make_a_ratio_and_a_bound_judges_it():
    found = common.quotient("x", "y", above=[2.0, 40.0, 3.0], below=[1.0, 10.0, 1.0], bound=">= 3")
    assert found.ratio == 3.0 and found.rounds == 3 and found.reached
    assert not common.Row("x", "y", 2.9, ">= 3").reached and not common.Row("x", "y", 1.1, "<= 1").reached


def test_peak_sees_what_a_call_takes_and_frees():
    if common.memory("VmRSS") is None:
        pytest.skip("no /proc here")
    assert common.peak(lambda: torch.ones(25_000_000)) == pytest.approx(100, abs=15)


def test_exponent_is_that_of_the_largest_sizes():
    points = [{"n": n, "seconds": 1e-3 + 1e-6 * n**2, "MB": 0.0} for n in (1, 10, 1000, 10_000, 100_000)]
    assert scaling.exponent(points, "seconds") == pytest.approx(2, abs=0.01)
    assert scaling.exponent(points, "MB") is None


def test_every_operation_of_the_scaling_runs_at_its_smallest_size():
    for sizes, makers in scaling.OPERATIONS.values():
        assert all(make(min(sizes)) is not None for name, make in makers.items() if "1024²" not in name)


def test_examples_are_what_the_table_says():
    scores, labels = scenes(1, (32, 40), 5)
    assert scores.shape == (1, 5, 32, 40) and (scores.argmax(1) == labels).double().mean() > 0.6
    prediction, target = cells(100, 256)
    assert 80 <= len(target.unique()) - 1 <= 100 and not prediction.equal(target)


def test_operations_of_a_convolution():
    layer = torch.nn.Conv2d(3, 9, 1)  # 2 · 3 · 9 per pixel forward, as many for the weights; none for the image
    assert operations(layer, batch(2, (4, 4))) == 2 * 2 * 3 * 9 * 2 * 16


def test_time_to_a_score_ends_where_it_is_reached():
    data = TensorDataset(torch.randn(2, 1, 8, 8), torch.ones(2, 8, 8).long())
    layer = torch.nn.Conv2d(1, 1, 1)
    recipe, loss = time_to_score.Recipe(epochs=3, batch_size=1), time_to_score.binary_cross_entropy
    theirs = time_to_score.exercise(layer, loss, data, 1, 0.1, 3)
    for epochs in (theirs, time_to_score.ours(layer, loss, data, recipe)):
        found = time_to_score.seconds_to(0.0, "IoU", epochs, data, limit=60)
        assert found["reached"] and len(found["curve"]) == 1
    never = time_to_score.seconds_to(1.1, "IoU", (layer for _ in range(2)), data, limit=60)
    assert not never["reached"] and never["seconds"] == 60 and len(DataLoader(data)) == len(never["curve"]) == 2


def test_groups_measured_later_take_their_place_and_others_stay(tmp_path):
    row = common.Row("this", "that", 2.0, ">= 3", 0.002, 0.004, spread=(1.9, 2.1))
    for name in ("a", "b", "a"):
        report.write("benchmarks", {name: report.group([row])}, 1.0, tmp_path)
    (tmp_path / "README.md").write_text(f"before\n{report.START}\nold\n{report.END}\nafter\n", encoding="utf-8")
    report.write_readme(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("| this | that | ≥ 3 | 2.00 (1.90–2.10) ✗ | 2 ms | 4 ms |") == 2
    content = json.loads((tmp_path / "results/benchmarks.json").read_text(encoding="utf-8"))
    assert content["machine"]["precision"] in ("bf16", "fp32") and len(content["groups"]["a"]["load_average"]) == 3


def test_readme_shows_the_recorded_numbers():
    readme = (project_dir() / "README.md").read_text(encoding="utf-8")
    assert report.in_readme(readme, report.contents()) == readme, "python -m benchmarks writes README's table"
