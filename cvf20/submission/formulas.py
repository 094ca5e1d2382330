"""TeX formulas in Markdown: where they are, and as MathML, which browsers set without any script."""

import re
from collections.abc import Callable, Iterable

# Code first: a dollar in it is no formula. Then display formulas, bare environments, and formulas in a line.
_TEX = re.compile(
    r"(?P<code>^[ \t]*(?P<fence>```+|~~~+).*?(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)"
    r"|(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\n).)*?(?<!`)(?P=ticks)(?!`))"
    r"|\\\$"
    r"|\$\$(?P<display>(?:(?!\n\n).)+?)\$\$"
    r"|(?P<environment>\\begin\{(?P<name>(?:align|equation|gather)\*?)\}.*?\\end\{(?P=name)\})"
    r"|(?<!\w)\$(?P<inline>(?!\s)(?:\\\$|[^$`\n]|\n(?!\n))+?(?<!\s))\$(?!\d)",
    re.MULTILINE | re.DOTALL,
)
_ALIGNED = re.compile(r"\\(begin|end)\{(align|gather)\*?\}")


def replace(markdown: str, put: Callable[[str, bool], str]) -> str:
    """The Markdown with put(formula, display) in place of every formula; code stays untouched."""

    def one(match: re.Match) -> str:
        if match["inline"]:
            return put(match["inline"], False)
        if formula := match["display"] or match["environment"]:
            formula = re.sub(r"\\(begin|end)\{equation\*?\}", "", formula)
            return put(_ALIGNED.sub(r"\\\1{\2ed}", formula).strip(), True)
        return match[0]

    return _TEX.sub(one, markdown)


def normalised(markdown: str) -> str:
    """Every formula between dollars, bare environments too."""
    return replace(markdown, lambda formula, display: f"$${formula}$$" if display else f"${formula}$")


def mathml(formulas: Iterable[tuple[str, bool]]) -> dict[tuple[str, bool], str]:
    """(formula, display) → <math>…</math>. Raises ValueError with the formula that cannot be set."""
    wanted = sorted(set(formulas))
    if not wanted:
        return {}
    import pypandoc

    text = "\n\n".join(f"$${formula}$$" if display else f"${formula}$" for formula, display in wanted)
    html = pypandoc.convert_text(text, "html", format="markdown", extra_args=["--mathml", "--wrap=none"])
    found = re.findall(r"<p>(.*?)</p>", html, re.DOTALL)
    for formula, result in zip(wanted, found, strict=True):
        if not re.fullmatch(r"<math.*</math>", result, re.DOTALL):
            raise ValueError(f"formula: found {formula[0]!r}, which cannot be set; wanted TeX as in amsmath")
    return dict(zip(wanted, found, strict=True))
