"""Metrics induced by a map into another space: $g = f^* G$, with curvature from Gauss's equation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann import _curvature, _jets
from riemann._types import Field, Metric
from riemann.metrics._structure import (
    Jets,
    derive,
    leibniz,
    metric_jet,
    part,
    part_at,
    part_jet,
    positioned,
    route,
)


class Pullback(torch.nn.Module):
    r"""$g_{ij} = G_{AB}\, \partial_i f^A \partial_j f^B$: curvature from the second derivatives of f.

    With the second fundamental form $II_{ij}$, the normal part of $\nabla_i \partial_j f$, Gauss's equation is
    $R_{ijkl} = \langle II_{ik}, II_{jl} \rangle - \langle II_{il}, II_{jk} \rangle + f^* \bar R_{ijkl}$. Curvature of
    $J^T J$ by differentiation needs third derivatives, n of them for each one here.

    Args:
        map: f, one point `(n,)` to a point `(m,)` of the ambient space, an immersion.
        ambient: G, a metric of dimension m; flat, the identity, if it is None. Of any signature, as long as the
            induced metric is nonsingular.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4, theorem 5.

    Example:
        >>> paraboloid = Pullback(lambda x: torch.stack([x[0], x[1], (x @ x) / 2]))
        >>> riemann.scalar_curvature(paraboloid, torch.zeros(2))
        tensor(2.)
    """

    def __init__(self, map: Field, ambient: Metric | None = None):
        super().__init__()
        self.map = map
        self.ambient: Any = ambient

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        y, J = part_jet(self.map, x, 1, (None,), _MAP)
        if self.ambient is None:
            return J.mT @ J
        return J.mT @ part(self.ambient, y, y.shape * 2, "ambient of Pullback") @ J


_MAP = "map of Pullback"


@route(Pullback)
def jets(metric: Pullback, x: Tensor, order: int) -> Jets:
    """Leibniz's rule on the jets of f."""
    _, *J = part_jet(metric.map, x, order + 1, (None,), _MAP)
    J = tuple(J)
    if metric.ambient is None:
        return leibniz("Ai,Aj->ij", J, J)

    def ambient(p: Tensor) -> Tensor:
        y = part(metric.map, p, (None,), _MAP)
        return part(metric.ambient, y, y.shape * 2, "ambient of Pullback")

    G = part_jet(ambient, x, order, (None, None), "ambient of Pullback")
    return leibniz("Ai,Aj->ij", J, leibniz("AB,Bj->Aj", G, J))


def _lower(G: Tensor | None, a: Tensor) -> Tensor:
    """Vectors of the ambient space, `(*batch, m, …)`, with the index down."""
    if G is None:
        return a
    flat = a.reshape((*G.shape[:-1], -1))
    return (G @ flat).reshape(a.shape)


def _ambient(metric: Pullback, y: Tensor) -> Tensor | None:
    return None if metric.ambient is None else metric_jet(metric.ambient, y, 0)[0]


