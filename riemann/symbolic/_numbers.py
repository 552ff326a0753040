"""The Taylor numbers of a symbolic metric at a point: the textbook over them gives curvature to any digits."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import sympy as sp

from riemann.symbolic._taylor import Series
from riemann.symbolic._undetermined import stand_ins


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
        symbols = tuple(values)
        function, places = _compiled(matrix, tuple(coordinates), symbols, order)
        with mpmath.workdps(self.context.dps):
            results = function(*(self.number(values[s]) for s in symbols))
        if any(isinstance(result, mpmath.mpc) for result in results):
            raise ValueError(f"the metric is not real at {dict(values)}")
        numbers = map(self.context.mpf, results)
        series = {pair: self.series({a: next(numbers) for a in indices}) for pair, indices in places.items()}
        self.metric = [[series[min(i, j), max(i, j)] for j in range(self.n)] for i in range(self.n)]


def function_of(atoms: Sequence[sp.Expr], expressions: Sequence[sp.Expr]) -> Callable[..., list[Any]]:
    """The values of expressions as a function of numbers for their symbols and undetermined functions.

    The code has names of its own: a symbol of a user may be called `pi`, or what is not a name in Python.
    """
    undetermined = {
        a: sp.Symbol(f"v{k}") for k, a in enumerate(atoms) if not a.is_Symbol
    }  # hold symbols: they go first
    own = {a: sp.Symbol(f"a{k}", **a.assumptions0) for k, a in enumerate(atoms) if a.is_Symbol}
    plain = [sp.sympify(e).xreplace(undetermined).xreplace(own) for e in expressions]
    return sp.lambdify([{**undetermined, **own}[a] for a in atoms], plain, "mpmath", cse=True)


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
    function = function_of([*symbols, *values], flat)

    def evaluated(*numbers: Any) -> list[Any]:
        return function(*numbers, *(mpmath.mpf(v.p) / v.q for v in values.values()))

    return evaluated, places
