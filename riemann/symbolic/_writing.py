"""From elements to expressions that a person would write: factored, with sin^2 for 1 - cos^2 and |x| for x sign(x)."""

from typing import Any

import sympy as sp

from riemann.symbolic._field import Element, Field
from riemann.symbolic._polynomials import BITS, MASK, Poly, content, exponents, factors, generators, scaled


class Writer:
    """Writes elements of a field.

    Args:
        field: the field.
        circles: the generators C, S with S^2 = +-(C^2 - 1), and that sign.
    """

    def __init__(self, field: Field, circles: list[tuple[int, int, int]]):
        self.field, self.circles = field, circles
        self._written: dict[frozenset, sp.Expr] = {}

    def expression(self, a: Element) -> sp.Expr:
        """The expression that stands for an element."""
        if not a.top:
            return sp.S.Zero
        constant, powers = self._factored(a.top)
        constant = sp.Rational(constant, a.scale)
        for i, e in exponents(a.below):
            key = frozenset(self.field.factors[i].items())
            powers[key] = powers.get(key, 0) - e
        constant *= self._squares_of_sines(powers)
        self._absolute_values(powers)
        return sp.Mul(constant, *(self._polynomial(key) ** e for key, e in powers.items() if e))

    def _factored(self, top: Poly) -> tuple[int, dict[frozenset, int]]:
        used, powers = generators(top), {}
        for i in used:
            if lowest := min(m >> BITS * i & MASK for m in top):
                top = {m - (lowest << BITS * i): c for m, c in top.items()}
                powers[frozenset({1 << BITS * i: 1}.items())] = lowest
        constant = content(top) * (1 if top[max(top)] > 0 else -1)
        top = {m: c // constant for m, c in top.items()}
        if len(top) > 1:
            sign, found = factors(top)
            for f, e in found:
                if f[max(f)] < 0:
                    f, sign = scaled(f, -1), sign * (-1) ** e
                powers[frozenset(f.items())] = e
            constant *= sign
        return constant, powers

    def _squares_of_sines(self, powers: dict[frozenset, int]) -> int:
        """Replaces (C - 1)(C + 1) by +-S^2; returns the sign that comes with it."""
        sign = 1
        for c, s, way in self.circles:
            one = 1 << BITS * c
            less, more = frozenset({one: 1, 0: -1}.items()), frozenset({one: 1, 0: 1}.items())
            e, f = powers.get(less, 0), powers.get(more, 0)
            if e * f > 0:
                both = min(e, f) if e > 0 else max(e, f)
                powers[less], powers[more] = e - both, f - both
                key = frozenset({1 << BITS * s: 1}.items())
                powers[key] = powers.get(key, 0) + 2 * both
                sign *= way ** abs(both)
        return sign

    def _absolute_values(self, powers: dict[frozenset, int]) -> None:
        """Replaces sign(f) f by |f|."""
        for key in list(powers):
            if len(key) == 1:
                (monomial, _), *_ = key
                (i, _), *_ = exponents(monomial) or [(None, 0)]
                if i is not None and (f := self.field.generators[i].sign_of) and powers.get(frozenset(f.items())):
                    inner = frozenset(f.items())
                    powers[key], powers[inner] = 0, powers[inner] - 1
                    absolute = ("abs", inner)
                    powers[absolute] = 1  # type: ignore[index]

    def _polynomial(self, key: Any) -> sp.Expr:
        if key not in self._written:
            if isinstance(key, tuple):
                self._written[key] = sp.Abs(self._polynomial(key[1]))
            else:
                self._written[key] = self._sum(self._shorter(dict(key)))
        return self._written[key]

    def _shorter(self, p: Poly) -> Poly:
        """The polynomial with C^2 by S^2 where that has fewer terms."""
        for c, s, way in self.circles:
            shift = BITS * c
            if any(m >> shift & 1 for m in p) or not any(m >> shift & MASK for m in p):
                continue
            other: Poly = {}
            for m, d in p.items():  # C^2 = 1 + way S^2
                half = (m >> shift & MASK) // 2
                rest = m - (2 * half << shift)
                for k in range(half + 1):
                    n = rest + (2 * k << BITS * s)
                    other[n] = other.get(n, 0) + d * int(sp.binomial(half, k)) * way**k
            other = {m: d for m, d in other.items() if d}
            p = other if len(other) < len(p) else p
        return p

    def _sum(self, p: Poly) -> sp.Expr:
        known = self.field.generators
        return sp.Add(*(d * sp.Mul(*(known[i].expression ** e for i, e in exponents(m))) for m, d in p.items()))
