"""Where a data set's files are: on disk, else fetched with pooch, else nowhere (the caller then uses the stand-in).

The environment decides: CVF20_BASE_URL is a mirror that serves <data set>/<file>, CVF20_OFFLINE=1 forbids the
download, CVF20_SYNTHETIC=1 asks for the stand-in even where the files exist.
"""

import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

# Raw files of the public repository and commit from which the checksums in registry/ were made (see data/README.md).
SOURCES = {
    "penn_fudan": "gmguarino/PennFudan/4d34ade817620786f55ef379ac51534d4d6ea218",
    "stanford_background": "jongwonjlee/cs498-ss22/b45f447ed4a8adb610b05fc841293587e97fdce7/mp4/sbd",
    "yeast_colonies": "Romrchp/utae-cell-segmentation/223c6918692457a55097715998bddde92fb46c76/dtsub",
    "yeast_movie": "berkyalcinkaya/yeastvision/79cb3da2f759e03b9015fc939af1736a16f1f36b/data/sample_movie_1",
}
RETRIES = 2  # after a failed attempt at a file; pooch waits 1 s, then 2 s
TIMEOUT = (5, 30)  # seconds to connect, seconds without a byte
WORKERS = 8

_failed: set[tuple[str, Path, str]] = set()  # tried in vain: a process tries and warns once


class DownloadError(OSError):
    """Files of a data set could not be fetched; the message says how many, which one first, and why."""


def flag(variable: str) -> bool:
    """True where the environment variable is set to anything but an empty string, 0, false or no."""
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "false", "no")


def base_url(name: str) -> str:
    mirror = os.environ.get("CVF20_BASE_URL")
    url = f"{mirror.rstrip('/')}/{name}" if mirror else f"https://raw.githubusercontent.com/{SOURCES[name]}"
    return url + "/"


@cache
def registry(name: str) -> dict[str, str]:
    """File below the data set's folder -> sha256 of its bytes."""
    lines = (Path(__file__).parent / "registry" / f"{name}.txt").read_text().splitlines()
    return dict(line.rsplit(maxsplit=1) for line in lines)


def missing_files(name: str, folder: Path) -> list[str]:
    """Registered files that are not in `folder`, by name alone: hashing every file at every start would cost seconds."""
    present = set()
    for base, _, files in os.walk(folder):
        below = Path(base).relative_to(folder)
        present |= {(below / file).as_posix() if below.parts else file for file in files}
    return [file for file in registry(name) if file not in present]


def locate(name: str, root: Path) -> Path | None:
    """The folder root/name with every registered file in it, fetched first where that is needed.

    None: use the stand-in, because it was asked for, or because nothing is there and nothing could be fetched (a
    warning says what was tried). FileNotFoundError: a part of the data set is there and the rest could not be fetched;
    a stand-in would then hide real data, so it is not used.
    """
    if flag("CVF20_SYNTHETIC"):
        return None
    folder = Path(root) / name
    missing = missing_files(name, folder)
    if not missing:
        return folder
    attempt = (name, folder.resolve(), base_url(name))
    nothing_there = len(missing) == len(registry(name))
    if nothing_there and attempt in _failed:
        return None
    try:
        if flag("CVF20_OFFLINE"):
            raise DownloadError("no download was attempted, because CVF20_OFFLINE is set")
        fetch(name, folder)
        return folder
    except OSError as error:  # DownloadError, or a folder that cannot be written
        if not nothing_there:
            raise FileNotFoundError(
                f"{name}: {len(missing)} of {len(registry(name))} files are missing in {folder}, first {missing[0]}; {error}"
            ) from error
        _failed.add(attempt)
        warnings.warn(
            f"{name}: no data in {folder}; {error}. Using the SYNTHETIC stand-in until this process ends.", stacklevel=4
        )
        return None


def fetch(name: str, folder: Path) -> None:
    """Fetch the files that `folder` lacks, check them, then move them in; what is there already is never touched.

    Files collect in a hidden folder beside the target and are moved only when all are complete, so a download that was
    stopped anywhere goes on with what is still missing. Raises DownloadError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{name}.partial")
    with FileLock(folder.with_name(f".{name}.lock")):  # notebooks that run side by side must not fetch twice
        files = missing_files(name, folder)
        failures = _download(name, staging, files)
        if failures:
            first = min(failures, key=files.index)
            done = sum((staging / file).is_file() for file in files)
            raise DownloadError(
                f"{base_url(name)}: {len(files) - done} of {len(files)} files were not fetched "
                f"({done} wait in {staging}), first {first}: {failures[first]}"
            )
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (staging / file).replace(folder / file)
        shutil.rmtree(staging, ignore_errors=True)


def _download(name: str, staging: Path, files: list[str]) -> dict[str, Exception]:
    """Bring `files` into `staging`, each through a temporary file and its checksum; gives the errors by file."""
    pooch.get_logger().setLevel("WARNING")  # one progress bar instead of a line per file
    client = pooch.create(path=staging, base_url=base_url(name), registry=registry(name), retry_if_failed=RETRIES)
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT)
    for file in files:  # pooch makes folders too, but two threads of it at once get in each other's way
        (staging / file).parent.mkdir(parents=True, exist_ok=True)
    failures: dict[str, Exception] = {}
    pool = ThreadPoolExecutor(WORKERS)
    try:
        futures = {pool.submit(client.fetch, file, downloader=downloader): file for file in files}
        for future in tqdm(as_completed(futures), total=len(files), desc=f"Downloading {name}", unit="file"):
            if error := future.exception():
                failures[futures[future]] = error
            if isinstance(error, requests.ConnectionError | requests.Timeout):
                break  # no server: the other files would only wait for the same answer
    finally:
        pool.shutdown(cancel_futures=True)
    return failures
