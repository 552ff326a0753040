"""Which of some elements are combinations of the others over the rationals: linear algebra on their coefficients."""

import math
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction

from riemann.symbolic._field import Element
from riemann.symbolic._polynomials import BITS, exponents, multiply

Vector = dict[Hashable, Fraction]
Combination = Mapping[Hashable, Element]


class Basis:
    """A growing basis, over the rationals, of combinations of symbols (logarithms, say) with elements before them."""

    def __init__(self):
        self.members: list[Combination] = []

    def include(
        self, given: Sequence[Combination], integral: bool = False
    ) -> tuple[list[tuple[int, int]], list[dict[int, Fraction]]]:
        """Adds what is independent; returns (which, divisor) for each new member, and the coordinates of all given.

        With `integral`, new members are divided so that coordinates on them are integers.
        """
        old = len(self.members)
        found = relations(vectors([*self.members, *given]))[old:]
        new = [index for index, relation in enumerate(found) if relation is None]
        number = {old + index: old + place for place, index in enumerate(new)} | {i: i for i in range(old)}
        coordinates = [
            {number[old + index]: Fraction(1)} if relation is None else {number[i]: c for i, c in relation.items()}
            for index, relation in enumerate(found)
        ]
        divisors = []
        for place, index in enumerate(new, old):
            divisor = math.lcm(*(c[place].denominator for c in coordinates if place in c)) if integral else 1
            for c in coordinates:
                if place in c:
                    c[place] *= divisor
            divisors.append((index, divisor))
            self.members.append({key: e / e.field.constant(divisor) for key, e in given[index].items()})
        return divisors, coordinates


def vectors(combinations: Sequence[Mapping[Hashable, Element]]) -> list[Vector]:
    """Coefficients of combinations of symbols (logarithms, say) with elements before them, over one denominator."""
    elements = [e for combination in combinations for e in combination.values()]
    highest: dict[int, int] = {}
    for element in elements:
        for i, e in exponents(element.below):
            highest[i] = max(e, highest.get(i, 0))
    common = sum(e << BITS * i for i, e in highest.items())
    scale = math.lcm(*(element.scale for element in elements))
    found = []
    for combination in combinations:
        vector: Vector = {}
        for key, element in combination.items():
            top = multiply(element.top, element.field.expanded(common - element.below))
            vector.update({(key, m): Fraction(c * (scale // element.scale)) for m, c in top.items()})
        found.append(vector)
    return found


def relations(given: Sequence[Vector]) -> list[dict[int, Fraction] | None]:
    """For each vector: None if it is independent of those before it, else its coordinates on the independent ones."""
    rows: list[tuple[Hashable, Vector, dict[int, Fraction]]] = []  # pivot, reduced vector, what it is made of
    result: list[dict[int, Fraction] | None] = []
    for index, vector in enumerate(given):
        rest, made = dict(vector), {index: Fraction(1)}
        for pivot, row, combination in rows:
            if factor := rest.get(pivot, Fraction(0)) / row[pivot]:
                _subtract(rest, row, factor)
                _subtract(made, combination, factor)
        if rest:
            rows.append((next(iter(rest)), rest, made))
            result.append(None)
        else:
            result.append({k: -c for k, c in made.items() if k != index})
    return result


def _subtract(a: dict, b: dict, factor: Fraction) -> None:
    for key, c in b.items():
        a[key] = a.get(key, Fraction(0)) - factor * c
        if not a[key]:
            del a[key]
