"""Small projects whose notebooks take a second: one figure, one result, both named as the house wants it."""

import io
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from cvf20.submission.tasks import asked_of

PARAMETERS = "quick = False\nseed = 0"
SOMEONE, ADMIN = (
    "/".join(("", *parts)) for parts in (("home", "me"), ("root", "cvf20"))
)  # in pieces: no path in a file
CREDENTIALS = [  # in pieces: no file of the project holds anything like one
    "-----BEGIN " + "PRIVATE KEY-----",
    "AK" + "IA" + "X" * 16,
    "gh" + "p_" + "x" * 36,
    "hf" + "_" + "x" * 34,
    "https:" + "//name:" + "word@example.org/a.git",
]

WORK = """
import json, os, pathlib
import matplotlib.pyplot as plt
from IPython.display import Image, display

out = pathlib.Path(os.environ["CVF20_OUT"])
for folder in ("figures", "results"):
    (out / folder).mkdir(parents=True, exist_ok=True)

def result(name, **changes):
    content = dict(name=name, seed=seed, notebook="{stem}", data="squares", synthetic=False, quick=quick,
                   metrics=dict(val=dict(IoU=0.5)), recipe=dict(), seconds=1.0, **changes)
    (out / f"results/{{name}}-seed{{seed}}.json").write_text(json.dumps(content))
    print(f"results/{{name}}-seed{{seed}}.json")

def show(fig, name):
    path = out / f"figures/{{name}}.png"
    fig.savefig(path, dpi=50)
    plt.close(fig)
    display(Image(path), metadata={{"image/png": {{"alt": "a line"}}}})
    print(f"figures/{{name}}.png")
"""
FIGURE = """
fig, ax = plt.subplots(figsize=(1, 1))
ax.plot([0, {value}])
show(fig, "{stem}_line")
"""


def answers(stem: str) -> str:
    """A heading for each task that a notebook of this name has to answer."""
    return "\n\n".join(f"## {id} · Task\n*Asked:* the work." for id in asked_of(stem))


def working_notebook(stem: str, value: int = 1, last: str = "print('end')") -> nbformat.NotebookNode:
    """A notebook without outputs that draws a figure, writes a result, and then runs `last`."""
    cells = [
        new_markdown_cell(f"# {stem}\n\n{answers(stem)}".strip()),
        new_code_cell(PARAMETERS),
        new_code_cell(WORK.format(stem=stem)),
        new_code_cell(FIGURE.format(stem=stem, value=value)),
        new_code_cell(f"result('{stem}_net')"),
        new_code_cell(last),
    ]
    cells[1].metadata["tags"] = ["parameters"]
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place}"
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def png(colours: list, **options) -> bytes:
    """Bytes of a picture one pixel high."""
    image = Image.new("RGB", (len(colours), 1))
    image.putdata([(colour,) * 3 for colour in colours])
    buffer = io.BytesIO()
    image.save(buffer, "png", **options)
    return buffer.getvalue()


def tree(root: Path) -> dict[str, bytes]:
    """Content of every published file."""
    folders = ("notebooks", "figures", "results")
    files = [file for folder in folders for file in (root / folder).rglob("*") if file.is_file()]
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


class Project:
    def __init__(self, root: Path):
        self.root = root
        for folder in ("notebooks", "figures", "results"):
            (root / folder).mkdir(parents=True)

    def write(self, stem: str, **changes) -> Path:
        path = self.root / "notebooks" / f"{stem}.ipynb"
        nbformat.write(working_notebook(stem, **changes), path)
        return path

    def publish_by_hand(self, stem: str, **changes) -> None:
        """A notebook, and the files that it makes, with another content than it gives them."""
        self.write(stem, **changes)
        (self.root / f"figures/{stem}_line.png").write_bytes(png([0, 9]))
        (self.root / f"results/{stem}_net-seed0.json").write_text("{}")


def stream(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)
