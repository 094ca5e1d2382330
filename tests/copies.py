"""A copy of the project somewhere else, as a clone is, with this interpreter as its environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cvf20.paths import project_dir


class Copy:
    """The package and its scripts in `folder`, without notebooks, data, results and network; call it with a command."""

    def __init__(self, folder: Path):
        self.root, python = folder / "cvf20", folder / "bin"
        for name in ("cvf20", "scripts"):
            shutil.copytree(project_dir() / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("run_all.sh", "pyproject.toml", "README.md", "submission.toml"):
            shutil.copy(project_dir() / name, self.root)
        (self.root / "data").mkdir()
        python.mkdir()
        for name in ("python", "python3"):
            (python / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
            (python / name).chmod(0o755)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("CVF20_")}
        self.environment |= {
            "PATH": f"{python}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "CVF20_OFFLINE": "1",
        }

    def __call__(self, command: str, **environment: str) -> subprocess.CompletedProcess:
        pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return subprocess.run(["bash", "-c", command], cwd=self.root, env=self.environment | environment, **pipe)
