"""Run the notebooks, check what they made, publish it: the program behind ./run_all.sh.

All is made in build/ first. A notebook that ran to its end in full, on real data, and passed the check is published at
once: copied to notebooks/, figures/ and results/. A whole run ends with the hand-in that is built from these: dist/.
"""

import argparse
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout

from cvf20.paths import project_dir
from cvf20.submission.build import build
from cvf20.submission.check import check_outputs, check_source, is_error
from cvf20.submission.execute import NotebookError, execute, kernel
from cvf20.submission.notebook import find_notebooks, needs, number
from cvf20.submission.publish import copy_files, files_of, prepare, reason_against, remove
from cvf20.submission.weights import hand_on

DONE, HELD, FAILED = "done", "not published", "failed"


def main(arguments: list[str] | None = None, project: Path | None = None) -> int:
    """Exit code 0: all that was asked for is done; 1: it is not, and the last line says why.

    project: folder with notebooks/; None: the one this package belongs to
    """
    sys.stdout.reconfigure(errors="replace")  # a notebook may print what this terminal cannot
    options, work = parser().parse_args(arguments), None
    try:
        work = Run(options, (project or project_dir()).resolve())
        with lock(work.build), contextlib.chdir(work.project):
            return work.everything()
    except (ValueError, OSError) as error:
        say(f"run_all: {error}")
    except KeyboardInterrupt:
        with work.publishing if work else contextlib.nullcontext():  # what is being published is published whole
            say(f"run_all: stopped; published so far: {', '.join(work.published if work else []) or 'nothing'}")
            os._exit(130)  # a thread may wait for its notebook for an hour; the kernels end when this process is gone
    return 1


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="run_all.sh", description="Regenerate the notebooks and publish them.")
    result.add_argument("numbers", nargs="*", metavar="NN", help="these notebooks only: 03 06")
    result.add_argument("--quick", action="store_true", help="the same in minutes, into build/quick; publishes nothing")
    result.add_argument("--data", metavar="DIR", help="where the data sets are; default: $CVF20_DATA, else data/")
    result.add_argument("--synthetic", action="store_true", help="use the embedded stand-ins; publishes nothing")
    result.add_argument("--fresh", action="store_true", help="train again, whatever runs/ and results/ hold")
    result.add_argument("--jobs", type=int, default=1, metavar="N", help="this many notebooks at a time")
    result.add_argument("--keep-going", action="store_true", help="go on with the others when a notebook fails")
    return result


