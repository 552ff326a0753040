"""Functions of points and vectors as expressions, from the exact tensors of a metric."""

import itertools
from collections.abc import Callable, Sequence

import sympy as sp

from riemann.bridge._conditions import Condition
from riemann.symbolic import SymbolicMetric

Vector = Sequence[sp.Symbol]
Found = tuple[sp.Expr | sp.Matrix, dict[Condition, sp.Expr]]
"""Entries, and where they hold: conditions, and the size of what rounds in each."""


def christoffel_vector(metric: SymbolicMetric, u: Vector, v: Vector) -> Found:
    r"""$\Gamma^k_{ij} u^i v^j$."""
    gamma, n = metric.christoffel(), metric.dim
    return sp.Matrix([_form(n, lambda i, j, k=k: gamma[k, i, j], u, v) for k in range(n)]), {}


def geodesic_acceleration(metric: SymbolicMetric, v: Vector) -> Found:
    r"""$-\Gamma^k_{ij} v^i v^j$."""
    gamma, n = metric.christoffel(), metric.dim
    return sp.Matrix([_form(n, lambda i, j, k=k: -gamma[k, i, j], v, v) for k in range(n)]), {}


def ricci_curvature(metric: SymbolicMetric, v: Vector) -> Found:
    r"""$\mathrm{Ric}_{ij} v^i v^j$."""
    ricci = metric.ricci_tensor()
    return _form(metric.dim, lambda i, j: ricci[i, j], v, v), {}


def sectional_curvature(metric: SymbolicMetric, u: Vector, v: Vector) -> Found:
    r"""$\langle R(u,v)v, u \rangle / (|u|^2 |v|^2 - \langle u,v \rangle^2)$, where u and v span a plane with area."""
    riemann, n = metric.riemann_tensor("llll"), metric.dim
    pairs = list(itertools.combinations(range(n), 2))
    plane = [u[a] * v[b] - u[b] * v[a] for a, b in pairs]
    form = _form(len(pairs), lambda p, q: riemann[(*pairs[p], *pairs[q])], plane, plane)
    g = metric.matrix
    uu, uv, vv = (_form(n, lambda i, j: g[i, j], a, b) for a, b in ((u, u), (u, v), (v, v)))
    size_u, size_v = (_form(n, lambda i, j: sp.Abs(g[i, j]), a, a) for a in ([*map(sp.Abs, u)], [*map(sp.Abs, v)]))
    area = uu * vv - uv**2
    return form / area, {Condition(area, "nonzero"): size_u * size_v}


def _form(n: int, entry: Callable[[int, int], sp.Expr], u: Sequence[sp.Expr], v: Sequence[sp.Expr]) -> sp.Expr:
    """The value at two vectors of a symmetric form."""
    terms = [entry(i, i) * u[i] * v[i] for i in range(n)]
    for i, j in itertools.combinations(range(n), 2):
        terms.append(entry(i, j) * (2 * u[i] * u[j] if u is v else u[i] * v[j] + u[j] * v[i]))
    return sp.Add(*terms)


OF_VECTORS: dict[str, Callable[..., Found]] = {
    f.__name__: f for f in (christoffel_vector, geodesic_acceleration, sectional_curvature, ricci_curvature)
}
