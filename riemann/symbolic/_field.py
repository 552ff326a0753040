r"""A differential field: rational functions of generators, some of them algebraic, each with its own derivative.

An element is $N / (s \prod f_i^{e_i})$: $N$ an integer polynomial reduced by the relations $w^m = p$ of the algebraic
generators, $s$ an integer, the $f_i$ distinct irreducible polynomials free of algebraic generators. Cancelling is trial
division by the known $f_i$; no greatest common divisor is ever taken, and an element is 0 exactly if $N$ is.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import sympy as sp

from riemann.symbolic._polynomials import (
    BITS,
    MASK,
    Poly,
    add,
    content,
    exponents,
    factors,
    generators,
    multiply,
    partial,
    quotient,
    scaled,
)


class Inexpressible(Exception):
    """What the field has no element for; the message names it."""


class Element:
    """An element: numerator, the exponents of the field's factors in the denominator (packed), its integer factor."""

    __slots__ = ("below", "field", "scale", "top")

    def __init__(self, field: "Field", top: Poly, below: int = 0, scale: int = 1):
        self.field, self.top, self.below, self.scale = field, top, below, scale

    def __bool__(self) -> bool:
        return bool(self.top)

    def __neg__(self) -> "Element":
        return self * -1

    def __add__(self, other: "Element") -> "Element":
        return self.field.sum((self, other))

    def __sub__(self, other: "Element") -> "Element":
        return self.field.sum((self, -other))

    def __mul__(self, other: Any) -> "Element":
        """The product; common factors stay until the next sum."""
        if isinstance(other, int):
            return Element(self.field, scaled(self.top, other) if other else {}, self.below, self.scale)
        if len(self.top) * len(other.top) > self.field.largest:
            raise Inexpressible(f"a product of {len(self.top)} and {len(other.top)} terms")
        top = self.field.reduced(multiply(self.top, other.top))
        return Element(self.field, top, self.below + other.below, self.scale * other.scale)

    __rmul__ = __mul__

    def __truediv__(self, other: "Element") -> "Element":
        return self * self.field.reciprocal(other)

    def __pow__(self, exponent: int) -> "Element":
        base = self if exponent >= 0 else self.field.reciprocal(self)
        power = self.field.constant(1)
        for bit in f"{abs(exponent):b}":
            power = power * power
            if bit == "1":
                power = power * base
        return self.field.sum((power,))


class Generator:
    """A generator: its expression, derivative by coordinate k, values at the witness points, perhaps a relation."""

    def __init__(
        self,
        expression: sp.Expr,
        derivative: Callable[[int], Element],
        values: tuple[Any, ...],
        degree: int = 0,
        relation: Poly | None = None,
        positive: bool = False,
    ):
        self.expression, self.values, self.positive = expression, values, positive
        self.degree, self.relation = degree, relation
        self.derivative = functools.cache(derivative)
        self.sign_of: int | None = None  # the factor whose sign this generator is


