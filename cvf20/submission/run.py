"""The program behind ./run_all.sh: run the notebooks in build/, check what they made, publish it, build the hand-in."""

import argparse
import os
import re
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from timeit import timeit

import psutil
import torch
from filelock import FileLock, Timeout

from cvf20.paths import project_dir
from cvf20.submission.build import build
from cvf20.submission.check import check_outputs, check_source, is_error
from cvf20.submission.execute import execute, launch
from cvf20.submission.notebook import find_notebooks, number, read
from cvf20.submission.publish import copy_files, files_of, hand_on, prepare, reason_against, remove

DONE, HELD, FAILED, NOT_RUN = "done", "not published", "failed", "not run"


def main(arguments: list[str] | None = None, project: Path | None = None) -> int:
    """Exit code 0: all that was asked for is done; 1: it is not, and the last line says why."""
    parser = argparse.ArgumentParser(prog="run_all.sh", description="Regenerate the notebooks and publish them.")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="these notebooks only: 03 06")
    parser.add_argument("--quick", action="store_true", help="the same in minutes, into build/quick; publishes nothing")
    parser.add_argument("--data", metavar="DIR", help="where the data sets are; default: $CVF20_DATA, else data/")
    parser.add_argument("--synthetic", action="store_true", help="use the embedded stand-ins; publishes nothing")
    parser.add_argument("--fresh", action="store_true", help="train again, whatever runs/ and results/ hold")
    parser.add_argument("--jobs", default="auto", metavar="N", help="notebooks at a time; default: what is faster here")
    parser.add_argument("--launch", metavar="LINE", help="train through this, e.g. 'torchrun --nproc_per_node 2'")
    parser.add_argument("--keep-going", action="store_true", help="go on with the others when a notebook fails")
    sys.stdout.reconfigure(errors="replace")  # a notebook may print what this terminal cannot
    try:
        run = Run(parser.parse_args(arguments), (project or project_dir()).resolve())
    except ValueError as error:
        parser.error(str(error))
    try:
        run.build.mkdir(parents=True, exist_ok=True)
        with FileLock(run.build / ".lock", timeout=0):
            return run.everything()
    except Timeout:
        say(f"run_all: another run works in {run.build}: wait for it, or set CVF20_OUT and CVF20_RUNS to other folders")
    except (ValueError, OSError, ImportError, RuntimeError) as error:  # RuntimeError: pandoc's
        say(f"run_all: {error}")
    except KeyboardInterrupt:
        say(f"run_all: stopped; published so far: {', '.join(run.published) or 'nothing'}")
        os._exit(130)  # a thread may wait for its notebook for an hour; the kernels end when this process is gone
    return 1


