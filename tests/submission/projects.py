"""Small projects whose notebooks take a second: one figure, one result, both named as the house wants it."""

import base64
import io
import json
import os
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from cvf20.submission.notebook import TASKS, fingerprint
from cvf20.training.results import NOTEBOOKS

TOML = 'course = "CV"\ntitle = "Pixels"\ngroup = "7"\nsources = ["a paper"]\naids = ["a book"]\n'
TOML += "".join(f'[[members]]\nname = "{name}"\nid = "{id}"\ndid = "half"\n' for name, id in (("Ada", 11), ("Bo", 22)))
RESULT = dict(name="net", seed=0, notebook="03_unet", data="squares", synthetic=False, sample=False, quick=False)
RESULT |= dict(metrics={"val": {"IoU": 0.5}}, recipe={}, seconds=60.0)

WORK = """
import json, os, pathlib
import matplotlib.pyplot as plt
from IPython.display import Image, Markdown, display

out = pathlib.Path(os.environ["CVF20_OUT"])

def result(name, **changes):
    (out / "results").mkdir(exist_ok=True, parents=True)
    content = {result} | dict(name=name, seed=seed, quick=quick) | changes
    (out / f"results/{{name}}-seed{{seed}}.json").write_text(json.dumps(content))

def show(fig, name, caption):
    (out / "figures").mkdir(exist_ok=True, parents=True)
    path = out / f"figures/{{name}}.png"
    fig.savefig(path, dpi=50)
    plt.close(fig)
    display(Image(path, alt=caption))
    display(Markdown(f"{{caption}} `{{path}}`"))
"""
FIGURE = """
fig, ax = plt.subplots(figsize=(1, 1))
ax.plot([0, 1])
show(fig, "{stem}_line", "A line that *rises*.")
"""


def answers(stem: str) -> str:
    """A heading for each task that a notebook of this name has to answer."""
    due = [task for task in TASKS.values() if stem in NOTEBOOKS and stem[:2] in task.notebooks]
    return "\n\n".join(f"## {task.id} · Task\n*Asked:* the work." for task in due)


def notebook(*sources: str, stem="03_unet", parameters="quick = False\nseed = 0") -> nbformat.NotebookNode:
    """Title and answers, the parameters, then the sources: what begins with # and a blank, or ![, is Markdown."""
    cells = [new_markdown_cell(f"# {stem}\n\n{answers(stem)}".strip()), new_code_cell(parameters)]
    cells[1].metadata["tags"] = ["parameters"]
    for source in sources:
        cells.append((new_markdown_cell if source.startswith(("#", "!")) else new_code_cell)(source))
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place}"
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "venv", "display_name": "Mine"}})


def executed(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """As a run would leave it, but for the outputs."""
    for count, cell in enumerate([cell for cell in nb.cells if cell.cell_type == "code"], start=1):
        cell.execution_count = count
    nb.metadata["cvf20"] = {"rendered_from": fingerprint(nb)}
    return nb


def png(colours: list) -> bytes:
    """Bytes of a picture one pixel high."""
    image = Image.new("RGB", (len(colours), 1))
    image.putdata([(colour,) * 3 for colour in colours])
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def picture(colours=(0, 255), alt: str = "a line"):
    data = {"image/png": base64.b64encode(png(list(colours))).decode(), "text/plain": "<Figure>"}
    return new_output("display_data", data=data, metadata={"image/png": {"alt": alt}})


def markdown(text: str):
    return new_output("display_data", data={"text/markdown": text})


def stream(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)


class Project:
    """A folder with notebooks/, figures/ and results/; `root / "x"` is written with `put("x", content)`."""

    def __init__(self, root: Path):
        self.root = root
        for folder in ("notebooks", "figures", "results"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def put(self, name: str, content: bytes | str | dict = "made by hand") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(content) if isinstance(content, dict) else content
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def save(self, stem: str, nb: nbformat.NotebookNode) -> Path:
        return self.put(f"notebooks/{stem}.ipynb", nbformat.writes(nb) + "\n")

    def write(self, stem: str, last: str = "print('end')", **changes) -> Path:
        """A notebook without outputs that draws a figure, writes a result, and then runs `last`."""
        work = WORK.format(result=RESULT | {"notebook": stem})
        sources = [work, FIGURE.format(stem=stem), f"result('{stem}_net')", last]
        return self.save(stem, notebook(*sources, stem=stem, **changes))

    def tree(self) -> dict[str, bytes]:
        """Content of every published file."""
        files = [file for f in ("notebooks", "figures", "results") for file in (self.root / f).rglob("*")]
        return {file.relative_to(self.root).as_posix(): file.read_bytes() for file in files if file.is_file()}

    def outputs(self, stem: str, folder: str = "notebooks") -> list:
        return [cell.get("outputs", []) for cell in nbformat.read(self.root / folder / f"{stem}.ipynb", 4).cells]


def environment(**changes: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CVF20_")} | changes
