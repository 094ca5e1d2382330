"""Scripts in a process of their own, or in two that a launcher starts."""

import os
import subprocess
import sys
from pathlib import Path

ONE = [sys.executable, "-W", "ignore"]  # what a library warns of stands in between
TWO = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2"]
HERE = Path(__file__).parent


def start(folder: Path, command: list[str], script: str, *words: str, **environment: str) -> subprocess.Popen:
    environment |= {"CVF20_OUT": str(folder / "out"), "CVF20_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    (folder / "script.py").write_text(script)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": folder}
    return subprocess.Popen([*command, "script.py", *words], env=os.environ | environment, **options)


def told(process: subprocess.Popen) -> str:
    return process.communicate(timeout=300)[0]
