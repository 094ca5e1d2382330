"""python -m cvf20.submission check [FILES] · build [--sheet B] · run [OPTIONS]"""

import argparse
import sys
from pathlib import Path

from cvf20.paths import project_dir
from cvf20.submission import run
from cvf20.submission.archive import AGAIN, BUILT
from cvf20.submission.build import build
from cvf20.submission.check import Finding, check
from cvf20.submission.complete import archive_findings, project_findings
from cvf20.submission.faults import output_faults, source_faults
from cvf20.submission.notebook import read
from cvf20.submission.tasks import SHEETS


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m cvf20.submission")
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("check", help="look at notebooks as a grader would; exit code 1 if there is an error")
    look.add_argument("files", nargs="*", type=Path, metavar="FILE", help="notebooks, zips; default: the whole project")
    make = commands.add_parser("build", help="dist/: one notebook, one page, the report and the zip")
    make.add_argument("--sheet", choices=list(SHEETS), help="the hand-in of one course alone, into dist/<sheet>/")
    commands.add_parser("run", help="what ./run_all.sh does", add_help=False)
    options, rest = parser.parse_known_args(arguments)
    if options.command == "run":
        return run.main(rest)
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    if options.command == "check":
        return report(options.files)
    try:
        build(project_dir(), options.sheet)
    except (ValueError, OSError, ImportError, RuntimeError) as error:  # RuntimeError: pandoc's
        print(f"build: {error}")
        return 1
    return 0


def report(files: list[Path]) -> int:
    """Print one line per finding. Figures and results are looked for in the folders beside that of the notebooks."""
    if missing := [file for file in files if not file.is_file()]:
        raise SystemExit(f"no such file: {', '.join(map(str, missing))}")
    whole, findings = not files, []
    files = [file.resolve() for file in files or sorted((project_dir() / "notebooks").glob("*.ipynb"))]
    for file in files:
        if file.suffix != ".ipynb":
            findings += archive_findings(file)
        elif file.name in BUILT:
            try:
                nb = read(file)
            except (OSError, ValueError) as error:
                findings.append(Finding("error", file.name, None, str(error), AGAIN))
                continue
            findings += [
                Finding(f[0], file.name, *f[1:]) for f in (*source_faults(nb), *output_faults(nb, draft=False))
            ]
    single = [file for file in files if file.suffix == ".ipynb" and file.name not in BUILT]
    for folder in sorted({file.parent for file in single}):
        group = [file for file in single if file.parent == folder]
        findings += check(group, folder.parent / "figures", folder.parent / "results")
    if whole:
        findings += project_findings(project_dir())
    for finding in findings:
        print(finding)
    errors = sum(finding.level == "error" for finding in findings)
    print(f"{errors} errors, {len(findings) - errors} notes in {len(files)} notebooks")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