class Field:
    """The arithmetic. `evaluate` gives the values of an expression at the witness points."""

    def __init__(self, evaluate: Callable[[sp.Expr], tuple[Any, ...]]):
        self.evaluate = evaluate
        self.generators: list[Generator] = []
        self.algebraic: list[int] = []
        self.factors: list[Poly] = []
        self._index: dict[frozenset, int] = {}
        self._factored: dict[frozenset, tuple[int, int]] = {}
        self._above_linear = 0  # the bits that tell of an algebraic generator's square
        self._dlog: dict[tuple[int, int], Element] = {}
        self.largest = math.inf  # pairs of terms in a product
        self.expanded = functools.cache(self._expanded)
        self.divisors: dict[int, list[Poly]] = {}  # of factors, by algebraic numbers

    # --------------------------------------------------------------------------------------------------- making it

    def constant(self, value: Any) -> Element:
        """A rational number."""
        value = sp.Rational(value)
        return Element(self, {0: int(value.p)} if value else {}, 0, int(value.q))

    def adjoin(self, expression: sp.Expr, derivative: Callable[[int], Element], **options: Any) -> Element:
        """A new generator."""
        i = len(self.generators)
        self.generators.append(Generator(expression, derivative, self.evaluate(expression), **options))
        if self.generators[i].degree:
            self.algebraic.append(i)
            self._above_linear |= (MASK - 1) << BITS * i
        return Element(self, {1 << BITS * i: 1})

    def values(self, a: Element) -> tuple[Any, ...]:
        """The values at the witness points."""
        below = multiply(self.expanded(a.below), {0: a.scale})
        ones = self.evaluate(sp.S.One)  # of all digits: a quotient of two integers has sixteen
        return tuple(self._value(a.top, p) * one / self._value(below, p) for p, one in enumerate(ones))

    def _value(self, p: Poly, point: int) -> Any:
        total = 0
        for m, c in p.items():
            term = c
            for i, e in exponents(m):
                term = term * self._power(i, e, point)
            total = total + term
        return total

    @functools.cached_property
    def _power(self) -> Callable[[int, int, int], Any]:
        return functools.cache(lambda i, e, point: self.generators[i].values[point] ** e)

    # ------------------------------------------------------------------------------------------------------ algebra

    def reduced(self, p: Poly) -> Poly:
        """The polynomial with its high powers of algebraic generators replaced."""
        if not self._above_linear or not any(m & self._above_linear for m in p):
            return p
        for i in reversed(self.algebraic):
            shift, degree = BITS * i, self.generators[i].degree
            parts: dict[int, Poly] = {}
            for m, c in p.items():
                times, rest = divmod(m >> shift & MASK, degree)
                parts.setdefault(times, {})[m - (times * degree << shift)] = c
            if set(parts) != {0}:
                relation = self.generators[i].relation or {}
                p = add(functools.reduce(multiply, [relation] * times, part) for times, part in parts.items())
        return p

    def _expanded(self, below: int) -> Poly:
        """The product of the factors with these exponents."""
        product: Poly = {0: 1}
        for i, e in exponents(below):
            for _ in range(e):
                product = multiply(product, self.factors[i])
        return product

    def sum(self, terms: Iterable[Element]) -> Element:
        """The sum, with common factors cancelled."""
        by_denominator: dict[int, list[Element]] = {}
        for term in terms:
            if term.top:
                by_denominator.setdefault(term.below, []).append(term)
        if not by_denominator:
            return Element(self, {})
        highest: dict[int, int] = {}
        for below in by_denominator:
            for i, e in exponents(below):
                highest[i] = max(e, highest.get(i, 0))
        common = sum(e << BITS * i for i, e in highest.items())
        scale = math.lcm(*(term.scale for group in by_denominator.values() for term in group))
        top = add(
            multiply(add(scaled(term.top, scale // term.scale) for term in group), self.expanded(common - below))
            for below, group in by_denominator.items()
        )
        return self._cancelled(top, common, scale)

    def _cancelled(self, top: Poly, below: int, scale: int) -> Element:
        if not top:
            return Element(self, {})
        for i, e in exponents(below):
            for _ in range(e):
                if (divided := quotient(top, self.factors[i])) is None:
                    break
                top, below = divided, below - (1 << BITS * i)
        if (common := math.gcd(content(top), scale)) > 1:
            top, scale = {m: c // common for m, c in top.items()}, scale // common
        return Element(self, top, below, scale)

    def derivative(self, a: Element, k: int) -> Element:
        """The derivative by coordinate k: chain rule over generators and factors of the denominator."""
        terms = [
            Element(self, partial(a.top, i), a.below, a.scale) * d
            for i in generators(a.top)
            if (d := self.generators[i].derivative(k))
        ]
        terms += [a * d * -e for j, e in exponents(a.below) if (d := self._log_derivative(j, k))]
        return self.sum(terms)

    def _log_derivative(self, j: int, k: int) -> Element:
        if (j, k) not in self._dlog:
            d = self.derivative(Element(self, self.factors[j]), k)
            self._dlog[j, k] = self.sum((Element(self, d.top, d.below + (1 << BITS * j), d.scale),))
        return self._dlog[j, k]

    def factored(self, p: Poly) -> tuple[int, int]:
        """An integer and the exponents of the field's factors (packed) whose product is p, a rational polynomial."""
        key = frozenset(p.items())
        if key not in self._factored:
            powers, rest = 0, p
            for j, f in enumerate(self.factors):
                while (divided := quotient(rest, f)) is not None:
                    rest, powers = divided, powers + (1 << BITS * j)
            if len(rest) ** 2 > 10 * self.largest:
                raise Inexpressible(f"a denominator of {len(rest)} terms")
            constant, found = factors(rest)
            for f, e in found:
                if f[max(f)] < 0:
                    f, constant = scaled(f, -1), constant * (-1) ** e
                powers += e << BITS * self._index.setdefault(frozenset(f.items()), len(self.factors))
                if len(self._index) > len(self.factors):
                    self.factors.append(f)
            self._factored[key] = constant, powers
        return self._factored[key]

    def is_rational(self, p: Poly) -> bool:
        """Whether no algebraic generator occurs."""
        return not set(generators(p)) & set(self.algebraic)

    def is_positive(self, p: Poly) -> bool:
        """Whether p is seen to be nowhere negative: a sum of such terms."""
        even = lambda m: all(e % 2 == 0 or self.generators[i].positive for i, e in exponents(m))
        return all(c > 0 and even(m) for m, c in p.items())

    def without_root(self, p: Poly, i: int) -> Poly | None:
        """p / w for an algebraic generator w with w^2 = q, if that is a polynomial."""
        relation = self.generators[i].relation or {}
        if self.generators[i].degree != 2 or relation.keys() == {0} or not p:
            return None
        return quotient(self.reduced({m + (1 << BITS * i): c for m, c in p.items()}), relation)

    def parts(self, a: Element, i: int) -> list[Element]:
        """The coefficients of the powers of algebraic generator i."""
        shift = BITS * i
        found: list[Poly] = [{} for _ in range(self.generators[i].degree)]
        for m, c in a.top.items():
            e = m >> shift & MASK
            found[e][m - (e << shift)] = c
        return [Element(self, p, a.below, a.scale) for p in found]

    def reciprocal(self, a: Element) -> Element:
        """1 / a: by conjugates until the numerator is rational, which is then factored."""
        if not a.top:
            raise ZeroDivisionError("division by 0")
        top, beside = Element(self, a.top), self.constant(1)
        for i in reversed(self.algebraic):
            if i in generators(top.top):
                conjugate = self._conjugate(top, i)
                top, beside = self.sum((top * conjugate,)), beside * conjugate
                if not top:
                    raise Inexpressible(f"a division by {self.generators[i].expression} +- 1")
        constant, below = self.factored(top.top)
        sign = 1 if constant > 0 else -1
        numerator = multiply(multiply(beside.top, self.expanded(a.below)), {0: sign * a.scale})
        return self._cancelled(numerator, below, abs(constant))

    def split(self, top: Poly) -> None:
        """Remembers that a factor of denominators is divided by an algebraic number, if it is: results read better."""
        for i in self.algebraic:
            while (divided := self.without_root(top, i)) is not None:
                top = divided
        if self.is_rational(top):
            return
        top = {m: c // content(top) for m, c in top.items()}
        norm, beside = Element(self, top), self.constant(1)
        for i in reversed(self.algebraic):
            if i in generators(norm.top):
                conjugate = self._conjugate(norm, i)
                norm, beside = self.sum((norm * conjugate,)), self.sum((beside * conjugate,))
        _, below = self.factored(norm.top)
        if below.bit_count() == 1:
            known = self.divisors.setdefault(exponents(below)[0][0], [])
            known += [p for p in (top, beside.top) if p not in known]

    def _conjugate(self, a: Element, i: int) -> Element:
        """What a is to be multiplied by so that the product is free of algebraic generator i."""
        parts, m = self.parts(a, i), self.generators[i].degree
        relation = Element(self, self.generators[i].relation or {})
        shifted = [[parts[j - k] if j >= k else parts[j - k + m] * relation for k in range(m)] for j in range(m)]
        cofactors = [self.determinant([row[:k] + row[k + 1 :] for row in shifted[1:]]) * (-1) ** k for k in range(m)]
        return self.sum(c * Element(self, {k << BITS * i: 1}) for k, c in enumerate(cofactors))

    def shortened(self, a: Element) -> Element:
        """The element: it is exact."""
        return a

    def determinant(self, matrix: list[list[Element]]) -> Element:
        """The determinant, by expansion along rows; minors are shared."""

        @functools.cache
        def minor(columns: tuple[int, ...]) -> Element:
            if not columns:
                return self.constant(1)
            row = matrix[len(matrix) - len(columns)]
            rest = [columns[:j] + columns[j + 1 :] for j in range(len(columns))]
            return self.sum(row[c] * minor(rest[j]) * (-1) ** j for j, c in enumerate(columns) if row[c])

        return minor(tuple(range(len(matrix))))

    def inverse(self, matrix: list[list[Element]]) -> list[list[Element]]:
        """The inverse of a symmetric matrix, by cofactors; a ValueError if there is none."""
        n = len(matrix)
        if not (det := self.determinant(matrix)):
            raise ValueError("`matrix` is singular: its determinant is 0, so it is not a metric")
        over = self.reciprocal(det)

        @functools.cache
        def entry(i: int, j: int) -> Element:
            minor = [[row[c] for c in range(n) if c != j] for r, row in enumerate(matrix) if r != i]
            return self.sum((self.determinant(minor) * over * (-1) ** (i + j),))

        return [[entry(min(i, j), max(i, j)) for j in range(n)] for i in range(n)]
