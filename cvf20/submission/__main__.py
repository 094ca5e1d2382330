"""python -m cvf20.submission check [FILES] · build [--sheet B] · address"""

import argparse
import sys
from pathlib import Path

from cvf20.paths import project_dir
from cvf20.submission.build import build, project_findings
from cvf20.submission.check import check, is_error
from cvf20.submission.cover import read_group
from cvf20.submission.notebook import SHEETS, find_notebooks, write_address


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cvf20.submission")
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("check", help="look at notebooks as a grader would; exit code 1 if there is an error")
    look.add_argument("files", nargs="*", type=Path, metavar="FILE", help="notebooks; default: the whole project")
    make = commands.add_parser("build", help="dist/: one notebook, one page, the report and the zip")
    make.add_argument("--sheet", choices=list(SHEETS), help="the hand-in of one course alone, into dist/<sheet>/")
    commands.add_parser("address", help="write the git address of submission.toml into the notebooks' set-up cells")
    options, project = parser.parse_args(arguments), project_dir()
    sys.stdout.reconfigure(errors="replace")  # a finding may say what this terminal cannot
    books = list(find_notebooks(project / "notebooks")[0].values())
    if options.command == "check":
        findings = [] if options.files else project_findings(project)
        for file in options.files or books:
            findings += check(file.resolve(), file.resolve().parent.parent)
        errors = sum(map(is_error, findings))
        print(*sorted(findings), f"{errors} errors, {len(findings) - errors} notes", sep="\n")
        return 1 if errors else 0
    try:
        if options.command == "build":
            build(project, options.sheet)
        else:
            print("changed:", *write_address(books, read_group(project / "submission.toml")["repository"]))
    except (ValueError, OSError, ImportError, RuntimeError) as error:  # RuntimeError: pandoc's
        print(f"{options.command}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
