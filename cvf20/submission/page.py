"""The hand-in as one HTML page that loads nothing: no script, formulas as MathML, pictures inside."""

import html
import re
from importlib import resources

from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from . import formulas

# what a browser would fetch when it shows the page (a link that a reader may click is none of it)
_LOADS = re.compile(
    r"<(?:script|iframe|object|embed|link|base)\b[^>]*>|<[^>]*\bsrc\s*=\s*[\"']?+(?!data:)[^>]*>|@import[^;]*|url\((?!data:)[^)]*\)",
    re.IGNORECASE,
)

_IMAGE = re.compile(r"<img\b[^>]*\balt=([\"'])(.+?)\1[^>]*>")


def page(nb: NotebookNode, title: str) -> str:
    """nb, which is changed, as a page. Raises ValueError if something in it would be loaded from elsewhere."""
    found: list[tuple[str, bool]] = []

    def mark(formula: str, display: bool) -> str:
        found.append((formula, display))
        return f"FORMULA{len(found) - 1}X"

    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = formulas.replace(cell.source, mark)
        for output in cell.get("outputs", []):
            for kind in ("text/markdown", "text/latex"):
                if kind in output.get("data", {}):
                    output.data[kind] = formulas.replace(output.data[kind], mark)
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True)
    # nothing foreign is in it, and looking for it took most of the time
    exporter.register_filter("clean_html", lambda html: html)
    body, _ = exporter.from_notebook_node(nb)
    sets = formulas.mathml(found)
    body = re.sub(r"FORMULA(\d+)X", lambda match: sets[found[int(match[1])]], body)
    body = re.sub(r"(<table\b.*?</table>)", r'<div class="wide">\1</div>', body, flags=re.DOTALL)
    body = _IMAGE.sub(r"<figure>\g<0><figcaption>\2</figcaption></figure>", body)
    if loads := [tag for tag in _LOADS.findall(_without_code(body))]:
        raise ValueError(f"{title}: the page would load {loads[0][:120]}; wanted a page that stands alone")
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    style += HtmlFormatter(style="default").get_style_defs(".highlight")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}\n</style>\n</head>\n<body>\n"
        f'<main>\n{body}\n</main>\n<a class="up" href="#contents">Contents</a>\n</body>\n</html>\n'
    )


def _without_code(body: str) -> str:
    """Only what is markup: text in a page is escaped, base64 holds no bracket."""
    return re.sub(r"<(pre|code)\b.*?</\1>", "", body, flags=re.DOTALL)
