"""From elements to expressions that a person would write: factored, with sin^2 for 1 - cos^2 and |x| for x sign(x)."""

import functools
from typing import Any

import sympy as sp

from riemann.symbolic._field import Element, Field
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
    quotient,
    scaled,
)

# Factoring a polynomial of more terms can take seconds and tells a reader little.
FACTORED_TERMS = 80


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
        constant, powers = self._product(a)
        return sp.Mul(constant, *(self._polynomial(key) ** e for key, e in powers.items()))

    def root_of_absolute(self, a: Element) -> sp.Expr:
        """The expression of sqrt|a|; factors of unknown sign stand in `Abs`."""
        constant, powers = self._product(a)
        outside, inside = [sp.sqrt(abs(constant))], []
        for key, e in powers.items():
            f = self._polynomial(key)
            if isinstance(key, tuple) or self.field.is_positive(dict(key)):
                outside.append(_power(f, sp.Rational(e, 2)))
            elif e % 2:
                inside.append(f**e)
            else:
                outside.append(sp.Abs(f, evaluate=False) ** (e // 2) if e % 4 else f ** (e // 2))
        return sp.Mul(*outside) * sp.sqrt(sp.Abs(sp.Mul(*inside)))

    def _product(self, a: Element) -> tuple[sp.Rational, dict[Any, int]]:
        """A number, and polynomials (as sets of items) with exponents, whose product is the element."""
        if not a.top:
            return sp.S.Zero, {}
        top, below = a.top, dict(exponents(a.below))
        powers: dict[Any, int] = {}
        for i, divisors in self.field.divisors.items():
            for g in divisors:
                while below.get(i) and (divided := self._without(top, g, i)) is not None:
                    top, below[i] = divided, below[i] - 1
                    powers[frozenset(g.items())] = powers.get(frozenset(g.items()), 0) - 1
        constant = sp.Rational(self._factor(top, powers), a.scale)
        for i, e in below.items():
            key = frozenset(self.field.factors[i].items())
            powers[key] = powers.get(key, 0) - e
        constant *= self._squares_of_sines(powers)
        self._absolute_values(powers)
        return self._signs(constant, {key: e for key, e in powers.items() if e})

    def _without(self, top: Poly, g: Poly, i: int) -> Poly | None:
        """The p with top / f = p / g for a divisor g of factor f number i, if there is such a polynomial."""
        return quotient(self.field.reduced(multiply(top, g)), self.field.factors[i])

    def _factor(self, top: Poly, powers: dict[Any, int]) -> int:
        """Adds the exponents of the factors of a polynomial; returns its content."""
        for i in self.field.algebraic:
            while (divided := self.field.without_root(top, i)) is not None:
                top = divided
                powers[frozenset({1 << BITS * i: 1}.items())] = powers.get(frozenset({1 << BITS * i: 1}.items()), 0) + 1
        for i in generators(top):
            if lowest := min(m >> BITS * i & MASK for m in top):
                top = {m - (lowest << BITS * i): c for m, c in top.items()}
                key = frozenset({1 << BITS * i: 1}.items())
                powers[key] = powers.get(key, 0) + lowest
        if len(top) == 1:
            return top[0]
        constant, found = self._irreducible(self._shorter(top) if self._has_root(top) else top)
        for f, e in found:
            if f[max(f)] < 0:
                f, constant = scaled(f, -1), constant * (-1) ** e
            powers[frozenset(f.items())] = powers.get(frozenset(f.items()), 0) + e
        return constant

    def _irreducible(self, p: Poly) -> tuple[int, list[tuple[Poly, int]]]:
        """Content and factors; a long polynomial is divided by what is known only."""
        if len(p) <= FACTORED_TERMS:
            return factors(p)
        ends = [{1 << BITS * c: 1, 0: sign} for c, _, _ in self.circles for sign in (1, -1)]
        found = []
        for f in (*self.field.factors, *(f for f in ends if f not in self.field.factors)):
            e = 0
            while (divided := quotient(p, f)) is not None:
                p, e = divided, e + 1
            found += [(f, e)] * bool(e)
        constant = content(p)
        return constant, [*found, ({m: c // constant for m, c in p.items()}, 1)]

    def _has_root(self, p: Poly) -> bool:
        return any(w in generators(p) or g in generators(p) for g, w, _, _ in self._exchanges)

    def _signs(self, constant: sp.Rational, powers: dict[Any, int]) -> tuple[sp.Rational, dict[Any, int]]:
        """With the signs of polynomials such that most of their terms are positive, then the constant, if possible."""
        signed = {}
        for key, e in powers.items():
            if isinstance(key, frozenset):
                negative = 2 * sum(c < 0 for _, c in key) - len(key)
                if negative > 0 or (negative == 0 and constant < 0 and e % 2):
                    key, constant = frozenset((m, -c) for m, c in key), constant * (-1) ** (e % 2)
            signed[key] = signed.get(key, 0) + e
        return constant, signed

    def _squares_of_sines(self, powers: dict[Any, int]) -> int:
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

    def _absolute_values(self, powers: dict[Any, int]) -> None:
        """Replaces sign(f) f by |f|."""
        for key in list(powers):
            if len(key) == 1:
                (monomial, _), *_ = key
                (i, _), *_ = exponents(monomial) or [(None, 0)]
                if i is not None and (f := self.field.generators[i].sign_of) and powers.get(frozenset(f.items())):
                    inner = frozenset(f.items())
                    powers[key], powers[inner] = 0, powers[inner] - 1
                    powers["abs", inner] = 1

    def _polynomial(self, key: Any) -> sp.Expr:
        if key not in self._written:
            if isinstance(key, tuple):
                self._written[key] = sp.Abs(self._polynomial(key[1]))
            else:
                self._written[key] = self._sum(self._shorter(dict(key)))
        return self._written[key]

    @functools.cached_property
    def _exchanges(self) -> list[tuple[int, int, int, Poly]]:
        """Ways to write g^2 as way * w^2 + rest, from the relations w^2 = way * (g^2 - rest)."""
        found = []
        for i in self.field.algebraic:
            relation = self.field.generators[i].relation or {}
            for m, c in relation.items():
                if (
                    self.field.generators[i].degree == 2
                    and abs(c) == 1
                    and len(es := exponents(m)) == 1
                    and es[0][1] == 2
                ):
                    rest = {n: -c * d for n, d in relation.items() if n != m}
                    found.append((es[0][0], i, c, rest))
        return found

    def _shorter(self, p: Poly) -> Poly:
        """The polynomial with cos^2 by sin^2, x^2 + y^2 by r^2 where that has fewer terms."""
        for g, w, way, rest in self._exchanges:
            shift = BITS * g
            if not any(m >> shift & MASK > 1 for m in p):
                continue
            square = add(({2 << BITS * w: way}, rest))
            parts: dict[int, Poly] = {}
            for m, c in p.items():
                half = (m >> shift & MASK) // 2
                parts.setdefault(half, {})[m - (2 * half << shift)] = c
            other = add(functools.reduce(multiply, [square] * half, part) for half, part in parts.items())
            p = other if len(other) < len(p) else p
        return p

    def _sum(self, p: Poly) -> sp.Expr:
        return sp.Add(*(d * self._monomial(dict(exponents(m))) for m, d in p.items()))

    def _monomial(self, powers: dict[int, int]) -> sp.Expr:
        known = self.field.generators
        factors = []
        for i in list(powers):
            (j, one), *others = exponents(next(iter(known[i].sign_of or {0: 1}))) or [(i, 0)]
            if one == 1 and not others and powers.get(j) and len(known[i].sign_of or {}) == 1:  # sign(x) x = |x|
                powers[i], powers[j] = 0, powers[j] - 1
                factors.append(sp.Abs(known[j].expression))
        return sp.Mul(*factors, *(known[i].expression ** e for i, e in powers.items()))


def _power(base: sp.Expr, exponent: sp.Rational) -> sp.Expr:
    """A power of a positive expression."""
    if isinstance(base, sp.exp):
        return sp.exp(base.args[0] * exponent)
    inner, outer = base.as_base_exp()
    return inner ** (outer * exponent)
