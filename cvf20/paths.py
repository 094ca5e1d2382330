"""Where files are read from and written to; each folder can be moved by one environment variable."""

import os
from pathlib import Path


def project_dir() -> Path:
    """The folder with pyproject.toml that holds this package; the working directory if cvf20 is installed elsewhere."""
    source = Path(__file__).resolve().parent.parent
    return source if (source / "pyproject.toml").is_file() else Path.cwd()


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ[variable]).expanduser() if os.environ.get(variable) else project_dir() / default


def data_dir() -> Path:
    """Data sets: $CVF20_DATA, else data/."""
    return _folder("CVF20_DATA", "data")


def out_dir() -> Path:
    """What a notebook writes (figures/, results/): $CVF20_OUT, else build/."""
    return _folder("CVF20_OUT", "build")


def runs_dir() -> Path:
    """Checkpoints and logs of training runs: $CVF20_RUNS, else runs/."""
    return _folder("CVF20_RUNS", "runs")


def read_dir() -> Path:
    """Where a report reads figures/ and results/: what a run has built, else what is published beside the package."""
    return out_dir() if any(out_dir().glob("results/*.json")) else project_dir()


def flag(variable: str) -> bool:
    """True where the environment variable is set to anything but an empty string, 0, false or no."""
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "false", "no")
