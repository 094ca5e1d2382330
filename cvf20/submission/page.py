"""The hand-in as one HTML page that loads nothing: no script, formulas as MathML, pictures inside."""

import html
import re
from html.parser import HTMLParser
from importlib import resources

from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from cvf20.submission import formulas

_TAGS = {"script", "iframe", "object", "embed", "link", "base"}
_ADDRESSES = {"src", "poster", "background"}
_STYLES = re.compile(r"@import[^;]*|url\(\s*+[\"']?+(?!data:|#)[^)]*\)", re.IGNORECASE)

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
    if loads := _Loads(body).found:
        raise ValueError(f"{title}: the page would load {loads[0][:120]}; wanted a page that stands alone")
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    style += HtmlFormatter(style="default").get_style_defs(".highlight")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}\n</style>\n</head>\n<body>\n"
        f'<main>\n{body}\n</main>\n<a class="up" href="#contents">Contents</a>\n</body>\n</html>\n'
    )


class _Loads(HTMLParser):
    """`found`: what a browser would fetch, or run, when it shows the page. A link that a reader may click is none of it."""

    def __init__(self, body: str):
        super().__init__()
        self.found: list[str] = []
        self.in_style = False
        self.feed(body)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.in_style = tag == "style"
        given = {name: (value or "").strip() for name, value in attributes}
        fetched = {name for name in given if name in _ADDRESSES or name in ("href", "xlink:href") and tag != "a"}
        foreign = any(not given[name].startswith(("data:", "#")) for name in fetched)
        refresh = tag == "meta" and given.get("http-equiv", "").lower() == "refresh"
        if tag in _TAGS or "srcset" in given or foreign or refresh or any(map(_STYLES.search, given.values())):
            self.found.append(self.get_starttag_text())

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.found += _STYLES.findall(data)
