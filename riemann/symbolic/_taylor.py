"""Truncated power series in several variables, in mpmath: derivatives at a point to any number of digits.

A number is either a constant of the context or a `Taylor`, whose coefficients stand in one list by ascending degree,
so that a series of lower order is a prefix.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import sympy as sp


class Space:
    """The monomials in n variables up to a degree, in ascending degree, and how they multiply."""

    def __init__(self, n: int, degree: int):
        self.exponents = sorted(
            (a for a in itertools.product(range(degree + 1), repeat=n) if sum(a) <= degree),
            key=lambda a: (sum(a), [-e for e in a]),
        )
        place = {a: k for k, a in enumerate(self.exponents)}
        self.sizes = [sum(sum(a) <= d for a in self.exponents) for d in range(degree + 1)]
        self.factors: list[list[tuple[int, int]]] = [[] for _ in self.exponents]
        for (i, a), (j, b) in itertools.product(enumerate(self.exponents), repeat=2):
            if sum(a) + sum(b) <= degree:
                self.factors[place[tuple(map(int.__add__, a, b))]].append((i, j))
        unit = [tuple(int(i == k) for i in range(n)) for k in range(n)]
        self.variables = [place[e] for e in unit] if degree else []
        raised = [[(place.get(tuple(map(int.__add__, a, e))), a[k] + 1) for a in self.exponents]
                  for k, e in enumerate(unit)]  # fmt: skip
        self.raised = [[(i, factor) for i, factor in row if i is not None] for row in raised]


@functools.cache
def space(n: int, degree: int) -> Space:
    """The one space of its kind."""
    return Space(n, degree)


class Taylor:
    """A power series known up to `order`, 0 for the coefficients that are not there; a factor or term may be a number.

    Args:
        c: coefficients of the monomials of `space` up to `order`.
        order: the degree up to which they are known.
        space: the monomials.
    """

    __slots__ = ("c", "order", "space")

    def __init__(self, c: list[Any], order: int, space: Space):
        self.c, self.order, self.space = c, order, space

    def __bool__(self) -> bool:
        return any(self.c)

    def __neg__(self) -> "Taylor":
        return Taylor([-a for a in self.c], self.order, self.space)

    def __add__(self, other: Any) -> "Taylor":
        if not isinstance(other, Taylor):
            return Taylor([self.c[0] + other, *self.c[1:]], self.order, self.space)
        pairs = zip(self.c, other.c, strict=False)  # to the shorter one: the lower order
        return Taylor([a + b if a else b for a, b in pairs], min(self.order, other.order), self.space)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Taylor":
        return self + -other

    def __rsub__(self, other: Any) -> "Taylor":
        return -self + other

    def __mul__(self, other: Any) -> "Taylor":
        if not isinstance(other, Taylor):
            return Taylor([a * other if a else a for a in self.c], self.order, self.space)
        x, y, order = self.c, other.c, min(self.order, other.order)
        product = []
        for pairs in self.space.factors[: self.space.sizes[order]]:
            total: Any = 0
            for i, j in pairs:
                if (a := x[i]) and (b := y[j]):
                    total = total + a * b if total else a * b
            product.append(total)
        return Taylor(product, order, self.space)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Taylor":
        return self * (other.reciprocal() if isinstance(other, Taylor) else 1 / other)

    def __rtruediv__(self, other: Any) -> "Taylor":
        return self.reciprocal() * other

    def reciprocal(self) -> "Taylor":
        """1 / self; a ZeroDivisionError where the value is 0."""
        inverse = 1 / self.c[0]
        powers = [inverse]
        for _ in range(self.order):
            powers.append(-powers[-1] * inverse)
        return self.composed(powers)

    def composed(self, derivatives: list[Any]) -> "Taylor":
        """A function f of this series, from f^(k) / k! at its value, k = 0 … order."""
        rest = Taylor([0, *self.c[1:]], self.order, self.space)
        constant = Taylor([derivatives[-1], *[0] * (len(self.c) - 1)], self.order, self.space)
        return functools.reduce(lambda y, d: y * rest + d, reversed(derivatives[:-1]), constant)

    def truncated(self, order: int) -> "Taylor":
        """The series up to an order that is no higher than its own."""
        return Taylor(self.c[: self.space.sizes[order]], order, self.space)

    def derivative(self, k: int) -> "Taylor":
        """The derivative by variable k: one order less."""
        size = self.space.sizes[self.order - 1]
        return Taylor([self.c[i] * factor for i, factor in self.space.raised[k][:size]], self.order - 1, self.space)


class Series:
    """Arithmetic of Taylor numbers at one point, for the textbook.

    Args:
        n: number of variables.
        order: highest derivative that is known.
        digits: precision of results; ten more are carried.
    """

    def __init__(self, n: int, order: int, digits: int):
        self.n, self.order, self.digits = n, order, digits
        self.space = space(n, order)
        self.context = mpmath.MPContext()  # its numbers keep its precision, whatever the caller's is
        self.context.dps = digits + 10

    def series(self, coefficients: dict[tuple[int, ...], Any]) -> Taylor:
        """The series with these coefficients, by exponents."""
        zero = self.context.zero
        return Taylor([coefficients.get(a, zero) for a in self.space.exponents], self.order, self.space)

    def constant(self, value: Any) -> Taylor:
        """The constant series."""
        zero = self.context.zero
        return Taylor([self.context.mpf(value), *[zero] * (len(self.space.exponents) - 1)], self.order, self.space)

    def without_derivatives(self, value: Any) -> Taylor:
        """A value at a kink: derivatives are NaN."""
        return Taylor([value, *[self.context.nan] * (len(self.space.exponents) - 1)], self.order, self.space)

    def variable(self, k: int, value: Any) -> Taylor:
        """Coordinate k, at its value."""
        x = self.constant(value)
        if self.order:
            x.c[self.space.variables[k]] = self.context.one
        return x

    def number(self, expression: Any) -> Any:
        """The number of the context that a SymPy number stands for."""
        return sp.N(expression, self.context.dps)._to_mpmath(self.context.prec)

    # ------------------------------------------------------------------------------------- what the textbook asks for

    def element(self, expression: Any) -> Taylor:
        """A constant."""
        return self.constant(self.number(sp.sympify(expression)))

    def expression(self, element: Taylor) -> sp.Expr:
        """The value at the point."""
        return sp.Float(element.c[0], self.digits)

    def root_of_absolute(self, element: Taylor) -> sp.Expr:
        """The square root of the absolute value."""
        return sp.sqrt(sp.Abs(self.expression(element)))

    def sum(self, terms: Iterable[Taylor]) -> Taylor:
        """The sum."""
        return functools.reduce(Taylor.__add__, terms, self.constant(0))

    def derivative(self, element: Taylor, k: int) -> Taylor:
        """The derivative by coordinate k: one order less."""
        return element.derivative(k)

    def shortened(self, element: Taylor) -> Taylor:
        """The series to one order less."""
        return element.truncated(element.order - 1) if element.order else element

    def determinant(self, matrix: list[list[Any]]) -> Any:
        """The determinant: the pivot of the first row times the determinant of the rest; expanded where it is 0."""
        if len(matrix) == 1:
            return matrix[0][0]
        if value(pivot := matrix[0][0]):
            first, scale = matrix[0], 1 / pivot
            rest = [[e - row[0] * scale * f for e, f in zip(row[1:], first[1:], strict=True)] for row in matrix[1:]]
            return pivot * self.determinant(rest)
        minors = ([row[:j] + row[j + 1 :] for row in matrix[1:]] for j in range(len(matrix)))
        signed = zip(itertools.cycle((1, -1)), matrix[0], minors, strict=False)
        return self.sum(sign * entry * self.determinant(minor) for sign, entry, minor in signed if entry)

    def inverse(self, matrix: list[list[Any]]) -> list[list[Any]]:
        """The inverse, by Gauss-Jordan elimination with pivoting; a ValueError if there is none."""
        n = len(matrix)
        one, zero = self.constant(1), self.constant(0)
        rows = [[*matrix[i], *(one if i == j else zero for j in range(n))] for i in range(n)]
        for j in range(n):
            pivot = max(range(j, n), key=lambda i: abs(value(rows[i][j])))
            rows[j], rows[pivot] = rows[pivot], rows[j]
            if not value(rows[j][j]):
                raise ValueError("the metric is singular at this point")
            scale = 1 / rows[j][j]
            rows[j] = [entry * scale if entry else entry for entry in rows[j]]
            for i in range(n):
                if i != j and (factor := rows[i][j]):
                    rows[i] = [a - factor * b if b else a for a, b in zip(rows[i], rows[j], strict=True)]
        return [row[n:] for row in rows]


def value(x: Any) -> Any:
    """The number, or the value of the series at the point."""
    return x.c[0] if isinstance(x, Taylor) else x


def terms(f: sp.Expr, x: sp.Symbol, order: int) -> list[sp.Expr]:
    """f^(k) / k! of an expression in one symbol, k = 0 … order, where it is differentiable."""
    found = [sp.diff(f, x, k) / sp.factorial(k) for k in range(order + 1)]
    return [t.replace(sp.DiracDelta, lambda *_: sp.S.Zero).replace(sp.sign, lambda y: y / sp.Abs(y)) for t in found]


def derivatives(f: sp.Expr, x: sp.Symbol, order: int, context: Any) -> Callable[[Any], list[Any]]:
    """`terms` as a function of numbers of an mpmath context."""
    names = {name: getattr(context, name) for name in dir(context) if not name.startswith("_")}
    return sp.lambdify(x, terms(f, x, order), [names, "mpmath"], cse=True)
