"""Every test starts from the same environment; the real images are used where they are, and are never fetched."""

import pytest

from cvf20.datasets import download
from cvf20.paths import data_dir


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for variable in ("CVF20_SYNTHETIC", "CVF20_OFFLINE", "CVF20_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(download, "_failed", set())


@pytest.fixture
def real():
    """real(cls, ...) builds the data set from its files, or skips the test where they are not on this machine."""

    def build(cls, **choices):
        folder = data_dir() / cls.name
        if missing := download.missing_files(cls.name, folder):
            pytest.skip(f"real {cls.name} needed: {len(missing)} files are not in {folder}")
        return cls(**choices)

    return build


@pytest.fixture
def synthetic(monkeypatch):
    """synthetic(cls, ...) builds the embedded stand-in."""
    monkeypatch.setenv("CVF20_SYNTHETIC", "1")
    return lambda cls, **choices: cls(**choices)
