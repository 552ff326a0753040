"""What the build of the site adds to pages: MathML, outputs of code; and what its first page claims."""

import math
import re
from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError

from docs.website.mathematics import mathml, on_page_content
from docs.website.outputs import run

DOCS = Path(__file__).parent.parent / "docs"


def test_formulas_are_mathml():
    page = on_page_content(r'<p>a <span class="arithmatex">\(a &lt; \tfrac12\)</span></p>', None)
    assert "<math" in page and "<mfrac>" in page and "\\" not in page
    assert 'display="block"' in on_page_content('<div class="arithmatex">\\[\nx\n\\]</div>', None)


@pytest.mark.parametrize("letter, upright", [(r"\Gamma", "&#x00393;"), (r"\nabla", "&#x02207;")])
def test_letters_that_tex_sets_upright(letter, upright):
    assert f'<mi mathvariant="normal">{upright}</mi>' in mathml(rf"{letter}_k")


def test_a_command_without_mathml_is_an_error():
    with pytest.raises(PluginError, match="nonesuch"):
        mathml(r"\nonesuch x")


def test_what_code_prints_and_draws():
    block = "```python\n{}\n```\n"
    text = block.format("a = 2\nprint(a)") + "and\n" + block.format("import matplotlib.pyplot as plt\nplt.plot([a, 3])")
    (first, no_pictures), (second, pictures) = run(text, "page")
    assert first == "2\n" and not no_pictures and second == ""
    assert len(pictures) == 1 and pictures[0].startswith(b"\x89PNG")


def test_the_number_of_the_landing_page_is_that_of_the_accuracy_page():
    accuracy, landing = (DOCS / "accuracy.md").read_text(), (DOCS / "index.md").read_text()
    measured = re.search(r"float64, .* over (\d+) spaces: .*scalar [\d.]+ and (\d+\.\d+)", accuracy)
    claimed = re.search(r"<strong>(\d) × 10⁻¹⁶</strong>\n.*over the (\d+) spaces", landing)
    assert measured and claimed, "docs/index.md and docs/accuracy.md are to name the same number"
    assert claimed[2] == measured[1]
    assert int(claimed[1]) == math.ceil(float(measured[2]) * 2**-52 * 1e16)
