"""Formulas are found where Jupyter finds them, code is left alone, and what cannot be set is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvf20.submission.formulas import mathml, normalised, replace


def found(markdown):
    formulas = []
    replace(markdown, lambda formula, display: formulas.append((formula, display)) or "")
    return formulas


@pytest.mark.parametrize(
    ("markdown", "formulas"),
    [
        ("the sum $a_i + b$ is", [("a_i + b", False)]),
        ("($x$), $y$.", [("x", False), ("y", False)]),
        ("$$\n\\sum_i p_i\n$$", [("\\sum_i p_i", True)]),
        ("\\begin{align}a &= b\\end{align}", [("\\begin{aligned}a &= b\\end{aligned}", True)]),
        ("\\begin{equation*}a\\end{equation*}", [("a", True)]),
        ("$a$ `$b$` ``$c` $d$``", [("a", False)]),
        ("```python\nf'{$x$}'\n```\n$y$", [("y", False)]),
        ("~~~\n$x$\n~~~", []),
        ("5 $ or 6 $", []),
        ("from $5 to US$6", []),
        ("\\$x\\$", []),
        ("$20 and $30", []),
        ("a `tick $x$ without an end", [("x", False)]),
    ],
)
def test_formulas_in_markdown(markdown, formulas):
    assert found(markdown) == formulas


@given(st.text(alphabet="ab $`\\\n~{}", max_size=40))
def test_putting_back_what_was_found_changes_nothing_more(markdown):
    once = normalised(markdown)
    assert normalised(once) == once
    assert found(once) == found(markdown)


def test_mathml_of_each_formula():
    wanted = [("a < b", False), (r"\frac{1}{2}", True), ("a < b", False)]
    sets = mathml(wanted)
    assert set(sets) == set(wanted)
    assert "&lt;" in sets["a < b", False] and "<mfrac>" in sets[r"\frac{1}{2}", True]
    assert 'display="block"' in sets[r"\frac{1}{2}", True] and mathml([]) == {}


def test_formula_that_cannot_be_set_is_named():
    with pytest.raises(ValueError, match=r"frac\{a"):
        mathml([("a", False), (r"\frac{a", False)])