class Run:
    """What is asked for: which notebooks (number → file) of which project, where they are built, and with what.

    Raises ValueError for a number without notebook, a missing data folder, or fewer than one job.
    """

    def __init__(self, options: argparse.Namespace, project: Path):
        self.options, self.project, self.published, self.publishing = options, project, [], threading.Lock()
        found, left_out = find_notebooks(project / "notebooks")
        for line in left_out:
            say(line)
        asked = sorted({number(name) or name.zfill(2) for name in options.numbers or found})
        if not found or not set(asked) <= set(found):
            raise ValueError(f"no notebook {', '.join(set(asked) - set(found))}: wanted some of {', '.join(found)}")
        self.books = {name: found[name] for name in asked}
        if options.jobs < 1 or options.data and not Path(options.data).expanduser().is_dir():
            raise ValueError(
                f"--jobs {options.jobs}, --data {options.data}: wanted 1 or more, and a folder that exists"
            )
        folders = {"data": options.data or os.environ.get("CVF20_DATA")}
        folders |= {"build": os.environ.get("CVF20_OUT"), "runs": os.environ.get("CVF20_RUNS")}
        folders = {name: Path(where or project / name).expanduser().resolve() for name, where in folders.items()}
        self.data, self.build, self.runs = folders.values()
        if self.build == project:
            raise ValueError(f"CVF20_OUT is the project itself, {project}: wanted a folder to build in, such as build/")
        self.draft = "quick" if options.quick else "synthetic" if options.synthetic else ""
        if self.draft:  # a folder of its own, so that no real run is replaced by a toy
            self.build = self.build / self.draft
            self.runs = self.build / "runs"

    def environment(self) -> dict[str, str]:
        told = {"CVF20_OUT": str(self.build), "CVF20_RUNS": str(self.runs), "CVF20_DATA": str(self.data)}
        told |= {"CVF20_SYNTHETIC": "1"} if self.options.synthetic else {}
        told |= {"CVF20_FRESH": "1"} if self.options.fresh else {}
        threads = max(1, (os.cpu_count() or 1) // self.options.jobs)  # side by side they share the cores
        return told | ({"OMP_NUM_THREADS": str(threads)} if self.options.jobs > 1 else {})

    def everything(self) -> int:
        """What can be seen before, the notebooks, what they hand on, the hand-in; the exit code."""
        findings = {name: check_source(path) for name, path in self.books.items()}
        for finding in sorted(sum(findings.values(), [])):
            say(finding)
        broken = {name for name, found in findings.items() if any(map(is_error, found))}
        if broken and not self.options.keep_going:  # better now than after an hour
            raise ValueError("nothing was run: mend what is called an error, or run the others with --keep-going")
        prepare(self.build, self.project, set(self.books))
        if self.options.fresh and self.runs.is_dir():
            of_these = {*self.books, *([] if self.options.numbers else [None])}
            remove([path for path in self.runs.iterdir() if number(path.name) in of_these])
        start = time.time()
        with kernel(self.build / ".jupyter", self.environment()):
            states = self.notebooks(broken)
        if self.published:  # figures and results of free names belong to no single notebook
            free = [path for path in files_of(self.build, None) if path.stat().st_mtime >= start]
            copy_files(free, self.build, self.project)
            hand_on(self.project, self.runs, say)
        if undone := [f"{self.books[name].stem} {state}" for name, state in states.items() if state != DONE]:
            say(
                f"run_all: {len(undone)} of {len(states)} notebooks are not done: {', '.join(undone)}; see {self.build}"
            )
            return 1
        if self.draft:
            say(f"run_all: done and checked, in {self.build}; a {self.draft} run publishes nothing")
        elif not self.options.numbers and (self.project / "submission.toml").is_file():
            try:
                build(self.project, say=say)
            except (ValueError, OSError, ImportError, RuntimeError) as error:  # RuntimeError: pandoc's
                say(f"run_all: all is published, but the hand-in was not built: {error}")
                return 1
        return 0

    def notebooks(self, broken: set[str]) -> dict[str, str]:
        """What became of each notebook: by number, several at a time, none before those whose results it reads."""
        needed = needs({name: path for name, path in self.books.items() if name not in broken})
        tasks: dict[str, Future] = {}
        stop = threading.Event()

        def one(name: str) -> str:
            before = {tasks[other].result() for other in needed.get(name, ())}  # begun earlier: none waits for ever
            if stop.is_set() or name in broken or before - {DONE, HELD}:
                return FAILED if name in broken else "not run"
            state = self.notebook(name, reads_held=HELD in before)
            if state == FAILED and not self.options.keep_going:
                stop.set()
            return state

        pool = ThreadPoolExecutor(self.options.jobs)
        try:
            for name in self.books:
                tasks[name] = pool.submit(one, name)
            return {name: task.result() for name, task in tasks.items()}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupted run must not wait for its notebooks

    def notebook(self, name: str, reads_held: bool) -> str:
        """Run, check and publish one; lines with its seconds, with what failed, and with what was published."""
        source, target = self.books[name], self.build / "notebooks" / self.books[name].name
        folders = {self.build: "", self.project: "", self.data: "data", self.runs: "runs"}
        parameters, start = {"quick": True} if self.options.quick else {}, time.perf_counter()
        say(f"{name} | {source.stem} begins")
        try:
            execute(source, target, folders=folders, parameters=parameters, report=lambda line: say(f"{name} | {line}"))
            say(f"{name} | {source.stem} took {time.perf_counter() - start:.0f} s")
            findings = check_outputs(target, self.build, draft=True)
            for finding in findings:
                say(f"{name} | {finding}")
            if not any(map(is_error, findings)):
                return DONE if self.draft else self.publish(name, reads_held)
        except (NotebookError, OSError) as error:  # OSError: it could not be published, or not all of it
            say(f"{name} | FAILED after {time.perf_counter() - start:.0f} s: {error}; as far as it came: {target}")
        return FAILED

    def publish(self, name: str, reads_held: bool) -> str:
        """Copy what a notebook has made to where it is published, unless something speaks against it, which is said."""
        made = files_of(self.build, name)
        if why := reason_against(made, self.books[name]) or "it reads what was not published" * reads_held:
            say(f"{name} | not published, {why}; what it made is in {self.build}")
            return HELD
        with self.publishing:
            self.published.append(name)
            places = copy_files(made, self.build, self.project)
        say(f"{name} | published {len(places)} files")
        there = {path.relative_to(self.project).as_posix() for path in files_of(self.project, name)}
        if other := sorted(place for place in there - set(places) if not place.startswith("notebooks/")):
            say(f"{name} | left, though no run made them: {', '.join(other[:5])}{' …' * (len(other) > 5)}")
        return DONE


@contextlib.contextmanager
def lock(build: Path) -> Iterator[None]:
    """One run at a time in a build folder; ValueError, with the other process's id, where one is at work."""
    build.mkdir(parents=True, exist_ok=True)
    holder = build / ".lock.pid"
    try:
        with FileLock(build / ".lock", timeout=0):  # which the system takes back from a process that is gone
            holder.write_text(str(os.getpid()), encoding="utf-8")
            yield
    except Timeout:
        raise ValueError(f"another run (process {holder.read_text(encoding='utf-8')}) is at work in {build}") from None


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one piece, as threads speak at the same time
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
