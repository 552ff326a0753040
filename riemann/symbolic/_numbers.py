"""The Taylor numbers of a symbolic metric at a point: the textbook over them gives curvature to any digits."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import mpmath
import sympy as sp
from sympy.core.function import AppliedUndef

from riemann.symbolic._taylor import Series


class Numbers(Series):
    """Arithmetic of Taylor numbers at one point of a symbolic metric.

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
        super().__init__(len(coordinates), order, digits)
        indices = self.space.exponents
        pairs = list(itertools.combinations_with_replacement(range(self.n), 2))
        derivatives: dict[tuple[int, int], dict[tuple[int, ...], sp.Expr]] = {}
        for i, j in pairs:
            known = {indices[0]: matrix[i, j]}
            for a in indices[1:]:
                k = next(k for k in range(self.n) if a[k])
                known[a] = sp.diff(known[(*a[:k], a[k] - 1, *a[k + 1 :])], coordinates[k])
            derivatives[i, j] = {a: d for a, d in known.items() if d != 0}
        flat = [d / math.prod(map(math.factorial, a)) for pair in pairs for a, d in derivatives[pair].items()]
        numbers = iter(self._evaluated(flat, values))
        series = {pair: self.series({a: next(numbers) for a in derivatives[pair]}) for pair in pairs}
        self.metric = [[series[min(i, j), max(i, j)] for j in range(self.n)] for i in range(self.n)]

    def _evaluated(self, expressions: list[sp.Expr], values: Mapping[Any, sp.Expr]) -> list[Any]:
        """Numbers for expressions; undetermined functions and their derivatives get values of their own."""
        unknown = sorted(set().union(*(e.atoms(sp.Derivative, sp.Subs, AppliedUndef) for e in expressions)), key=str)
        stand_ins = {u: sp.Symbol(f"_{k}") for k, u in enumerate(unknown)}
        numbers = dict(values)
        numbers.update({s: sp.Rational(k % 7 + 3, k % 5 + 4) for k, s in enumerate(stand_ins.values())})
        function = sp.lambdify(list(numbers), [e.xreplace(stand_ins) for e in expressions], "mpmath", cse=True)
        with mpmath.workdps(self.context.dps):
            results = function(*map(self.number, numbers.values()))
        for result in results:
            if isinstance(result, mpmath.mpc):
                raise ValueError(f"the metric is not real at {values}")
        return [self.context.mpf(result) for result in results]
