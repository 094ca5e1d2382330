"""The set-up cell: it finds the package for a notebook, in Jupyter, VS Code and Colab, or says what to type."""

import json
from collections.abc import Iterable
from pathlib import Path

import nbformat

from cvf20.submission.notebook import read, tags
from cvf20.training.results import write_text

_CELL = """
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata, util
from pathlib import Path

repository = REPOSITORY  # git address, from submission.toml

if util.find_spec("cvf20") is None:  # else there is nothing to do
    here, drive = Path.cwd(), Path("/content/drive/MyDrive")
    for archive in here.glob("*.zip"):  # the hand-in beside this notebook
        if any(name.endswith("cvf20/__init__.py") for name in zipfile.ZipFile(archive).namelist()):
            shutil.unpack_archive(archive, here)
    near = [here, *here.parents, *here.glob("*"), *drive.glob("*"), *drive.glob("*/*")]
    home = next((folder for folder in near if (folder / "cvf20/__init__.py").is_file()), None)
    if home is None and repository:
        home = here / "cvf20-repository"
        subprocess.run(["git", "clone", "--quiet", "--depth=1", repository, str(home)], check=True)
    if home is None:
        raise ModuleNotFoundError("cvf20 is not here: put the hand-in's zip beside this notebook, run this cell again")
    if "google.colab" in sys.modules:  # add what is missing; torch and numpy stay as they are
        kept = [f"{name}=={metadata.version(name)}" for name in ("torch", "numpy")]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *kept, "--editable", str(home)], check=True)
    elif missing := [name for name in ("torch", "torchvision", "skimage", "optuna") if not util.find_spec(name)]:
        raise ModuleNotFoundError(
            f"this kernel lacks {', '.join(missing)}: choose the kernel of {home / '.venv'}, which ./run_all.sh makes, "
            f"or type  {sys.executable} -m pip install --editable {home}"
        )
    sys.path.insert(0, str(home))
"""


def set_up(repository: str = "") -> str:
    """The cell's source; repository: what is cloned where no copy of the package is near."""
    return _CELL.strip().replace("REPOSITORY", json.dumps(repository))


def write_address(notebooks: Iterable[Path], repository: str) -> list[str]:
    """Put the address into the set-up cell of each notebook, and change nothing else; the names of those changed."""
    changed = []
    for path in notebooks:
        nb = read(path)
        old = [cell for cell in nb.cells if "set-up" in tags(cell) and cell.source != set_up(repository)]
        for cell in old:
            cell.source = set_up(repository)
        if old:
            write_text(path, nbformat.writes(nb) + "\n")
            changed.append(path.name)
    return changed
