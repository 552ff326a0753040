"""Equations of a metric in functions that are to be found: of its geodesics, of its Killing fields."""

from collections.abc import Sequence
from typing import Any

import sympy as sp

from riemann.symbolic import _given


def geodesic(metric: Any, parameter: str | sp.Symbol) -> tuple[sp.Eq, ...]:
    r"""$\ddot x^k + \Gamma^k_{ij} \dot x^i \dot x^j = 0$, one a coordinate."""
    s = sp.Symbol(parameter, real=True) if isinstance(parameter, str) else parameter
    if s.name in {symbol.name for symbol in (*metric.coordinates, *metric.parameters)}:
        raise ValueError(f"`parameter` is `{s}`, which the metric has already; give another name")
    curve = {x: sp.Function(x.name)(s) for x in metric.coordinates}
    velocity, gamma = [x.diff(s) for x in curve.values()], metric.christoffel()
    n, equations = range(metric.dim), []
    for k in n:
        terms = [(1 + (i != j)) * gamma[k, i, j] * velocity[i] * velocity[j] for i in n for j in n if i <= j]
        acceleration = curve[metric.coordinates[k]].diff(s, 2)
        equations.append(sp.Eq(acceleration + sp.Add(*terms).subs(curve), 0, evaluate=False))
    return tuple(equations)


def killing(metric: Any, field: Sequence[Any] | None) -> Any:
    r"""$X^k \partial_k g_{ij} + g_{kj} \partial_i X^k + g_{ik} \partial_j X^k$: set to 0, or of a field."""
    x, g, n = metric.coordinates, metric.matrix, range(metric.dim)
    if field is None:
        X = [sp.Function(f"X^{symbol.name}")(*x) for symbol in x]
    else:
        X = [_given.expression(entry) for entry in field]
        if len(X) != metric.dim:
            raise ValueError(f"`field` has {len(X)} components, and the metric has n = {metric.dim}")
        inside = {symbol.name: symbol for symbol in (*g.free_symbols, *x)}
        X = [entry.subs({s: inside[s.name] for s in entry.free_symbols if s.name in inside}) for entry in X]

    def operator(i: int, j: int) -> sp.Expr:
        return sp.Add(*(X[k] * g[i, j].diff(x[k]) + g[k, j] * X[k].diff(x[i]) + g[i, k] * X[k].diff(x[j]) for k in n))

    if field is None:
        return tuple(sp.Eq(operator(i, j), 0, evaluate=False) for i in n for j in n if i <= j)
    return sp.ImmutableMatrix(metric.dim, metric.dim, lambda i, j: sp.simplify(operator(i, j)))
