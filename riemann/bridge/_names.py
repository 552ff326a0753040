"""Names of coordinates and parameters as symbols."""

from collections.abc import Iterable
from typing import Any

import sympy as sp

from riemann._points.checks import check_count

Names = str | Iterable[str | sp.Symbol]


def numbered(dim: int) -> tuple[sp.Symbol, ...]:
    """x0, x1, …."""
    return tuple(sp.Symbol(f"x{k}") for k in range(dim))


def symbols_of(names: Names) -> tuple[sp.Symbol, ...]:
    """Of names in one string, or of names and symbols."""
    names = names.replace(",", " ").split() if isinstance(names, str) else names
    return tuple(sp.Symbol(name) if isinstance(name, str) else name for name in names)


def coordinates_of(given: Any) -> tuple[sp.Symbol, ...]:
    """Of names, or of a number of them; raises where it is neither."""
    if isinstance(given, int):
        check_count("dim_or_coordinates", given, 1)
        return numbered(given)
    wanted = "expected a whole number, or names as in `'r phi'`"
    if not isinstance(given, Iterable):
        raise TypeError(f"`dim_or_coordinates` is a {type(given).__name__}, {wanted}")
    symbols = symbols_of(given)
    if not symbols or not all(isinstance(s, sp.Symbol) and not s.name[:1].isdecimal() for s in symbols):
        raise ValueError(f"`dim_or_coordinates` is {given!r}, {wanted}")
    return symbols
