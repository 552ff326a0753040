"""Mathematics of a page becomes MathML while the site is built: no script draws it, and nothing is loaded for it."""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What pymdownx.arithmatex leaves of $…$ and $$…$$.
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)

# What TeX sets in another way than the library: nabla and partial are no operators, nabla and capital Greek letters are
# upright, bars and slashes have no space around them.
TIDIED = (
    (re.compile(r"<mo>(&#x02207;)</mo>|<mi>(&#x003(?:9[1-9A-F]|A[0-9]);)</mi>"), r'<mi mathvariant="normal">\1\2</mi>'),
    (re.compile(r"<mo>(&#x02202;)</mo>"), r"<mi>\1</mi>"),
    (
        re.compile(r'<mo(?: stretchy="false")?>(&#x0007C;|&#x0002F;)</mo>'),
        r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>',
    ),
)


def mathml(latex: str, display: str = "inline") -> str:
    """The formula as MathML. A command that the library does not know would be left as it is: that is an error."""
    result = convert(latex, display=display)
    if unknown := re.search(r"\\[A-Za-z]+", result):
        raise PluginError(f"{unknown[0]} of the formula ${latex}$ has no MathML; write it in another way")
    for found, tidy in TIDIED:
        result = found.sub(tidy, result)
    return result


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Called by mkdocs with the HTML of each page, before search reads it."""

    def drawn(match: re.Match[str]) -> str:
        tag, opening, latex = match.groups()
        return (
            f'<{tag} class="arithmatex">{mathml(html.unescape(latex), "block" if opening == "[" else "inline")}</{tag}>'
        )

    return FORMULA.sub(drawn, content)
