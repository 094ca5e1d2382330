"""Every test starts from the same environment; the real images are used where they are, and are never fetched."""

import pytest

from cvf20.datasets import base, download


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for variable in ("CVF20_SYNTHETIC", "CVF20_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(download, "_failed", {})
    download.no_answer.cache_clear()
    base._say_once.cache_clear()


@pytest.fixture
def real(monkeypatch):
    """real(cls, ...) builds the data set from its files, or skips the test where they are not on this machine."""

    def build(cls, **choices):
        monkeypatch.setenv("CVF20_OFFLINE", "1")
        data = cls(**choices)
        if data.synthetic or data.sample:
            pytest.skip(f"real {cls.name} needed")
        return data

    return build


@pytest.fixture
def synthetic(monkeypatch):
    """synthetic(cls, ...) builds the embedded stand-in."""
    monkeypatch.setenv("CVF20_SYNTHETIC", "1")
    return lambda cls, **choices: cls(**choices)