class Run:
    """What is asked for: which notebooks (number → file) of which project, where they are built, and with what."""

    def __init__(self, asked: argparse.Namespace, project: Path):
        self.asked, self.project, self.jobs = asked, project, 0 if asked.jobs == "auto" else int(asked.jobs)
        self.states, self.published = {}, []
        found, left_out = find_notebooks(project / "notebooks")
        for line in left_out:
            say(line)
        numbers = sorted({number(name) or name.zfill(2) for name in asked.numbers or found})
        if unknown := set(numbers) - set(found):
            raise ValueError(f"no notebook {', '.join(unknown)}: wanted some of {', '.join(found)}")
        self.books = {name: found[name] for name in numbers}
        given = {"data": asked.data or os.environ.get("CVF20_DATA")}
        given |= {"build": os.environ.get("CVF20_OUT"), "runs": os.environ.get("CVF20_RUNS")}
        folders = (Path(there or project / name).expanduser().resolve() for name, there in given.items())
        self.data, self.build, self.runs = folders
        self.draft = "quick" if asked.quick else "synthetic" if asked.synthetic else ""
        if self.draft:  # a folder of its own, so that no real run is replaced by a toy
            self.build, self.runs = self.build / self.draft, self.build / self.draft / "runs"
        if self.build == project or asked.data and not self.data.is_dir():
            raise ValueError(
                f"CVF20_OUT {self.build}, --data {asked.data}: wanted a folder to build in, and one there is"
            )
        self.told = {"CVF20_DATA": str(self.data), "CVF20_OUT": str(self.build), "CVF20_RUNS": str(self.runs)}
        self.told |= {f"CVF20_{name.upper()}": "1" for name in ("synthetic", "fresh") if getattr(asked, name)}

    def everything(self) -> int:
        """What can be seen before, the notebooks, what they hand on, the hand-in; the exit code."""
        findings = {name: check_source(path) for name, path in self.books.items()}
        for finding in sorted(sum(findings.values(), [])):
            say(finding)
        broken = {name for name, found in findings.items() if any(map(is_error, found))}
        if broken and not self.asked.keep_going:  # better now than after an hour
            raise ValueError("nothing was run: mend what is called an error, or run the others with --keep-going")
        prepare(self.build, self.project, set(self.books))
        if self.asked.fresh and self.runs.is_dir():
            mine = {*self.books, *([] if self.asked.numbers else [None])}
            remove([path for path in self.runs.iterdir() if number(path.name) in mine])
        start, self.states = time.time(), dict.fromkeys(broken, FAILED)
        self.notebooks()
        if self.published:  # figures and results of free names belong to no single notebook
            free = [path for path in files_of(self.build, None) if path.stat().st_mtime >= start]
            copy_files(free, self.build, self.project)
            hand_on(self.project, self.runs)
        states = {path.stem: self.states.get(name, NOT_RUN) for name, path in self.books.items()}
        if undone := [f"{stem} {state}" for stem, state in states.items() if state != DONE]:
            say(f"run_all: {len(undone)} of {len(states)} are not done: {', '.join(undone)}; see {self.build}")
            return 1
        if self.draft:
            say(f"run_all: done and checked, in {self.build}; a {self.draft} run publishes nothing")
        elif not self.asked.numbers and (self.project / "submission.toml").is_file():
            build(self.project)
        return 0

    def notebooks(self) -> None:
        """Run all of them, several at a time, none before those whose results it reads."""
        waiting, running = [name for name in self.books if name not in self.states], {}
        jobs = 1 if self.asked.launch or len(waiting) < 2 else self.jobs or best_jobs()
        if jobs > 1:  # side by side they share the cores
            self.told["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
        pool = ThreadPoolExecutor(jobs)
        while running or waiting:
            waiting = waiting if self.asked.keep_going or FAILED not in self.states.values() else []
            ready = [name for name in waiting if not self.needs(name) & {*waiting, *running.values()}]
            running |= {pool.submit(self.notebook, name): name for name in ready[: jobs - len(running)]}
            waiting = [name for name in waiting if name not in running.values()]
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                self.states[running.pop(ended)] = ended.result()

    def needs(self, name: str) -> set[str]:
        """The lower numbers that it reads from: those named in its code ("03_unet_bn"); a report reads all."""
        code = "\n".join(cell.source for cell in read(self.books[name]).cells if cell.cell_type == "code")
        report = self.books[name].stem.endswith("_report")
        return {other for other in self.books if other < name and (report or re.search(rf"[\"'/]{other}_", code))}

    def notebook(self, name: str) -> str:
        """Run, check and publish one; lines with its seconds, with what failed, and with what was published."""
        if any(self.states[other] != DONE for other in self.needs(name)):
            return NOT_RUN
        source, target, start = self.books[name], self.build / "notebooks" / self.books[name].name, time.perf_counter()
        folders = {self.build: "", self.project: "", self.data: "data", self.runs: "runs"}
        say(f"{name} | {source.stem} begins")
        try:
            asked = self.asked.quick, lambda line: say(f"{name} | {line}")
            if self.asked.launch:
                launch(self.asked.launch, source, target, self.told, *asked)
            execute(source, target, self.told, folders, *asked)
            say(f"{name} | {source.stem} took {time.perf_counter() - start:.0f} s")
            findings = check_outputs(target, self.build, draft=True)
            for finding in findings:
                say(f"{name} | {finding}")
            if not any(map(is_error, findings)):
                return DONE if self.draft else self.publish(name)
        except (RuntimeError, OSError) as error:  # OSError: it could not be published, or not all of it
            say(f"{name} | FAILED after {time.perf_counter() - start:.0f} s: {error}; as far as it came: {target}")
        return FAILED

    def publish(self, name: str) -> str:
        """Copy what a notebook has made to where it is published, unless something speaks against it, which is said."""
        made = files_of(self.build, name)
        if why := reason_against(made, self.books[name]):
            say(f"{name} | not published, {why}; what it made is in {self.build}")
            return HELD
        copy_files(made, self.build, self.project)
        self.published.append(name)
        say(f"{name} | published {len(made)} files")
        there = [path.relative_to(self.project).as_posix() for path in files_of(self.project, name)]
        if other := [p for p in there if not (self.build / p).exists() and not p.startswith("notebooks/")]:
            say(f"{name} | left, though no run made them: {', '.join(other[:5])}{' …' * (len(other) > 5)}")
        return DONE


def best_jobs() -> int:
    """2 notebooks at a time where two trainings, each on half the cores, do more than one on all: measured; else 1."""
    cores = os.cpu_count() or 1
    if cores < 2 or torch.accelerator.is_available() or psutil.virtual_memory().available < 12e9:
        return 1
    setup = "import torch; from cvf20.models import UNet; from cvf20.training.devices import make_accelerator\n"
    setup += "net, images, here = UNet(4, 3, 9, 16), torch.rand(8, 3, 112, 144), make_accelerator(); torch.set_num_threads({})"
    measure = partial(timeit, "with here.autocast(): net(images).sum().backward()", number=10)
    with ThreadPoolExecutor(2) as pool:
        alone, *both = (80 / s for n in ([cores], [cores // 2] * 2) for s in pool.map(measure, map(setup.format, n)))
    say(f"images/s: {alone:.1f} by one training on {cores} cores, {sum(both):.1f} by two on {cores // 2} each")
    return 1 + (sum(both) > 1.1 * alone)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one piece, as threads speak at the same time
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
