"""Takes out of an executed notebook what belongs to the machine and the moment, not to the answer."""

import os
import re
import sys
import tempfile
from pathlib import Path

from nbformat import NotebookNode

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
OF_PAPERMILL = ("papermill-error-cell-tag",)


def clean(nb: NotebookNode, folders: dict[Path, str]) -> NotebookNode:
    """The notebook without timings, widgets, overwritten progress bars and machine paths; changed in place.

    folders: what each folder of this machine is called instead, e.g. {Path.cwd(): ""}
    """
    rename = renamer({**folders, **machine_folders()})
    nb.cells = [cell for cell in nb.cells if not set(OF_PAPERMILL) & set(cell.metadata.get("tags", []))]
    nb.metadata.pop("papermill", None)
    nb.metadata.pop("widgets", None)
    nb.metadata["kernelspec"] = dict(KERNEL)
    for cell in nb.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):  # papermill's empty list
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            cell.outputs = joined([output for output in cell.outputs if WIDGET not in output.get("data", {})])
            for output in cell.outputs:
                _rename_in(output, rename)
    return nb


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream become one; of a line that was overwritten (\\r) its last state stays."""
    result = []
    for output in outputs:
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    for output in result:
        if output.output_type == "stream":
            lines = output.text.replace("\r\n", "\n").split("\n")
            output.text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)
    return [output for output in result if output.output_type != "stream" or output.text.strip()]


def machine_folders() -> dict[Path, str]:
    """Folders that any output may mention: the interpreter's, the temporary one, the user's."""
    return {
        Path(sys.prefix): "<python>",
        Path(sys.base_prefix): "<python>",
        Path(tempfile.gettempdir()): "<tmp>",
        Path.home(): "~",
    }


def renamer(folders: dict[Path, str]):
    """A function that replaces the folders in a text, the innermost first: with the project's folder named "", what lies in it is called figures/a.png."""
    names = {}
    for folder, name in folders.items():
        for form in {os.path.abspath(folder), os.path.realpath(folder)}:
            if form != os.sep:
                names.setdefault(form, name)
    if not names:
        return lambda text: text
    longest_first = "|".join(re.escape(form) for form in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.])({longest_first})(?:(/)|(?![\w.-]))")

    def replace(match: re.Match) -> str:
        name, slash = names[match[1]], match[2] or ""
        return name + slash if name else "" if slash else "."

    return lambda text: pattern.sub(replace, text)


def _rename_in(output: NotebookNode, rename) -> None:
    if output.output_type == "stream":
        output.text = rename(output.text)
    elif output.output_type == "error":
        output.evalue = rename(output.evalue)
        output.traceback = [rename(line) for line in output.traceback]
    else:
        for kind, value in output.data.items():
            if kind.startswith("text/") and isinstance(value, str):
                output.data[kind] = rename(value)
