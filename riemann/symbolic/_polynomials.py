"""Polynomials with integer coefficients, as dicts from packed monomials to coefficients.

A monomial is one integer: generator i owns the bits from `BITS * i` on, so monomials multiply by addition and compare
lexicographically, and a new generator costs the old ones nothing.
"""

import heapq
import math
from collections.abc import Iterable

import sympy as sp
from sympy.polys.rings import ring

BITS = 16
MASK = (1 << BITS) - 1

Poly = dict[int, int]


def exponents(monomial: int) -> list[tuple[int, int]]:
    """The generators of a monomial with their exponents."""
    found, i = [], 0
    while monomial:
        if e := monomial & MASK:
            found.append((i, e))
        monomial >>= BITS
        i += 1
    return found


def generators(p: Poly) -> list[int]:
    """The generators that occur in p, in order."""
    together = 0
    for monomial in p:
        together |= monomial
    return [i for i, _ in exponents(together)]


def add(polys: Iterable[Poly]) -> Poly:
    """The sum."""
    total: Poly = {}
    for p in polys:
        for m, c in p.items():
            total[m] = total.get(m, 0) + c
    return {m: c for m, c in total.items() if c}


def multiply(a: Poly, b: Poly) -> Poly:
    """The product."""
    if len(a) > len(b):
        a, b = b, a
    product: Poly = {}
    known = product.get
    for m, c in a.items():
        for n, d in b.items():
            k = m + n
            product[k] = known(k, 0) + c * d
    return {m: c for m, c in product.items() if c}


def scaled(p: Poly, factor: int) -> Poly:
    """The product with a number other than 0."""
    return p if factor == 1 else {m: c * factor for m, c in p.items()}


def partial(p: Poly, i: int) -> Poly:
    """The derivative by generator i."""
    shift, one = BITS * i, 1 << BITS * i
    return {m - one: c * e for m, c in p.items() if (e := m >> shift & MASK)}


def content(p: Poly) -> int:
    """The greatest common divisor of the coefficients."""
    return math.gcd(*p.values())


def quotient(a: Poly, b: Poly) -> Poly | None:
    """a / b if b divides a, otherwise None."""
    lead = max(b)
    leading = b[lead]
    if len(b) == 1:
        shifts = [(BITS * i, e) for i, e in exponents(lead)]
        if any(c % leading for c in a.values()) or any(m >> s & MASK < e for m in a for s, e in shifts):
            return None
        return {m - lead: c // leading for m, c in a.items()}
    if not _divides(min(b), min(a)):
        return None
    # One bit above each exponent of `lead` shows a borrow from it.
    guard = sum(1 << BITS * i + BITS - 1 for i in range(lead.bit_length() // BITS + 1))
    tail = [(m, c) for m, c in b.items() if m != lead]
    rest, result = dict(a), {}
    heap = [-m for m in a]
    heapq.heapify(heap)
    while heap:
        m = -heapq.heappop(heap)
        if not (c := rest.pop(m, 0)):
            continue
        if ((m | guard) - lead) & guard != guard or c % leading:
            return None
        result[m - lead] = c = c // leading
        for n, d in tail:
            k = m - lead + n
            if k in rest:
                rest[k] -= c * d
            else:
                rest[k] = -c * d
                heapq.heappush(heap, -k)
    return result


def _divides(b: int, a: int) -> bool:
    return all(a >> BITS * i & MASK >= e for i, e in exponents(b))


def factors(p: Poly) -> tuple[int, list[tuple[Poly, int]]]:
    """The content and the irreducible factors with their multiplicities."""
    used = generators(p)
    if not used:
        return p[0], []
    domain, *_ = ring([f"x{i}" for i in used], sp.ZZ)
    shifts = [BITS * i for i in used]
    constant, found = domain.from_dict({tuple(m >> s & MASK for s in shifts): c for m, c in p.items()}).factor_list()
    packed = [
        ({sum(e << s for e, s in zip(m, shifts, strict=True)): int(c) for m, c in f.items()}, e) for f, e in found
    ]
    return int(constant), packed
