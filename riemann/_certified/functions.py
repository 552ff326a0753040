"""The functions of the bridge and their derivatives over balls: SymPy's expressions, evaluated node by node.

No constant is rounded on the way: rationals and pi stay what they are until FLINT, or the tensors, enclose them.
"""

import functools
import operator
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import sympy as sp

from riemann.bridge._functions import FUNCTIONS, Inexpressible, X
from riemann.symbolic._taylor import terms


class Step(NamedTuple):
    """One node: a function of SymPy, the places of its arguments, or a number."""

    node: sp.Basic
    arguments: tuple[int, ...]


class Expressions:
    """Some expressions in some symbols as the list of their distinct nodes."""

    def __init__(self, expressions: Iterable[sp.Expr], *symbols: sp.Symbol):
        self.steps: list[Step] = []
        self._places: dict[sp.Basic, int] = {}
        self._symbols = symbols
        self.results = [self._place(e) for e in expressions]

    def _place(self, e: sp.Basic) -> int:
        if e not in self._places:
            kept = () if e.is_number or e.is_Symbol else e.args
            arguments = tuple(map(self._place, kept))
            self._places[e] = len(self.steps)
            self.steps.append(Step(e, arguments))
        return self._places[e]

    def at(self, numbers: "Numbers", *x: Any) -> list[Any]:
        """Their values where the symbols are the balls x."""
        values: list[Any] = []
        known = dict(zip(self._symbols, x, strict=True))
        for node, arguments in self.steps:
            given = [values[k] for k in arguments]
            if node in known:
                values.append(known[node])
            elif node.is_Symbol:
                raise Inexpressible(f"holds the symbol {node}, which has no value")
            else:
                values.append(constant(node, numbers) if node.is_number else _applied(node, given, numbers))
        return [values[k] for k in self.results]


class Numbers(Protocol):
    """Balls of one kind, which have `+` and `*`."""

    def rational(self, p: int, q: int) -> Any:
        """The ball of p / q."""

    def pi(self) -> Any:
        """The ball of pi."""

    def euler(self) -> Any:
        """The ball of Euler's constant."""

    def power(self, x: Any, k: int) -> Any:
        """x^k."""

    def function(self, name: str, x: Any, order: int | None = None) -> Any:
        """A function by SymPy's name; `order` is the first argument where there are two."""


@functools.cache
def series(name: str, order: int) -> Expressions:
    """f^(k) / k! of a function of the table, k = 0 … order."""
    return Expressions(terms(FUNCTIONS[name], X, order), X)


def constant(e: sp.Expr, numbers: Numbers) -> Any:
    """The ball of a number of SymPy."""
    if e.is_Rational:
        return numbers.rational(int(e.p), int(e.q))
    if e == sp.pi:
        return numbers.pi()
    if e == sp.EulerGamma:
        return numbers.euler()
    if e == sp.E:
        return numbers.function("exp", numbers.rational(1, 1))
    if not e.args:
        raise Inexpressible(f"holds the number {e}, which has no enclosure")
    return _applied(e, [constant(a, numbers) for a in e.args], numbers)


def _applied(node: sp.Basic, given: list[Any], numbers: Numbers) -> Any:
    if isinstance(node, sp.Add):
        return functools.reduce(operator.add, given)
    if isinstance(node, sp.Mul):
        return functools.reduce(operator.mul, given)
    if isinstance(node, sp.Pow):
        return _power(node, given, numbers)
    if not isinstance(node, sp.Function) or len(given) > 1 and not node.args[0].is_Integer:
        raise Inexpressible(f"holds `{type(node).__name__}`, which has no enclosure")
    order = int(node.args[0]) if len(given) == 2 else None
    return numbers.function(type(node).__name__, given[-1], order)


def _power(node: sp.Pow, given: list[Any], numbers: Numbers) -> Any:
    base, exponent = node.args
    if base == sp.E:
        return numbers.function("exp", given[1])
    if exponent.is_Integer:
        return numbers.power(given[0], int(exponent))
    if exponent.is_Rational and exponent.q == 2:
        return numbers.power(numbers.function("sqrt", given[0]), int(exponent.p))
    return numbers.function("exp", numbers.function("log", given[0]) * given[1])
