"""Fetch the files of a data set with pooch, each checked against registry/; CVF20_OFFLINE=1 forbids it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from threading import Thread
from urllib.parse import urljoin

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from cvf20.paths import flag

RAW = "https://raw.githubusercontent.com/"  # owner/repository/commit/folder
RETRIES = 2  # after a failed attempt at a file; pooch waits 1 s, then 2 s
TIMEOUT = (3, 10)  # seconds to connect, seconds without a byte
PATIENCE = 4  # seconds in all for a host's first answer

_failed: dict[Path, str] = {}  # folder → why; tried once per process


@cache
def registry(name: str) -> dict[str, str]:
    """File below the data set's folder → sha256 of its bytes, or "pixels:" and that of its pixels as int32."""
    file = Path(__file__).parent / "registry" / f"{name}.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return dict(line.rsplit(maxsplit=1) for line in lines)


@cache
def no_answer(host: str) -> str:
    """Why the host does not answer within PATIENCE, or ""; in a thread, as looking up its name keeps to no timeout."""
    reason = [f"no answer in {PATIENCE} s"]

    def ask() -> None:
        try:
            requests.get(host, timeout=TIMEOUT, stream=True).close()
            reason[0] = ""
        except requests.RequestException as error:
            reason[0] = type(error).__name__

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return reason[0]


def bring_each(source: str, staging: Path, files: dict[str, str]) -> None:
    """Bring files of known sha256 into `staging`, eight at a time; one that is there already and right stays."""
    pooch.get_logger().setLevel("WARNING")  # one progress bar instead of a line per file
    client = pooch.create(path=staging, base_url=f"{source}/", registry=files, retry_if_failed=RETRIES)
    bring = partial(client.fetch, downloader=pooch.HTTPDownloader(timeout=TIMEOUT))
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(bring, file) for file in files]
        for file, brought in zip(files, tqdm(waiting, desc=f"Downloading {source}", unit="file"), strict=True):
            if error := brought.exception():
                pool.shutdown(cancel_futures=True)
                raise OSError(f"{file}: {error}") from error


def fetch(name: str, source: str, folder: Path, bring=bring_each) -> None:
    """Fetch the files that `folder` lacks; what is there already is never touched. Raises OSError."""
    if flag("CVF20_OFFLINE"):
        raise OSError("no download, because CVF20_OFFLINE is set")
    if not source:
        raise OSError("no source is known to download it from")
    try:
        if reason := _failed.get(folder) or no_answer(urljoin(source, "/")):
            raise OSError(reason)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = folder.with_name(f".{name}.partial")  # until all are complete and checked, also across attempts
        with FileLock(folder.with_name(f".{name}.lock")):  # notebooks that run side by side must not fetch twice
            files = {file: known for file, known in registry(name).items() if not (folder / file).exists()}
            for file in files:  # before the threads of bring_each, which would get in each other's way
                (staging / file).parent.mkdir(parents=True, exist_ok=True)
            if files:
                bring(source, staging, files)
            for file in files:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (staging / file).replace(folder / file)
            shutil.rmtree(staging, ignore_errors=True)
    except Exception as error:
        _failed[folder] = str(error)
        raise OSError(f"{source}: {error}") from error
