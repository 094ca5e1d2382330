"""Run the notebooks, check what they made, publish it: the program behind ./run_all.sh.

Everything is made in build/ first (quick runs: build/quick, synthetic ones: build/synthetic). A notebook that ran to
its end in full, on real data, and passed the check is published at once: copied, file by file, to notebooks/, figures/
and results/. After a whole run the hand-in is built from what is published: dist/.
"""

import argparse
import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from cvf20.paths import project_dir
from cvf20.submission.build import build
from cvf20.submission.check import output_findings, source_findings
from cvf20.submission.execute import NotebookError, execute, kernel
from cvf20.submission.notebook import find_notebooks, number, read
from cvf20.submission.publish import files_of, prepare, publish, reason_against, remove
from cvf20.submission.weights import hand_on

DONE, HELD, FAILED = "done", "not published", "failed"
_publishing = threading.Lock()


@dataclass
class Plan:
    """What a run is asked for: which notebooks (number → file) of which project, where they are built, and with what."""

    project: Path
    build: Path
    runs: Path
    books: dict[str, Path]
    environment: dict[str, str]
    options: argparse.Namespace
    published: list[str] = field(default_factory=list)

    @property
    def draft(self) -> bool:
        return self.options.quick or self.options.synthetic


def main(arguments: list[str] | None = None, project: Path | None = None) -> int:
    """Exit code 0: all that was asked for is done; 1: it is not, and the last line says why.

    project: folder with notebooks/; None: the one this package belongs to
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a notebook may print what this terminal cannot
    options, plan = parser().parse_args(arguments), None
    try:
        plan = make_plan(options, (project or project_dir()).resolve())
        with lock(plan.build), contextlib.chdir(plan.project):
            return run(plan)
    except (ValueError, OSError) as error:
        say(f"run_all: {error}")
    except KeyboardInterrupt:
        with _publishing:  # what is being published is published whole
            say(f"run_all: stopped; published so far: {', '.join(plan.published if plan else []) or 'nothing'}")
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


def make_plan(options: argparse.Namespace, project: Path) -> Plan:
    """Raises ValueError for a number without notebook, a missing data folder, or fewer than one job."""
    if options.jobs < 1:
        raise ValueError(f"--jobs {options.jobs}: wanted at least 1")
    found, left_out = find_notebooks(project / "notebooks")
    for line in left_out:
        say(line)
    asked = [number(name) or name.zfill(2) for name in options.numbers] or list(found)
    if unknown := [name for name in asked if name not in found]:
        raise ValueError(f"no notebook {', '.join(unknown)}: wanted some of {', '.join(found)}")
    if not asked:
        raise ValueError(f"there is no notebook in {project / 'notebooks'}")
    data = Path(options.data or os.environ.get("CVF20_DATA") or project / "data").expanduser().resolve()
    if options.data and not data.is_dir():
        raise ValueError(f"--data {options.data}: wanted a folder that exists")
    build = Path(os.environ.get("CVF20_OUT") or project / "build").expanduser().resolve()
    runs = Path(os.environ.get("CVF20_RUNS") or project / "runs").expanduser().resolve()
    if build == project:
        raise ValueError(f"CVF20_OUT is the project itself, {project}: wanted a folder to build in, such as build/")
    if options.quick or options.synthetic:  # a folder of its own, so that no real run is replaced by a toy
        build = build / ("quick" if options.quick else "synthetic")
        runs = build / "runs"
    environment = {"CVF20_OUT": str(build), "CVF20_RUNS": str(runs), "CVF20_DATA": str(data)}
    environment |= {"CVF20_SYNTHETIC": "1"} if options.synthetic else {}
    environment |= {"CVF20_FRESH": "1"} if options.fresh else {}
    if options.jobs > 1:  # notebooks side by side share the cores instead of fighting for them
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // options.jobs))
    return Plan(project, build, runs, {name: found[name] for name in sorted(asked)}, environment, options)


def run(plan: Plan) -> int:
    """Everything behind the options: what can be seen before, the notebooks, what they hand on, the hand-in."""
    findings = [(name, each) for name, path in plan.books.items() for each in source_findings(path)]
    for _, finding in findings:
        say(str(finding))
    broken = {name for name, finding in findings if finding.level == "error"}
    if broken and not plan.options.keep_going:  # better now than after an hour
        raise ValueError("nothing was run: mend what is called an error, or run the others with --keep-going")
    prepare(plan.build, plan.project, set(plan.books))
    if plan.options.fresh and plan.runs.is_dir():
        of_these = {*plan.books, *([] if plan.options.numbers else [None])}
        remove([path for path in plan.runs.iterdir() if number(path.name) in of_these])
    start = time.time()
    with kernel(plan.build / ".jupyter", plan.environment):
        states = run_in_order(plan, broken)
    if plan.published:  # figures and results of free names belong to no single notebook
        publish(plan.build, plan.project, [p for p in files_of(plan.build, None) if p.stat().st_mtime >= start])
        hand_on(plan.project, plan.runs, say)
    if missing := [f"{plan.books[name].stem} {state}" for name, state in states.items() if state != DONE]:
        say(f"run_all: {len(missing)} of {len(states)} notebooks are not done: {', '.join(missing)}; see {plan.build}")
        return 1
    if plan.draft:
        say(f"run_all: done and checked, in {plan.build}; a quick or synthetic run publishes nothing")
    elif not plan.options.numbers and (plan.project / "submission.toml").is_file():
        try:
            build(plan.project, say=say)
        except (ValueError, OSError, ImportError, RuntimeError) as error:  # RuntimeError: pandoc's
            say(f"run_all: all is published, but the hand-in was not built: {error}")
            return 1
    return 0


def needs(books: dict[str, Path]) -> dict[str, set[str]]:
    """For each number the lower ones it reads from: those named in its code ("03_unet_bn"); a report reads all."""
    result = {}
    for name, path in books.items():
        code = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
        named = set(books) if path.stem.endswith("_report") else set(re.findall(r"[\"'/](\d\d)_", code))
        result[name] = {other for other in named & set(books) if other < name}
    return result


def run_in_order(plan: Plan, broken: set[str]) -> dict[str, str]:
    """What became of each notebook: by number, several at a time, none before those whose results it reads."""
    needed = needs({name: path for name, path in plan.books.items() if name not in broken})
    tasks: dict[str, Future] = {}
    stop = threading.Event()

    def one(name: str) -> str:
        before = {tasks[other].result() for other in needed.get(name, ())}  # begun earlier: none waits for ever
        if stop.is_set() or name in broken or before - {DONE, HELD}:
            return FAILED if name in broken else "not run"
        state = run_one(plan, name, reads_held=HELD in before)
        if state == FAILED and not plan.options.keep_going:
            stop.set()
        return state

    pool = ThreadPoolExecutor(plan.options.jobs)
    try:
        for name in plan.books:
            tasks[name] = pool.submit(one, name)
        return {name: task.result() for name, task in tasks.items()}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # an interrupted run must not wait for its notebooks


def run_one(plan: Plan, name: str, reads_held: bool) -> str:
    """Run, check and publish one notebook; lines with its seconds, with what failed, and with what was published."""
    source, target = plan.books[name], plan.build / "notebooks" / plan.books[name].name
    folders = {plan.build: "", plan.project: "", Path(plan.environment["CVF20_DATA"]): "data", plan.runs: "runs"}
    start = time.perf_counter()
    parameters = {"quick": True} if plan.options.quick else {}
    say(f"{name} | {source.stem} begins")
    try:
        execute(source, target, folders=folders, parameters=parameters, report=lambda line: say(f"{name} | {line}"))
        say(f"{name} | {source.stem} took {time.perf_counter() - start:.0f} s")
        findings = output_findings(target, plan.build / "figures", plan.build / "results", draft=True)
        for finding in findings:
            say(f"{name} | {finding}")
        if any(finding.level == "error" for finding in findings):
            return FAILED
        return DONE if plan.draft else _publish(plan, name, reads_held)
    except NotebookError as error:
        say(f"{name} | FAILED after {time.perf_counter() - start:.0f} s: {error}; as far as it came: {target}")
    except OSError as error:
        say(f"{name} | FAILED, {'published in part' if name in plan.published else 'not published'}: {error}")
    return FAILED


def _publish(plan: Plan, name: str, reads_held: bool) -> str:
    """Copy what this notebook has made to where it is published, unless something speaks against it, which is said."""
    made = files_of(plan.build, name)
    why = reason_against(made[-1], plan.books[name], made) or "it reads what was not published" * reads_held
    if why:
        say(f"{name} | not published, {why}; what it made is in {plan.build}")
        return HELD
    with _publishing:
        plan.published.append(name)
        places = publish(plan.build, plan.project, made)
    say(f"{name} | published {len(places)} files")
    there = [path.relative_to(plan.project).as_posix() for path in files_of(plan.project, name)]
    if other := [place for place in there if place not in places and not place.startswith("notebooks/")]:
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        say(f"{name} | left as they are, though no run made them: {', '.join(other[:5])}{more}")
    return DONE


@contextlib.contextmanager
def lock(build: Path) -> Iterator[None]:
    """One run at a time in a build folder; ValueError, with the other process's id, where one is at work.

    The system takes the lock back from a process that is gone, however it went.
    """
    build.mkdir(parents=True, exist_ok=True)
    held, holder = FileLock(build / ".lock"), build / ".lock.pid"
    try:
        with held.acquire(timeout=0):
            holder.write_text(str(os.getpid()), encoding="utf-8")
            yield
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.is_file() else "?"
        raise ValueError(f"another run (process {who}) is at work in {build}") from None


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one piece, as threads speak at the same time
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
