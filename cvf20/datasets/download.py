"""Fetch the files of a data set with pooch, each checked against registry/.

CVF20_BASE_URL is a mirror that serves <data set>/<file>, CVF20_OFFLINE=1 forbids the download.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from threading import Thread
from urllib.parse import urljoin

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from cvf20.datasets.pictures import read_image
from cvf20.paths import flag

RETRIES = 2  # after a failed attempt at a file; pooch waits 1 s, then 2 s
TIMEOUT = (3, 10)  # seconds to connect, seconds without a byte
PATIENCE = 4  # seconds in all for a host's first answer

_failed: dict[tuple, str] = {}  # folder and source → why; tried once per process


@cache
def registry(name: str) -> dict[str, str]:
    """File below the data set's folder → sha256 of its bytes, or "pixels:" and that of its pixels as int32."""
    file = Path(__file__).parent / "registry" / f"{name}.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return dict(line.rsplit(maxsplit=1) for line in lines)


def base_url(name: str, source: str) -> str:
    """Where the files lie: on the mirror, else raw in the public repository; OSError where no download is possible."""
    if flag("CVF20_OFFLINE"):
        raise OSError("no download, because CVF20_OFFLINE is set")
    if mirror := os.environ.get("CVF20_BASE_URL"):
        return f"{mirror.rstrip('/')}/{name}/"
    if not source:
        raise OSError("no source is known to download it from")
    return f"https://raw.githubusercontent.com/{source}/"


@cache
def no_answer(host: str) -> str:
    """Why the host does not answer within PATIENCE, or "".

    Asked in a thread, because neither the look-up of a name nor several addresses of a host keep to a timeout.
    """
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


def fetch(name: str, source: str, folder: Path, bring=None) -> None:
    """Fetch the files that `folder` lacks, and check them; what is there already is never touched. Raises OSError.

    Files collect in a hidden folder beside the target and are moved in when all are complete, so a download that was
    stopped goes on with what is missing. bring(url, staging, files) may take the place of `bring_each`.
    """
    url = base_url(name, source)
    try:
        if reason := _failed.get((folder, url)) or no_answer(urljoin(url, "/")):
            raise OSError(reason)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = folder.with_name(f".{name}.partial")
        with FileLock(folder.with_name(f".{name}.lock")):  # notebooks that run side by side must not fetch twice
            known = {file: value for file, value in registry(name).items() if not (folder / file).exists()}
            for file in known:  # before the threads of bring_each, which would get in each other's way
                (staging / file).parent.mkdir(parents=True, exist_ok=True)
            if known:
                (bring or bring_each)(url, staging, known)
            for file, value in known.items():
                check(staging / file, value)
            for file in known:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (staging / file).replace(folder / file)
            shutil.rmtree(staging, ignore_errors=True)
    except Exception as error:
        _failed[folder, url] = str(error)
        raise OSError(f"{url}: {error}") from error


def bring_each(url: str, staging: Path, known: dict[str, str]) -> None:
    """Bring the files into `staging`, eight at a time, each through a temporary file and its checksum."""
    pooch.get_logger().setLevel("WARNING")  # one progress bar instead of a line per file
    of_bytes = {file: None if value.startswith("pixels:") else value for file, value in known.items()}
    client = pooch.create(path=staging, base_url=url, registry=of_bytes, retry_if_failed=RETRIES)
    bring = partial(client.fetch, downloader=pooch.HTTPDownloader(timeout=TIMEOUT))
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(bring, file) for file in known]
        for file, brought in zip(known, tqdm(waiting, desc=f"Downloading {url}", unit="file"), strict=True):
            if error := brought.exception():
                pool.shutdown(cancel_futures=True)
                raise OSError(f"{file}: {error}") from error


def check(file: Path, known: str) -> None:
    """ValueError, and the file is removed, where its bytes or pixels are not those of the registry."""
    content = read_image(file, "labels").astype("<i4") if known.startswith("pixels:") else file.read_bytes()
    if sha256(content).hexdigest() != known.removeprefix("pixels:"):
        file.unlink()
        raise ValueError(f"{file} has not the sha256 {known}")
