"""Run the notebooks, check what they made, publish it: the program behind ./run_all.sh.

Everything is made in build/ first (quick runs: build/quick, synthetic ones: build/synthetic). Only a full run on real
data, in which every notebook ran to its end and passed the check, replaces what is in notebooks/, figures/ and
results/, in one step. Where there is a submission.toml, the hand-in is then built from it: dist/.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cvf20.paths import project_dir
from cvf20.submission.build import build
from cvf20.submission.check import check
from cvf20.submission.execute import NotebookError, execute, kernel
from cvf20.submission.faults import source_faults
from cvf20.submission.notebook import number, read, sources
from cvf20.submission.publish import FOLDERS, numbered, publish, recover
from cvf20.submission.schedule import needs, run_in_order


@dataclass
class Plan:
    """What a run is asked for: which notebooks of which project, where they are built, and with what."""

    project: Path
    build: Path
    runs: Path
    notebooks: list[Path]
    quick: bool = False
    synthetic: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def numbers(self) -> list[str]:
        return [number(path.name) for path in self.notebooks]

    @property
    def built(self) -> list[Path]:
        return [self.build / "notebooks" / path.name for path in self.notebooks]


def main(arguments: list[str] | None = None, project: Path | None = None) -> int:
    """Exit code 0: all that was asked for is done; 1: it is not, and the last line says why.

    project: folder with notebooks/; None: the one this package belongs to
    """
    options = parser().parse_args(arguments)
    try:
        plan = make_plan(options, (project or project_dir()).resolve())
        with lock(plan.build), contextlib.chdir(plan.project):
            if not plan.quick and recover(plan.project):
                say("completed the publication that was interrupted")
            return run(plan, jobs=options.jobs, keep_going=options.keep_going, fresh=options.fresh)
    except (ValueError, OSError) as error:
        say(f"run_all: {error}")
    except KeyboardInterrupt:
        say("run_all: stopped; what is published is as it was")
        os._exit(130)  # a thread may wait for its notebook for an hour; the kernels end when this process is gone
    return 1


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="run_all.sh", description="Regenerate the notebooks and publish them.")
    result.add_argument("numbers", nargs="*", metavar="NN", help="these notebooks only, and the report: 03 06")
    result.add_argument("--quick", action="store_true", help="the same in minutes, into build/quick; publishes nothing")
    result.add_argument("--data", metavar="DIR", help="where the data sets are; default: $CVF20_DATA, else data/")
    result.add_argument("--synthetic", action="store_true", help="use the embedded stand-ins; publishes nothing")
    result.add_argument("--fresh", action="store_true", help="train again what runs/ holds of these notebooks")
    result.add_argument("--jobs", type=int, default=1, metavar="N", help="this many notebooks at a time")
    result.add_argument("--keep-going", action="store_true", help="go on with the others when a notebook fails")
    return result


def make_plan(options: argparse.Namespace, project: Path) -> Plan:
    """Raises ValueError for a number without notebook or with two, a missing data folder, or fewer than one job."""
    if options.jobs < 1:
        raise ValueError(f"--jobs {options.jobs}: wanted at least 1")
    books = sorted((project / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    found = {number(path.name): path for path in books}
    if len(found) < len(books):
        raise ValueError(f"two notebooks share a number: {', '.join(path.stem for path in books)}")
    asked = [name[:2] if number(name) else name.zfill(2) for name in options.numbers] or list(found)
    if unknown := [name for name in asked if name not in found]:
        raise ValueError(f"no notebook {', '.join(unknown)}: wanted some of {', '.join(found)}")
    chosen = [path for name, path in found.items() if name in asked or path.stem.endswith("_report")]
    if not chosen:
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
    if options.synthetic:
        environment["CVF20_SYNTHETIC"] = "1"
    if options.jobs > 1:  # notebooks side by side share the cores instead of fighting for them
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // options.jobs))
    return Plan(project, build, runs, chosen, options.quick, options.synthetic, environment)


def run(plan: Plan, jobs: int, keep_going: bool, fresh: bool) -> int:
    """Everything behind the options: execute, check, publish."""
    books = {number(path.name): read(path) for path in plan.notebooks}
    faults = [
        f"{path.stem}: {what}. To mend: {mend}"
        for path, nb in zip(plan.notebooks, books.values(), strict=True)
        for _, _, what, mend in source_faults(nb)
    ]
    if faults:  # better now than after an hour
        raise ValueError("\n".join(["nothing was run", *faults]))
    written = {name: sources(nb) for name, nb in books.items()}
    prepare(plan, fresh)
    with kernel(plan.build / ".jupyter", plan.environment):
        failed = run_in_order(needs(books, plan.notebooks), lambda name: run_one(plan, name), jobs, keep_going)
    if failed:
        say(f"run_all: {failed} of {len(books)} notebooks did not finish; what is published is as it was")
        return 1

    findings = check(plan.built, plan.build / "figures", plan.build / "results", draft=plan.quick or plan.synthetic)
    for finding in findings:
        if finding.level == "error":
            say(str(finding))
    if errors := sum(finding.level == "error" for finding in findings):
        say(f"run_all: the check found {errors} errors in {plan.build}; what is published is as it was")
        return 1
    if plan.quick or plan.synthetic:
        kind = "quick" if plan.quick else "synthetic"
        say(f"run_all: done and checked, in {plan.build}; a {kind} run publishes nothing")
        return 0
    for path in plan.notebooks:
        if sources(read(path)) != written[number(path.name)]:
            raise ValueError(f"{path.name} was edited while it ran: nothing was published, run it again")
    put, dropped = publish(plan.build, plan.project, plan.numbers)
    say(f"run_all: published {len(put)} files" + (f", removed {len(dropped)} that are no longer made" * bool(dropped)))
    if not (plan.project / "submission.toml").is_file():
        return 0
    try:
        build(plan.project, runs=plan.runs, say=say)
    except (ValueError, OSError, ImportError, RuntimeError) as error:  # RuntimeError: pandoc's
        say(f"run_all: all is published, but the hand-in was not built: {error}")
        return 1
    return 0


def prepare(plan: Plan, fresh: bool) -> None:
    """Empty build/ of what these notebooks will make; put what is published of the others beside it, for them to read."""
    numbers = plan.numbers
    others = {number(path.name) for path in (plan.project / "notebooks").glob("*.ipynb")} - {None, *numbers}
    for folder in FOLDERS:
        built, published = plan.build / folder, plan.project / folder
        built.mkdir(parents=True, exist_ok=True)
        for path in built.iterdir():
            if number(path.name) or path.name.startswith("."):
                _remove(path)
        for path in sorted(published.iterdir()) if published.is_dir() else []:
            if number(path.name) in others:
                (shutil.copytree if path.is_dir() else shutil.copyfile)(path, built / path.name)
    if fresh:
        for path in numbered(plan.runs, numbers):
            _remove(path)


def run_one(plan: Plan, name: str) -> bool:
    """Run the notebook with this number; a line with its seconds, or with what failed. True: it ran to its end."""
    source = next(path for path in plan.notebooks if number(path.name) == name)
    say(f"{name} | {source.stem} begins")
    start = time.perf_counter()
    try:
        execute(
            source,
            plan.build / "notebooks" / source.name,
            folders={plan.build: "", plan.project: "", Path(plan.environment["CVF20_DATA"]): "data", plan.runs: "runs"},
            parameters={"quick": True} if plan.quick else {},
            report=lambda line: say(f"{name} | {line}"),
        )
    except NotebookError as error:
        say(f"{name} | FAILED after {time.perf_counter() - start:.0f} s: {error}")
        return False
    say(f"{name} | {source.stem} took {time.perf_counter() - start:.0f} s")
    return True


@contextlib.contextmanager
def lock(build: Path) -> Iterator[None]:
    """One run at a time in a build folder. The system takes the lock back from a process that is gone, however it went.

    Raises ValueError, with the other process's id, where a run is at work.
    """
    build.mkdir(parents=True, exist_ok=True)
    with open(build / ".lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(f"another run (process {file.read().strip()}) is at work in {build}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


_speaking = threading.Lock()


def say(line: str) -> None:
    with _speaking:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
