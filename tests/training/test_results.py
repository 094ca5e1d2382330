"""Result files: complete or absent, plain JSON, found again."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from cvf20.training import results

RESULT = {"name": "03_unet_bn", "seed": 0, "notebook": "03_unet", "data": "stanford_background", "synthetic": False}
RESULT |= {"quick": False, "metrics": {"val": {"mAP": 0.7}}, "recipe": {"lr": 0.001}, "seconds": 1.5}


@pytest.fixture(autouse=True)
def out(tmp_path, monkeypatch):
    monkeypatch.setenv("CVF20_OUT", str(tmp_path))
    return tmp_path / "results"


def test_results_are_read_as_written_found_by_pattern_and_sorted_by_name_and_seed(out):
    assert results.write_result(RESULT) == out / "03_unet_bn-seed0.json" and results.load_results() == [RESULT]
    for name, seed in [("03_unet_bn", 10), ("03_unet_bn", 2), ("02_baseconv", 1), ("03_a", 0)]:
        results.write_result({**RESULT, "name": name, "seed": seed})
    found = [(r["name"], r["seed"]) for r in results.load_results("03_*")]
    assert found == [("03_a", 0), ("03_unet_bn", 0), ("03_unet_bn", 2), ("03_unet_bn", 10)]
    assert results.load_results("09_*") == []


def test_a_write_that_breaks_off_leaves_the_previous_file_and_nothing_that_grows(out, monkeypatch):
    """As if the disk were full or the process killed, twice."""
    file = results.write_result(RESULT)
    before = file.read_text()

    def half(path, text, encoding):
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            results.write_result({**RESULT, "seconds": 99.0})
    assert file.read_text() == before and len(list(out.iterdir())) == 2
    assert results.load_results(folder=out) == [RESULT]  # what is left of the attempt is not taken for a result


def test_curves_are_read_as_written(tmp_path):
    rows = [{"epoch": 1, "loss": 1 / 3, "mIoU": 0.25}, {"epoch": 2, "loss": 1e-9, "mIoU": float("nan")}]
    results.write_curves(rows, tmp_path / "curves.csv")
    assert repr(results.read_rows(tmp_path / "curves.csv")) == repr(rows)
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 3


def test_names_are_free_and_tell_their_notebook():
    assert results.notebook_of("03_unet_bn") == "03_unet"
    assert {results.notebook_of(name) for name in ("unet", "99_x", "03unet", "")} == {""}
    assert [results.file_name(name) for name in ("run", "10 größer", "a.b")] == ["run", "10 größer", "a.b"]
    for name in ("", "  ", "a/b", ".", "..", "a\\b", "a\nb", None, 3):
        with pytest.raises(ValueError, match="a file name without a slash is wanted"):
            results.file_name(name)


def test_mean_and_sample_standard_deviation():
    values = [0.70, 0.72, 0.77]
    assert results.mean_std(values) == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} (3)"
    assert results.mean_std([73, 70.2], digits=1) == "71.6 ± 2.0 (2)"
    assert results.mean_std(v for v in [0.5]) == "0.500"


def test_commit_says_when_the_code_differs_from_it(tmp_path, monkeypatch):
    def git(*arguments):
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *author, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    monkeypatch.setattr(results, "project_dir", lambda: tmp_path)
    code = tmp_path / "cvf20" / "code.py"
    code.parent.mkdir()
    code.touch()
    assert results.commit() == ""  # no repository
    git("init", "-q")
    assert results.commit() == ""  # no commit
    git("add", "."), git("commit", "-q", "--no-verify", "-m", "first")
    head = git("rev-parse", "--short=12", "HEAD")
    (tmp_path / "README.md").touch()  # outside the code: no difference to it
    assert results.commit() == head
    code.write_text("x = 1\n")
    assert results.commit() == f"{head}-dirty"
    (tmp_path / "copy").mkdir()  # hand-in 14: an unpacked zip inside somebody's repository
    monkeypatch.setattr(results, "project_dir", lambda: tmp_path / "copy")
    assert results.commit() == ""


def test_holm_corrects_stepwise_and_keeps_the_order():
    adjusted = results.holm({"a": 0.04, "b": 0.001, "c": 0.03, "d": 0.9})
    assert adjusted == pytest.approx({"b": 0.004, "c": 0.09, "a": 0.09, "d": 0.9})
    assert results.holm({"a": 0.7, "b": 0.6}) == {"a": 1.0, "b": 1.0} and results.holm({}) == {}
