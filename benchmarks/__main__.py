"""Runs the benchmarks, all or those named, writes results/benchmarks.json and README's table."""

import argparse
import importlib
import time

from benchmarks import report

NAMES = ("steps", "losses", "metrics", "transforms", "predict", "imports")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    names, started = parser.parse_args().names or NAMES, time.perf_counter()
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for name in names:
        rows = []
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            rows.append(row)
            print(f"{row.what} | {row.against} | wanted {row.bound} | found {row.ratio:.3f}", flush=True)
        report.write("benchmarks", {name: report.group(rows)}, time.perf_counter() - started)
    report.write_readme()


if __name__ == "__main__":
    main()
