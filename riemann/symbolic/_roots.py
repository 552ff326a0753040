"""Roots in a field: whether an element is a square is decided; what is none brings a new algebraic generator."""

import math
from typing import Any

import sympy as sp

from riemann.symbolic._field import Element, Field, Inexpressible
from riemann.symbolic._polynomials import BITS, Poly, exponents, generators, multiply


class Roots:
    """Roots of real elements, taken positive.

    The square roots form a tower of quadratic extensions; an element A + B w is a square there only if its norm
    A^2 - B^2 w^2 is one further down, so the question ends at rational functions, whose factors answer it (Kummer).

    Args:
        field: the field.
        odd: all odd roots are powers of roots of this order.
    """

    def __init__(self, field: Field, odd: int = 1):
        self.field, self.odd = field, odd
        self.tower: list[int] = []  # the quadratic generators
        self._signs: dict[frozenset, Element] = {}
        self._odd_roots: dict[frozenset, Element] = {}
        self._positive: set[int] = set()  # factors known to be positive: roots of them are given

    def power(self, a: Element, exponent: sp.Rational, expression: sp.Expr) -> Element:
        """a to a rational exponent; `expression` is what a stands for."""
        if exponent.q == 1:
            return a ** int(exponent.p)
        even = exponent.q & -exponent.q
        if even > 1 and even != exponent.q:  # a / (2^m q) = b / 2^m + c / q
            b = exponent.p * pow(exponent.q // even, -1, even)
            first = self.power(a, sp.Rational(b, even), expression)
            return first * self.power(a, exponent - sp.Rational(b, even), expression)
        if even > 1:
            return self.power(self.square_root(a, expression), exponent * 2, sp.sqrt(expression))
        if not self.field.is_rational(a.top):
            raise Inexpressible(f"a root of order {exponent.q} of {expression}")
        constant, powers = self.field.factored(a.top)
        result = self.field.constant(1)
        times = int(exponent * self.odd)
        for p, e in sp.factorrat(sp.Rational(constant, a.scale)).items():
            sign = self.field.constant((-1) ** int(exponent.p))
            result = result * (self._odd_root({0: int(p)}) ** (e * times) if p != -1 else sign)
        for below, sign in ((powers, 1), (a.below, -1)):
            for i, e in exponents(below):
                result = result * self._odd_root(self.field.factors[i]) ** (sign * e * times)
        return self.field.sum((result,))

    def _odd_root(self, f: Poly) -> Element:
        key = frozenset(f.items())
        if key not in self._odd_roots:
            base = Element(self.field, f)
            expression = self._expression(f)
            sign = 1 if self.field.values(base)[0] > 0 else -1  # an odd root of -f is minus that of f
            self._odd_roots[key] = w = self.field.adjoin(
                sign * (sign * expression) ** sp.Rational(1, self.odd),
                lambda k: self.field.sum((w * self.field.derivative(base, k) / (base * self.odd),)),
                degree=self.odd,
                relation=f,
            )
        return self._odd_roots[key]

    def square_root(self, a: Element, expression: sp.Expr) -> Element:
        """The root that is not negative."""
        if not a:
            return a
        if (root := self.root(a)) is not None:
            return self.absolute(root)
        field = self.field
        if field.is_rational(a.top):
            outside, inside = self._square_part(a)
        else:
            odd = sum((e & 1) << BITS * i for i, e in exponents(a.below))
            half = sum((e + 1 >> 1) << BITS * i for i, e in exponents(a.below))
            outside = Element(field, {0: 1}, half, a.scale)
            inside = field.reduced(multiply(multiply(a.top, {0: a.scale}), field.expanded(odd)))
        radicand = Element(field, inside)
        i = len(field.generators)
        w = field.adjoin(
            sp.sqrt(expression) / self.expression(outside),
            lambda k: field.sum((w * field.derivative(radicand, k) / (radicand * 2),)),
            degree=2,
            relation=inside,
        )
        self.tower.append(i)
        values = field.generators[i].values
        field.generators[i].positive = all(v > 0 for v in values)
        if field.is_rational(inside):
            constant, powers = field.factored(inside)
            if constant > 0 and powers.bit_count() == 1:
                self._positive |= {i for i, _ in exponents(powers)}
        return field.sum((outside * w,))

    def _square_part(self, a: Element) -> tuple[Element, Poly]:
        """b and p with a = b^2 p, p a polynomial without squares, and b > 0 up to signs of factors of p."""
        field = self.field
        constant, powers = field.factored(a.top)
        square, free = 1, 1 if constant > 0 else -1
        for p, e in sp.factorint(abs(constant) * a.scale).items():
            square, free = square * p ** (e // 2), free * p ** (e % 2)
        total = {i: e for i, e in exponents(powers)}
        for i, e in exponents(a.below):
            total[i] = total.get(i, 0) - e
        outside, inside = field.constant(sp.Rational(square, a.scale)), {0: int(free)}
        for i, e in total.items():
            f = Element(field, field.factors[i])
            outside = outside * (f if e % 2 else self._absolute_factor(i)) ** (e // 2)
            if e % 2:
                inside = multiply(inside, f.top)
        return field.sum((outside,)), inside

    # ----------------------------------------------------------------------------------------------------- deciding

    def root(self, a: Element, level: int | None = None) -> Element | None:
        """A root within the field, or None if there is none."""
        level = len(self.tower) if level is None else level
        field = self.field
        if not a:
            return a
        if not level:
            return self._rational_root(a)
        i = self.tower[level - 1]
        w, p = Element(field, {1 << BITS * i: 1}), Element(field, field.generators[i].relation or {})
        A, B = field.parts(a, i)
        if not B:
            if (root := self.root(A, level - 1)) is not None:
                return root
            root = self.root(field.sum((A * p,)), level - 1)
            return None if root is None else field.sum((root / w,))
        norm = self.root(field.sum((A * A, B * B * p * -1)), level - 1)
        if norm is None:
            return None
        for sign in (1, -1):
            c = self.root(field.sum((A, norm * sign)) / field.constant(2), level - 1)
            if c is not None:
                return field.sum((c, B * w / (c * 2)))
        return None

    def _rational_root(self, a: Element) -> Element | None:
        field = self.field
        if not field.is_rational(a.top):
            names = [field.generators[i].expression for i in generators(a.top) if i in field.algebraic]
            raise Inexpressible(f"a square root of an expression with {names}")
        a = field.sum((a,))
        constant, powers = field.factored(a.top)
        if constant < 0 or any(e % 2 for below in (powers, a.below) for _, e in exponents(below)):
            return None
        numerator, denominator = math.isqrt(constant), math.isqrt(a.scale)
        if numerator**2 != constant or denominator**2 != a.scale:
            return None
        half = lambda below: sum(e // 2 << BITS * i for i, e in exponents(below))
        return Element(field, multiply({0: numerator}, field.expanded(half(powers))), half(a.below), denominator)

    # -------------------------------------------------------------------------------------------------------- signs

    def absolute(self, a: Element) -> Element:
        """|a|, with a generator for each sign that is not known."""
        field = self.field
        shared = min(a.top) if len(a.top) == 1 else self._common_monomial(a.top)
        algebraic = sum(e << BITS * i for i, e in exponents(shared) if i in field.algebraic)
        rest = {m - algebraic: c for m, c in a.top.items()}
        if not field.is_rational(rest):
            values = field.values(a)
            if all(v > 0 for v in values) or all(v < 0 for v in values):
                return a if values[0] > 0 else -a
            raise Inexpressible(f"the absolute value of {self.expression(a)}")
        constant, powers = field.factored(rest)
        result = Element(field, {0: abs(constant)}, 0, a.scale)
        for i, e in exponents(algebraic):
            w = Element(field, {1 << BITS * i: 1})
            result = result * (w if field.generators[i].positive else w * self._sign({1 << BITS * i: 1})) ** e
        for below, sign in ((powers, 1), (a.below, -1)):
            for i, e in exponents(below):
                f = Element(field, field.factors[i])
                result = result * (self._absolute_factor(i) if e % 2 else f) ** (sign * e)
        return field.sum((result,))

    def sign(self, a: Element) -> Element:
        """The sign of an element other than 0."""
        return self.field.sum((self.absolute(a) / a,))

    def _common_monomial(self, p: Poly) -> int:
        return sum(min(m >> BITS * i & 0xFFFF for m in p) << BITS * i for i in generators(p))

    def _absolute_factor(self, i: int) -> Element:
        f = Element(self.field, self.field.factors[i])
        if i in self._positive or self.field.is_positive(f.top):
            return f
        if self.field.is_positive({m: -c for m, c in f.top.items()}):
            return -f
        return f * self._sign(f.top)

    def _sign(self, p: Poly) -> Element:
        key = frozenset(p.items())
        if key not in self._signs:
            zero = self.field.constant(0)
            i = len(self.field.generators)
            self._signs[key] = self.field.adjoin(
                sp.sign(self._expression(p)), lambda k: zero, degree=2, relation={0: 1}
            )
            self.field.generators[i].sign_of = p
        return self._signs[key]

    # ------------------------------------------------------------------------------------------------------ writing

    def _expression(self, p: Poly) -> sp.Expr:
        known = self.field.generators
        return sp.Add(*(c * sp.Mul(*(known[i].expression ** e for i, e in exponents(m))) for m, c in p.items()))

    def expression(self, a: Element) -> Any:
        """The expression that stands for an element, as it comes."""
        factors = (self._expression(self.field.factors[i]) ** -e for i, e in exponents(a.below))
        return self._expression(a.top) * sp.Mul(*factors) / a.scale
