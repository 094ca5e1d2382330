"""Notebooks run by number, several at a time, and none before those it reads from."""

import threading

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cvf20.submission.schedule import needs, run_in_order

NEEDED = {"01": set(), "02": {"01"}, "03": set(), "04": {"03"}}


def test_needs_are_read_from_the_code(tmp_path):
    code = {
        "01_a": "x = 1",
        "02_b": "load_results('01_net')",
        "03_c": "'results/02_x.json', '07_y', 'v05_z'",
        "09_report": "",
    }
    books = {
        stem[:2]: new_notebook(cells=[new_markdown_cell("see '01_net'"), new_code_cell(text)])
        for stem, text in code.items()
    }
    found = needs(books, [tmp_path / f"{stem}.ipynb" for stem in code])
    assert found == {"01": set(), "02": {"01"}, "03": {"02"}, "09": {"01", "02", "03"}}


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_every_notebook_runs_once_and_after_its_needs(jobs):
    done, lock = [], threading.Lock()

    def run_one(name):
        with lock:
            assert NEEDED[name] <= set(done)
            done.append(name)
        return True

    assert run_in_order(NEEDED, run_one, jobs) == 0
    assert sorted(done) == sorted(NEEDED)
    assert jobs > 1 or done == sorted(NEEDED)


def test_jobs_run_at_the_same_time():
    meet = threading.Barrier(2, timeout=10)

    def run_one(name):
        meet.wait()
        return True

    assert run_in_order({"01": set(), "02": set()}, run_one, jobs=2) == 0


@pytest.mark.parametrize(("keep_going", "begun"), [(False, ["01"]), (True, ["01", "03", "04"])])
def test_failure_stops_all_or_only_what_depends_on_it(keep_going, begun):
    seen = []

    def run_one(name):
        seen.append(name)
        return name != "01"

    failed = run_in_order(NEEDED, run_one, keep_going=keep_going)
    assert seen == begun
    assert failed == len(NEEDED) - len(begun) + 1