def _second(metric: Pullback, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""F(x), $J^A_i$, $II^A_{ij}$, its lowered form, and the inverse metric."""
    y, J, H = part_jet(metric.map, x, 2, (None,), _MAP)
    G = _ambient(metric, y)
    if metric.ambient is not None:
        gamma = _curvature.christoffel(metric.ambient, y)
        H = H + torch.einsum("...ABC,...Bi,...Cj->...Aij", gamma, J, J)
    inverse, project = _tangent(J, G)
    normal = H - project(H)
    return y, J, normal, _lower(G, normal), inverse


def _tangent(J: Tensor, G: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The inverse of the induced metric, and the projection of ambient vectors `(*batch, m, …)` to tangent ones."""
    GJ = _lower(G, J)
    inverse, info = torch.linalg.inv_ex(J.mT @ GJ)
    inverse = torch.where((info == 0)[..., None, None], inverse, torch.full_like(inverse, torch.nan))

    def project(a: Tensor) -> Tensor:
        flat = a.reshape((*J.shape[:-1], -1))
        return (J @ (inverse @ (GJ.mT @ flat))).reshape(a.shape)

    return inverse, project


@route(Pullback)
def riemann_tensor(metric: Pullback, x: Tensor, indices: str = "ulll") -> Tensor:
    r"""$\langle II_{ik}, II_{jl} \rangle - \langle II_{il}, II_{jk} \rangle + f^* \bar R_{ijkl}$."""
    y, J, II, lowered, _ = _second(metric, x)
    products = torch.einsum("...Aik,...Ajl->...ijkl", II, lowered)
    riemann = products - products.mT
    if metric.ambient is not None:
        pulled = _curvature.riemann_tensor(metric.ambient, y, "llll")
        for _ in range(4):  # each index in turn
            pulled = torch.einsum("...ABCD,...Ai->...BCDi", pulled, J)
        riemann = riemann + pulled
    return positioned(metric, x, riemann, indices, "the Riemann tensor")


def _projector(J: Tensor, inverse: Tensor) -> Tensor:
    """`g^ij J^A_i J^B_j`."""
    return J @ inverse @ J.mT


@route(Pullback)
def ricci_tensor(metric: Pullback, x: Tensor, indices: str = "ll") -> Tensor:
    r"""$\langle \mathrm{tr}\, II, II_{jl} \rangle - g^{ik} \langle II_{il}, II_{kj} \rangle$, and the ambient part."""
    y, J, II, lowered, inverse = _second(metric, x)
    trace = torch.einsum("...ik,...Aik->...A", inverse, II)
    raised = torch.einsum("...ik,...Akj->...Aij", inverse, II)
    ricci = torch.einsum("...A,...Ajl->...jl", trace, lowered) - torch.einsum("...Aij,...Ail->...jl", raised, lowered)
    if metric.ambient is not None:
        riemann = _curvature.riemann_tensor(metric.ambient, y, "llll")
        traced = torch.einsum("...AC,...ABCD->...BD", _projector(J, inverse), riemann)
        ricci = ricci + J.mT @ traced @ J
    return positioned(metric, x, ricci, indices, "the Ricci tensor")


@route(Pullback)
def scalar_curvature(metric: Pullback, x: Tensor) -> Tensor:
    r"""$|\mathrm{tr}\, II|^2 - |II|^2$ and the ambient curvature of the tangent planes."""
    y, J, II, lowered, inverse = _second(metric, x)
    trace, lowered_trace = (torch.einsum("...ik,...Aik->...A", inverse, a) for a in (II, lowered))
    raised = inverse.unsqueeze(-3) @ II @ inverse.unsqueeze(-3)
    scalar = (trace * lowered_trace).sum(-1) - (raised * lowered).sum((-3, -2, -1))
    if metric.ambient is not None:
        P = _projector(J, inverse)
        riemann = _curvature.riemann_tensor(metric.ambient, y, "llll")
        traced = torch.einsum("...AC,...ABCD->...BD", P, riemann)
        scalar = scalar + (P * traced).sum((-2, -1))
    return scalar


# ------------------------------------------------------------------------------------------------ of given vectors


def _frame(metric: Pullback, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Callable[[Tensor], Tensor]]:
    y, J = part_jet(metric.map, x, 1, (None,), _MAP)
    G = _ambient(metric, y)
    return y, J, G, *_tangent(J, G)


def _push(J: Tensor, *vectors: Tensor) -> list[Tensor]:
    return [(J @ a.unsqueeze(-1)).squeeze(-1) for a in vectors]


def _acceleration(metric: Pullback, x: Tensor, y: Tensor, J: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\bar\nabla_u (df\, v)$ for constant u, v, `(*batch, m)`: the tangent part is the connection, the rest is II."""

    def at_point(p: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return _jets.along_twice(part_at(metric.map, p, 2, (None,), _MAP), p, u, v)[3]

    second = _jets.over_points(at_point, x, u, v)
    if metric.ambient is not None:
        second = second + _curvature.christoffel_vector(metric.ambient, y, *_push(J, u, v))
    return second


@route(Pullback)
def christoffel_vector(metric: Pullback, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$g^{-1} J^T G\, \bar\nabla_u (df\, v)$: one second derivative of f."""
    y, J, G, inverse, _ = _frame(metric, x)
    second = _lower(G, _acceleration(metric, x, y, J, u, v)).unsqueeze(-1)
    return (inverse @ (J.mT @ second)).squeeze(-1)


@route(Pullback)
def biquadratic_curvature(metric: Pullback, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\langle II(u,u), II(v,v) \rangle - |II(u,v)|^2$ and the ambient one."""
    y, J, G, _, project = _frame(metric, x)

    def II(a: Tensor, b: Tensor) -> Tensor:
        second = _acceleration(metric, x, y, J, a, b)
        return second - project(second)

    uu, vv, uv = II(u, u), II(v, v), II(u, v)
    form = (uu * _lower(G, vv)).sum(-1) - (uv * _lower(G, uv)).sum(-1)
    if metric.ambient is not None:
        form = form + _curvature.biquadratic_curvature(metric.ambient, y, *_push(J, u, v))
    return form


@route(Pullback)
def curvature_endomorphism(metric: Pullback, x: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    r"""$\langle II(u, \cdot), II(v, w) \rangle - \langle II(v, \cdot), II(u, w) \rangle$, raised."""
    y, J, II, lowered, inverse = _second(metric, x)
    vw, uw = (torch.einsum("...Aij,...i,...j->...A", lowered, a, w) for a in (v, u))
    image = torch.einsum("...Aij,...i,...A->...j", II, u, vw) - torch.einsum("...Aij,...i,...A->...j", II, v, uw)
    if metric.ambient is not None:
        G = _ambient(metric, y)
        ambient = _lower(G, _curvature.curvature_endomorphism(metric.ambient, y, *_push(J, u, v, w)).unsqueeze(-1))
        image = image + (J.mT @ ambient).squeeze(-1)
    return (inverse @ image.unsqueeze(-1)).squeeze(-1)


derive(Pullback, "einstein_tensor schouten_tensor weyl_tensor kretschmann_scalar ricci_curvature sectional_curvature")
