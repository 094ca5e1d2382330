"""In which order notebooks run: by number, several at a time, none before those whose results it reads."""

import re
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from nbformat import NotebookNode

from cvf20.submission.notebook import number


def needs(books: dict[str, NotebookNode], paths: list[Path]) -> dict[str, set[str]]:
    """For each number the lower ones it reads from: those named in its code ("03_unet_bn"); a report reads all."""
    result = {}
    for path in paths:
        name = number(path.name)
        code = "\n".join(cell.source for cell in books[name].cells if cell.cell_type == "code")
        named = set(books) if path.stem.endswith("_report") else set(re.findall(r"[\"'/](\d\d)_", code))
        result[name] = {other for other in named & set(books) if other < name}
    return result


def run_in_order(
    needed: dict[str, set[str]], run_one: Callable[[str], bool], jobs: int = 1, keep_going: bool = False
) -> int:
    """Call run_one(number) for each; returns how many did not finish.

    needed:     number -> numbers that must have finished before; what needs a failed one is not run
    keep_going: go on after a failure; otherwise nothing new is begun
    """
    waiting, finished, failed = sorted(needed), set(), set()
    working: dict[Future, str] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        while waiting or working:
            for name in list(waiting):
                if needed[name] & failed or (failed and not keep_going):
                    failed.add(name)
                    waiting.remove(name)
                elif needed[name] <= finished and len(working) < jobs:
                    waiting.remove(name)
                    working[pool.submit(run_one, name)] = name
            if working:
                for future in wait(working, return_when=FIRST_COMPLETED).done:
                    name = working.pop(future)
                    (finished if future.result() else failed).add(name)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # an interrupted run must not wait for its notebooks
    return len(failed)
