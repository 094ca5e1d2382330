"""The page stands alone: no script, no address that a browser would fetch; formulas, tables and pictures are in it."""

import base64
from html.parser import HTMLParser

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from submission.projects import png, stream

from cvf20.submission.page import page

PICTURE = base64.b64encode(png([0, 255])).decode()
FETCHES = {("img", "src"), ("link", "href"), ("script", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def notebook():
    outputs = [
        new_output("display_data", data={"text/markdown": "| a | $b^2$ |\n|---|---|\n| 1 | 2 |"}),
        new_output("display_data", data={"image/png": PICTURE}, metadata={"image/png": {"alt": 'two "pixels"'}}),
        stream("1 < 2 <script>alert(1)</script>\n"),
    ]
    source = "text = '<img src=\"https://example.org/x.png\"> $x$'"
    cells = [
        new_markdown_cell(
            '<a id="03-C6" name="03-C6"></a>\n\n## C6 · Net\n\n$$\\sum_i x_i$$ and [a link](https://a.org)'
        ),
        new_code_cell(source, outputs=outputs, execution_count=1),
    ]
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place}"
    return new_notebook(cells=cells)


def test_nothing_is_loaded_and_everything_is_there():
    text = page(notebook(), "Title <1>")
    parsed = Tags(text)
    assert not parsed.of("script") and not parsed.of("link")
    fetched = [attributes[key] for tag, attributes in parsed.tags for key in attributes if (tag, key) in FETCHES]
    assert fetched == [f"data:image/png;base64,{PICTURE}"]
    assert "@import" not in text and "url(" not in text and "mathjax" not in text.lower()
    assert "<title>Title &lt;1&gt;</title>" in text and "FORMULA" not in text
    assert len(parsed.of("math")) == 2 and "<munder>" in text
    assert parsed.of("img")[0]["alt"] == 'two "pixels"'
    assert '<figcaption>two "pixels"</figcaption>' in text
    assert {"id": "03-C6", "name": "03-C6"} in parsed.of("a")
    assert "&lt;script&gt;" in text and "$x$" in text  # output and code are text
    assert '<div class="wide"><table>' in text


def test_same_notebook_same_page():
    assert page(notebook(), "T") == page(notebook(), "T")


@pytest.mark.parametrize(
    "html",
    [
        '<img alt="x" src="https://example.org/x.png">',
        "<img src=figures/x.png>",
        "<script>alert(1)</script>",
        '<link rel="stylesheet" href="x.css">',
        "<style>@import 'x.css';</style>",
        '<p style="background: url(x.png)">a</p>',
        '<img srcset="https://example.org/x.png 2x">',
        '<img src="data:," srcset="data:, 1x, https://example.org/x.png 2x">',
        '<video poster="https://example.org/x.png"></video>',
        '<table background="https://example.org/x.png"></table>',
        '<svg><image href="https://example.org/x.png"/></svg>',
        '<svg><use xlink:href="x.svg#a"/></svg>',
        '<meta http-equiv="refresh" content="0; url=https://example.org">',
        '<pre><img src="https://example.org/x.png"></pre>',
        '<code><b style="background: url(x.png)">a</b></code>',
    ],
)
@pytest.mark.parametrize("place", ["markdown", "output"])
def test_what_would_be_loaded_is_refused(html, place):
    nb = notebook()
    if place == "markdown":
        nb.cells[0].source = html
    else:
        nb.cells[1].outputs = [new_output("display_data", data={"text/html": html})]
    with pytest.raises(ValueError, match="would load"):
        page(nb, "T")


def test_what_is_in_the_page_and_what_is_only_text_may_stay():
    nb = notebook()
    drawn = '<svg><a href="https://a.org"><path clip-path="url(#p)"></path></a><use xlink:href="#q"></use></svg>'
    nb.cells[1].outputs = [new_output("display_data", data={"text/html": drawn}), stream("@import url(a)")]
    nb.cells[0].source = "The rule `@import 'a.css'` and url(a.png), `<img src=a.png>`"
    text = page(nb, "T")
    assert drawn in text and "@import url(a)" in text and "url(a.png)" in text
