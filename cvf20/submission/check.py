"""A grader's eye on notebooks and their results. A finding is a line: an error stops its notebook, a note stops nothing."""

import ast
import re
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from cvf20.submission.notebook import TASKS, fingerprint, headings, ids_in, number, read, tags, texts, uses_stand_in
from cvf20.training.results import NOTEBOOKS, is_stand_in, read_result

NAMED = re.compile(r"\bfigures/([\w.*?+-]{1,200}\.(?:png|svg|jpg))")
PICTURE = re.compile(r"!\[[^\]\n]{0,2000}\]\(([^)\s]+)[^)\n]{0,500}\)|<img\b[^<>]{0,2000}?\bsrc=[\"']([^\"']+)[\"']")


def is_error(finding: str) -> bool:
    return finding.startswith("error")


def check(path: Path, project: Path) -> list[str]:
    """Findings in a notebook of the project and in those results whose numbers are its own."""
    found = check_source(path, ran=True)
    return found if "is no notebook" in "".join(found) else found + check_outputs(path, project, draft=False)


def check_source(path: Path, ran: bool = False) -> list[str]:
    """What can be seen before the notebook runs; ran: figures that it may make itself have to be there."""
    file = f"notebooks/{path.name}"
    try:
        nb = read(path)
    except Exception as error:  # nbformat raises whatever its JSON parser and its schema do
        return [f"error: {file}: is no notebook ({error}). To mend: restore the file"]
    found, asked, told = [], [], []
    code = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    tagged = [cell.source for cell in nb.cells if "parameters" in tags(cell)]
    sets = len(tagged) == 1 and re.search(r"^\s*quick\b[^=\n]*=\s*False", tagged[0], re.MULTILINE)
    if len(tagged) > 1 or not sets and re.search(r"\bquick\b", "\n".join(code)):
        found.append(f"error: {file}: a quick run would be full. To mend: quick = False in a cell tagged 'parameters'")
    for place, cell in enumerate(nb.cells, start=1):
        here = f"{file}, cell {place}"
        try:
            source = TransformerManager().transform_cell(cell.source) if cell.cell_type == "code" else ""
            compile(source, "", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except (SyntaxError, ValueError) as error:
            found.append(f"error: {here}: {type(error).__name__}: {error}. To mend: correct it")
        for match in PICTURE.finditer(cell.source) if cell.cell_type == "markdown" else ():
            name = match[1] or match[2]
            there = name.removeprefix("attachment:") in cell.get("attachments", {}) or name.startswith("data:")
            if re.match("(https?:)?//", name):
                found.append(f"note: {here}: shows {name} from the network. To mend: save it, and name the file")
            elif not there and not (path.parent / name).is_file():
                level = "error" if ran or "figures/" not in name else "note"  # it may be drawn by what is to run
                found.append(f"{level}: {here}: shows {name}, which is missing. To mend: correct the name")
        ids = [id for heading in headings(cell) for id in ids_in(heading)]
        asked += ids
        told += ids if re.search(r"\basked\b", cell.source, re.IGNORECASE) else []
    due = [task.id for task in TASKS.values() if path.stem in NOTEBOOKS and number(path.name) in task.notebooks]
    if lacking := ", ".join(id for id in due if id not in asked):
        found.append(f"note: {file}: does not answer {lacking}. To mend: a heading '## id · …', then the answer")
    if silent := ", ".join(id for id in dict.fromkeys(asked) if id not in told):
        found.append(f"note: {file}: does not say what {silent} asked. To mend: a line '*Asked:* …' below the heading")
    return found


def check_outputs(path: Path, project: Path, draft: bool) -> list[str]:
    """What a run left in the notebook and in its results; draft: that it is quick, or on stand-ins, is no error."""
    nb, file, found, unreal = read(path), f"notebooks/{path.name}", [], "of a quick run, a stand-in or a small sample"
    if older := nb.metadata.get("cvf20", {}).get("rendered_from") != fingerprint(nb):
        found.append(f"note: {file}: rendered from older sources. To mend: run it again, ./run_all.sh {path.name[:2]}")
    if not draft and (uses_stand_in(nb) or any("injected-parameters" in tags(cell) for cell in nb.cells)):
        found.append(f"error: {file}: {unreal}. To mend: run it in full, on real data")
    for place, cell in [(p, c) for p, c in enumerate(nb.cells, 1) if c.cell_type == "code" and c.source.strip()]:
        here = f"{file}, cell {place}"
        if not older and cell.execution_count is None and "set-up" not in tags(cell):
            found.append(f"error: {here}: did not run. To mend: restart, and run all")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"error: {here}: {output.ename}: {output.evalue}. To mend: correct it, and run again")
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
                found.append(f"note: {here}: a widget shows nothing without a kernel. To mend: print plain lines")
            if output.get("name") == "stderr" and output.text.strip():
                found.append(f"note: {here}: warns: {output.text.strip()[:160]!r}. To mend: see whether it matters")
        for name in set() if older else sorted(set(NAMED.findall("\n".join(texts(cell))))):
            if not any((project / "figures").glob(name)):
                found.append(f"error: {here}: names figures/{name}, which is missing. To mend: run the notebook again")
    for result in sorted((project / "results").glob(f"{path.name[:2]}_*.json")):
        content, why = read_result(result)
        why = why or (unreal if not draft and (content["quick"] or is_stand_in(content)) else "")
        found += [f"error: results/{result.name}: {why}. To mend: run {path.name} in full, on real data"] * bool(why)
    return found
