"""python -m cvf20.submission check [FILES] · run [OPTIONS]"""

import argparse
import sys
from pathlib import Path

from cvf20.paths import project_dir

from . import check, run


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m cvf20.submission")
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("check", help="look at notebooks as a grader would; exit code 1 if there is an error")
    look.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: all of notebooks/")
    commands.add_parser("run", help="what ./run_all.sh does", add_help=False)
    options, rest = parser.parse_known_args(arguments)
    if options.command == "run":
        return run.main(rest)
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    return report(options.files or sorted((project_dir() / "notebooks").glob("*.ipynb")))


def report(files: list[Path]) -> int:
    """Print one line per finding. Figures and results are looked for in the folders beside that of the notebooks."""
    if missing := [file for file in files if not file.is_file()]:
        raise SystemExit(f"no such file: {', '.join(map(str, missing))}")
    findings = []
    for folder in sorted({file.resolve().parent for file in files}):
        group = [file.resolve() for file in files if file.resolve().parent == folder]
        findings += check.check(group, folder.parent / "figures", folder.parent / "results")
    for finding in findings:
        print(finding)
    errors = sum(finding.level == "error" for finding in findings)
    print(f"{errors} errors, {len(findings) - errors} notes in {len(files)} notebooks")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
