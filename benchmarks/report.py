"""results/benchmarks.json, and the table that README shows of it."""

import json
import os
import time
from pathlib import Path

from benchmarks.common import ROOT, Row, machine
from cvf20.training.results import commit, plain, write_text

START, END = "<!-- benchmarks: written by python -m benchmarks -->", "<!-- end of benchmarks -->"


def path_of(name: str, root: Path = ROOT) -> Path:
    return root / "results" / f"{name}.json"


def read(name: str, root: Path = ROOT) -> dict:
    path = path_of(name, root)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(name: str, groups: dict[str, dict], elapsed: float, root: Path = ROOT) -> None:
    """Put these groups into results/<name>.json, in place of their last measurement; others stay."""
    old = read(name, root)
    about = {"name": name, "seed": 0, "notebook": "", "data": "", "synthetic": False, "quick": False}
    about |= {"metrics": {}, "recipe": {}, "seconds": round(elapsed, 1)}  # what every result says
    about |= {"commit": commit(), "machine": machine(), "groups": old.get("groups", {}) | groups}
    write_text(path_of(name, root), json.dumps(plain(about), indent=1, ensure_ascii=False) + "\n")


def about_now() -> dict:
    """When something was measured, and how busy the machine was."""
    return {
        "utc": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "load_average": [round(n, 2) for n in os.getloadavg()],
    }


def group(rows: list[Row]) -> dict:
    """What one file of benchmarks found."""
    return about_now() | {"rows": [row.plain() for row in rows]}


def number(value: float, unit: str = "") -> str:
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    text = f"{value:,.{digits}f}"
    if unit == "s" and value < 1:
        text = f"{1000 * value:.3g}"
        unit = "ms"
    return f"{text} {unit}".strip()


def table(report: dict) -> str:
    """The rows as Markdown, and what they were measured on."""
    lines = ["| what | against | wanted | found | ours | theirs |", "|---|---|---|---|---|---|"]
    rows = [row for group in report["groups"].values() for row in group["rows"]]
    for row in rows:
        wanted = (row["bound"] or "–").replace(">=", "≥").replace("<=", "≤")
        spread = " ({}–{})".format(*map(number, row["spread"])) if row["spread"] else ""
        found = f"{number(row['ratio'])}{spread}" + ("" if row["reached"] in (True, None) else " ✗")
        sides = ["–" if row[side] is None else number(row[side], row["unit"]) for side in ("ours", "theirs")]
        lines.append(f"| {row['what']} | {row['against']} | {wanted} | {found} | {' | '.join(sides)} |")
    about, load = report["machine"], max(group["load_average"][0] for group in report["groups"].values())
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    lines += [
        "",
        f"*Found*: the median of interleaved pairs, and their quartiles; ✗: less than wanted. {about['cores']} cores",
    ]
    lines[-1] += f" ({about['processor']}), {about['precision']}, load at most {load:.1f}; {versions}."
    return "\n".join(lines)


def growth(report: dict) -> str:
    """Of every axis the operation that grows fastest in time, and the largest memory."""
    lines = ["| grows with | from … to | operations | steepest of them, time ∝ | memory ∝ |", "|---|---|---|---|---|"]
    axes = {axis: group["rows"] for axis, group in report["groups"].items() if axis != "processes"}
    for axis, rows in axes.items():
        steep, large = (max((row["exponents"][of] or 0, row["what"]) for row in rows) for of in ("seconds", "MB"))
        sizes = [point["n"] for point in rows[0]["points"]]
        told = [f"n^{power:.2f} ({name})" for power, name in (steep, large)]
        lines.append(f"| {axis} | {sizes[0]:,} … {sizes[-1]:,} | {len(rows)} | {told[0]} | {told[1]} |")
    if "processes" in report["groups"]:
        (found,) = report["groups"]["processes"]["rows"]
        lines += [
            "",
            f"Two processes of one thread each train {found['two_by_one']:.2f} times as many images per second ",
        ]
        lines[-1] += "as one with two threads (printed U-Net, 112×144)."
    return "\n".join(lines)


def contents(root: Path = ROOT) -> str:
    parts = [make(found) for make, name in ((table, "benchmarks"), (growth, "scaling")) if (found := read(name, root))]
    return "\n\n".join(parts)


def in_readme(text: str, content: str) -> str:
    """README's text with the content between its markers."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{content}\n{END}{after}"


def write_readme(root: Path = ROOT) -> None:
    readme = root / "README.md"
    write_text(readme, in_readme(readme.read_text(encoding="utf-8"), contents(root)))
