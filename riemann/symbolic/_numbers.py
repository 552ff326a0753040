"""Taylor numbers at a point, in mpmath: the textbook over them gives curvature to any number of digits."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import mpmath
import sympy as sp

from riemann.symbolic._undetermined import stand_ins


class Taylor:
    """A truncated power series in n variables: coefficients by multi-index, known up to `order`."""

    __slots__ = ("coefficients", "order")

    def __init__(self, coefficients: dict[tuple[int, ...], Any], order: int):
        self.coefficients = coefficients
        self.order = order

    def __bool__(self) -> bool:
        return any(self.coefficients.values())

    def __neg__(self) -> "Taylor":
        return Taylor({a: -c for a, c in self.coefficients.items()}, self.order)

    def __add__(self, other: "Taylor") -> "Taylor":
        order = min(self.order, other.order)
        total = {a: c for a, c in self.coefficients.items() if sum(a) <= order}
        for a, c in other.coefficients.items():
            if sum(a) <= order:
                total[a] = total[a] + c if a in total else c
        return Taylor(total, order)

    def __sub__(self, other: "Taylor") -> "Taylor":
        return self + -other

    def __mul__(self, other: Any) -> "Taylor":
        if not isinstance(other, Taylor):
            return Taylor({a: c * other for a, c in self.coefficients.items()}, self.order)
        order = min(self.order, other.order)
        product: dict[tuple[int, ...], Any] = {}
        for a, c in self.coefficients.items():
            room = order - sum(a)
            for b, d in other.coefficients.items():
                if sum(b) <= room:
                    key = tuple(map(int.__add__, a, b))
                    product[key] = product[key] + c * d if key in product else c * d
        return Taylor(product, order)

    __rmul__ = __mul__

    def __truediv__(self, other: "Taylor") -> "Taylor":
        """By the geometric series of 1 / (c0 + rest)."""
        zero = (0,) * len(next(iter(other.coefficients)))
        c0 = other.coefficients[zero]
        rest = Taylor({a: -c / c0 for a, c in other.coefficients.items() if a != zero}, other.order)
        inverse = one = Taylor({zero: c0 / c0}, other.order)
        for _ in range(min(self.order, other.order) if rest else 0):
            inverse = one + rest * inverse
        return self * inverse * (1 / c0)


class Numbers:
    """Arithmetic of Taylor numbers at one point.

    Undetermined functions and their derivatives are values of their own: what holds for them formally holds for any.

    Args:
        matrix: the metric.
        coordinates: its coordinates.
        values: numbers for every symbol.
        digits: working precision.
        order: of the Taylor numbers.
    """

    def __init__(
        self,
        matrix: sp.ImmutableMatrix,
        coordinates: Sequence[sp.Symbol],
        values: Mapping[Any, sp.Expr],
        digits: int,
        order: int,
    ):
        self.digits, self.order, self.n = digits, order, len(coordinates)
        self._context = mpmath.MPContext()  # its numbers keep its precision, whatever the caller's is
        self._context.dps = digits + 10
        symbols = tuple(values)
        function, places = _compiled(matrix, tuple(coordinates), symbols, order)
        with mpmath.workdps(self._context.dps):
            results = function(*(self._number(values[s]) for s in symbols))
        if any(isinstance(result, mpmath.mpc) for result in results):
            raise ValueError(f"the metric is not real at {dict(values)}")
        numbers = map(self._context.mpf, results)
        series = {
            pair: Taylor({a: next(numbers) for a in indices} or self._constant(0), order)
            for pair, indices in places.items()
        }
        self.metric = [[series[min(i, j), max(i, j)] for j in range(self.n)] for i in range(self.n)]

    def _constant(self, value: Any) -> dict[tuple[int, ...], Any]:
        return {(0,) * self.n: self._context.mpf(value)}

    def _number(self, value: Any) -> Any:
        return sp.N(value, self._context.dps)._to_mpmath(self._context.prec)

    def element(self, expression: Any) -> Taylor:
        """A constant."""
        return Taylor(self._constant(self._number(expression)), self.order)

    def expression(self, element: Taylor) -> sp.Float:
        """The value at the point."""
        return sp.Float(element.coefficients.get((0,) * self.n, 0), self.digits)

    def root_of_absolute(self, element: Taylor) -> sp.Expr:
        """The square root of the absolute value."""
        return sp.sqrt(sp.Abs(self.expression(element)))

    def sum(self, terms: Iterable[Taylor]) -> Taylor:
        """The sum."""
        return functools.reduce(Taylor.__add__, terms, Taylor(self._constant(0), self.order))

    def derivative(self, element: Taylor, k: int) -> Taylor:
        """The derivative by coordinate k: one order less."""
        lowered = {(*a[:k], a[k] - 1, *a[k + 1 :]): c * a[k] for a, c in element.coefficients.items() if a[k]}
        return Taylor(lowered or self._constant(0), element.order - 1)

    def determinant(self, matrix: list[list[Taylor]]) -> Taylor:
        """The determinant, by expansion along the first row."""
        if len(matrix) == 1:
            return matrix[0][0]
        minors = ([row[:j] + row[j + 1 :] for row in matrix[1:]] for j in range(len(matrix)))
        signed = zip(itertools.cycle((1, -1)), matrix[0], minors, strict=False)
        return self.sum(sign * entry * self.determinant(minor) for sign, entry, minor in signed if entry)

    def inverse(self, matrix: list[list[Taylor]]) -> list[list[Taylor]]:
        """The inverse, by Gauss-Jordan elimination with pivoting; a ValueError if there is none."""
        n = len(matrix)
        one, zero = Taylor(self._constant(1), self.order), Taylor(self._constant(0), self.order)
        rows = [[*matrix[i], *(one if i == j else zero for j in range(n))] for i in range(n)]
        for j in range(n):
            pivot = max(range(j, n), key=lambda i: abs(rows[i][j].coefficients.get((0,) * self.n, 0)))
            rows[j], rows[pivot] = rows[pivot], rows[j]
            if not rows[j][j].coefficients.get((0,) * self.n, 0):
                raise ValueError("the metric is singular at this point")
            rows[j] = [entry / rows[j][j] if entry else entry for entry in rows[j]]
            for i in range(n):
                if i != j and (factor := rows[i][j]):
                    rows[i] = [a - factor * b if b else a for a, b in zip(rows[i], rows[j], strict=True)]
        return [row[n:] for row in rows]


@functools.lru_cache(maxsize=64)
def _compiled(
    matrix: sp.ImmutableMatrix, coordinates: tuple[sp.Symbol, ...], symbols: tuple[sp.Symbol, ...], order: int
) -> tuple[Callable[..., list[Any]], dict[tuple[int, int], list[tuple[int, ...]]]]:
    """The Taylor coefficients of the entries as one function of numbers, and which entry and index each belongs to."""
    n = len(coordinates)
    real = {s: sp.Symbol(s.name, real=True, positive=s.is_positive) for s in (*symbols, *coordinates)}
    matrix, coordinates = matrix.xreplace(real), tuple(real[s] for s in coordinates)
    symbols = tuple(real[s] for s in symbols)
    indices = [a for a in itertools.product(range(order + 1), repeat=n) if sum(a) <= order]
    places, flat = {}, []
    for i, j in itertools.combinations_with_replacement(range(n), 2):
        known = {indices[0]: sp.sympify(matrix[i, j])}
        for a in indices[1:]:
            k = next(k for k in range(n) if a[k])
            known[a] = sp.diff(known[(*a[:k], a[k] - 1, *a[k + 1 :])], coordinates[k])
        known = {a: d.replace(sp.DiracDelta, lambda *_: sp.S.Zero) for a, d in known.items()}  # of |x|, off its kink
        places[i, j] = [a for a in indices if known[a] != 0]
        flat += [known[a] / math.prod(map(math.factorial, a)) for a in places[i, j]]
    values = stand_ins(flat)
    names = {atom: sp.Symbol(f"_{k}") for k, atom in enumerate(values)}
    function = sp.lambdify([*symbols, *names.values()], [e.xreplace(names) for e in flat], "mpmath", cse=True)

    def evaluated(*numbers: Any) -> list[Any]:
        return function(*numbers, *(mpmath.mpf(v.p) / v.q for v in values.values()))

    return evaluated, places
