"""Tables of reports for notebooks."""

from collections.abc import Iterable, Sequence
from html import escape

_RED = ' style="color: #b00020"'


def table(head: Sequence[str], rows: Iterable[tuple[bool, Sequence[str]]], above: str = "", below: str = "") -> str:
    """Rows, each with whether all is well in it, under a head, between two lines of text."""
    lines = [f"<p>{escape(above)}</p>"] if above else []
    lines.append("<table><thead><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr></thead><tbody>")
    for well, row in rows:
        cells = "".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in row)
        lines.append(f"<tr{'' if well else _RED}><td>{'ok' if well else 'FAIL'}</td>{cells}</tr>")
    lines.append("</tbody></table>")
    return "\n".join((*lines, *(f"<p>{escape(text)}</p>" for text in below.splitlines())))
