"""Tables say what the rows hold; the clock books what passed."""

import numpy as np
import pytest

from cvf20.show import Clock, markdown_table, tables, time_table


@pytest.fixture
def shown(monkeypatch):
    displayed = []
    monkeypatch.setattr(tables, "display", lambda item: displayed.append(item.data))
    return displayed


def test_a_table_has_a_line_per_row_and_formats_each_kind_of_value():
    row = {"name": "a|b", "count": 12345, "score": 0.12345, "np": np.float32(0.5), "none": float("nan"), "yes": True}
    assert markdown_table([row, {"count": 3}]).split("\n") == [
        "| name | count | score | np | none | yes |",
        "|---|---|---|---|---|---|",
        "| a\\|b | 12,345 | 0.123 | 0.500 | – | True |",
        "|  | 3 |  |  |  |  |",
    ]


def test_the_clock_adds_up_per_task_and_its_table_has_training_run_and_a_field(shown, monkeypatch):
    monkeypatch.setattr(tables.time, "perf_counter", iter([0.0, 20.0, 50.0, 90.0]).__next__)
    clock = Clock()
    for task in ("C2", "C6", "C2"):
        clock.stop(task)
    assert clock.seconds == {"C2": 60.0, "C6": 30.0}
    time_table(clock, {"C6": [{"seconds": 60}, {"seconds": 120.0}], "C5": 600})
    head, _, *rows = shown[0].splitlines()
    assert "hours of the group (fill in)" in head
    assert rows == [
        "| C2 | 0.0 min | 1.0 min | ____ |",
        "| C6 | 3.0 min | 0.5 min | ____ |",
        "| C5 | 10.0 min | 0.0 min | ____ |",
        "| all | 13.0 min | 1.5 min |  |",
    ]
