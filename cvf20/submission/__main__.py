"""python -m cvf20.submission check [FILES] · build [--sheet B] · address · run [OPTIONS]"""

import argparse
import sys
from pathlib import Path

from cvf20.paths import project_dir
from cvf20.submission import run
from cvf20.submission.build import build, project_findings
from cvf20.submission.check import check, is_error
from cvf20.submission.colab import write_address
from cvf20.submission.cover import read_group
from cvf20.submission.notebook import find_notebooks
from cvf20.submission.tasks import SHEETS


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.stdout.reconfigure(errors="replace")  # a finding may say what this terminal cannot
    if arguments[:1] == ["run"]:
        return run.main(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m cvf20.submission")
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("check", help="look at notebooks as a grader would; exit code 1 if there is an error")
    look.add_argument("files", nargs="*", type=Path, metavar="FILE", help="notebooks; default: the whole project")
    make = commands.add_parser("build", help="dist/: one notebook, one page, the report and the zip")
    make.add_argument("--sheet", choices=list(SHEETS), help="the hand-in of one course alone, into dist/<sheet>/")
    commands.add_parser("address", help="write the git address of submission.toml into the notebooks' set-up cells")
    commands.add_parser("run", help="what ./run_all.sh does")
    options = parser.parse_args(arguments)
    if options.command == "check":
        return report(options.files)
    try:
        if options.command == "address":
            books = find_notebooks(project_dir() / "notebooks")[0].values()
            changed = write_address(books, read_group(project_dir() / "submission.toml")["repository"])
            print(f"changed: {', '.join(changed) or 'nothing, it stands there already'}")
            return 0
        build(project_dir(), options.sheet)
    except (ValueError, OSError, ImportError, RuntimeError) as error:  # RuntimeError: pandoc's
        print(f"build: {error}")
        return 1
    return 0


def report(files: list[Path]) -> int:
    """Print one line per finding, errors first."""
    findings = [] if files else project_findings(project_dir())
    for file in files or find_notebooks(project_dir() / "notebooks")[0].values():
        findings += check(file.resolve(), file.resolve().parent.parent)
    print(*sorted(findings), sep="\n", end="\n" * bool(findings))
    errors = sum(map(is_error, findings))
    print(f"{errors} errors, {len(findings) - errors} notes")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
