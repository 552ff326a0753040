"""Metrics induced by a map into another space: $g = f^* G$, with curvature from Gauss's equation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._curvature import at
from riemann._metric import metric_jet
from riemann._modules import runs_as_written, unwrapped
from riemann._points.checks import has_values
from riemann._rank import ROUNDING
from riemann._rounding import last_bits, say_few
from riemann._types import Field, Metric
from riemann.metrics._constant import Constant, is_constant
from riemann.metrics._structure import Jets, contract, derive, leibniz, part, part_field, part_jet, positioned, route


class Pullback(torch.nn.Module):
    r"""$g_{ij} = G_{AB}\, \partial_i f^A \partial_j f^B$: curvature from the second derivatives of f.

    With the second fundamental form $II_{ij}$, the normal part of $\nabla_i \partial_j f$, Gauss's equation is
    $R_{ijkl} = \langle II_{ik}, II_{jl} \rangle - \langle II_{il}, II_{jk} \rangle + f^* \bar R_{ijkl}$. Curvature of
    $J^T J$ by differentiation needs third derivatives, n of them for each one here. The last layer of a
    `torch.nn.Sequential` that ends in a wider `Linear` is not differentiated at all.

    Args:
        map: f, one point `(n,)` to a point `(m,)` of the ambient space, an immersion.
        ambient: G, a metric of dimension m; flat, the identity, if it is None. Of any signature, as long as the
            induced metric is nonsingular.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4, theorem 5.

    Example:
        >>> import riemann as rm
        >>> paraboloid = Pullback(lambda x: torch.stack([x[0], x[1], (x @ x) / 2]))
        >>> rm.scalar_curvature(paraboloid, torch.zeros(2))
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


def _curved(metric: Pullback) -> bool:
    return metric.ambient is not None and not is_constant(metric.ambient)


def _shortened(metric: Pullback) -> Pullback:
    """The same metric without the last layer, $A h + b$, of a network that widens: $A^T A$ is the metric on h."""
    layers = unwrapped(metric.map)
    if metric.ambient is not None or type(layers) is not torch.nn.Sequential or len(layers) < 2:
        return metric
    last = layers[-1]
    if type(last) is not torch.nn.Linear or last.in_features >= last.out_features:
        return metric
    if not (runs_as_written(layers) and runs_as_written(last)):
        return metric
    return Pullback(layers[:-1], Constant(last.weight.mT @ last.weight))


@route(at, Pullback)
def jets(metric: Pullback, x: Tensor, order: int) -> Jets:
    """Leibniz's rule on the jets of f."""
    metric = _shortened(metric)
    y, *derivatives = part_jet(metric.map, x, order + 1, (None,), _MAP)
    J = tuple(derivatives)
    if not _curved(metric):
        G = _ambient(metric, y)
        lowered = J if G is None else tuple((G @ T.flatten(x.ndim)).reshape(T.shape) for T in J)
        g, *rest = leibniz("Ai,Aj->ij", J, lowered)
        return _cleared(g, J[0], G), *rest

    def ambient(p: Tensor) -> Tensor:
        y = part(metric.map, p, (None,), _MAP)
        return part(metric.ambient, y, y.shape * 2, "ambient of Pullback")

    G = part_jet(ambient, x, order, (None, None), "ambient of Pullback")
    g, *rest = leibniz("Ai,Aj->ij", J, leibniz("AB,Bj->Aj", G, J))
    return _cleared(g, J[0], G[0]), *rest


def _cleared(g: Tensor, J: Tensor, G: Tensor | None) -> Tensor:
    """The induced metric, 0 where an entry is what rounding leaves of terms that cancel: a null direction is null."""
    if G is None:
        return g

    def rest(g: Tensor, J: Tensor, G: Tensor) -> Tensor:
        size = J.abs().mT @ G.abs() @ J.abs()
        return torch.where(g.abs() <= ROUNDING * torch.finfo(g.dtype).eps * size, g, torch.zeros_like(g))

    return g - _jets.frozen(rest, g, J, G)  # a constant, so that derivatives of the entry stay


def _lower(G: Tensor | None, a: Tensor) -> Tensor:
    """Rows `(*batch, k, m)` of ambient vectors with the index down."""
    return a if G is None else a @ G


def _ambient(metric: Pullback, y: Tensor) -> Tensor | None:
    if metric.ambient is None:
        return None
    return metric_jet(metric.ambient, y, 0)[0] if _curved(metric) else metric.ambient(y)


def _tangent(J: Tensor, G: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The inverse of the induced metric, and the normal part of rows `(*batch, k, m)` of ambient vectors."""
    GJ = J if G is None else G @ J
    inverse = formulas.inverse_metric(_cleared(J.mT @ GJ, J, G))
    return inverse, lambda a: a - a @ GJ @ inverse @ J.mT


def immersed(metric: Pullback, x: Tensor, what: str = _MAP) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    r"""$f$, $J^A_i$, the ambient metric there (None: identity), and $\bar\nabla_i \partial_j f$, `[..., A, i, j]`."""
    y, J, second = part_jet(metric.map, x, 2, (None,), what)
    G = _ambient(metric, y)
    if _curved(metric):
        gamma = _curvature.christoffel(metric.ambient, y)
        second = second + torch.einsum("...ABC,...Bi,...Cj->...Aij", gamma, J, J)
    return y, J, G, second


def _second(metric: Pullback, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""$f$, $J^A_i$, $II_{ij}{}^A$ with rows ij, `(*batch, n², m)`, the same with A down, and the inverse metric."""
    y, J, G, second = immersed(_shortened(metric), x)
    inverse, normal = _tangent(J, G)
    second = second.movedim(-3, -1).flatten(-3, -2)
    II = normal(second)
    if has_values(II):
        _say_few(*(y.detach() for y in (J, II, second, inverse)))
    return y, J, II, _lower(G, II), inverse


def _say_few(J: Tensor, II: Tensor, second: Tensor, inverse: Tensor) -> None:
    """Says where the normal part of the second derivatives keeps few digits: they are far larger along the surface."""
    r = J.square().sum(-2).rsqrt()
    rr = (r.unsqueeze(-1) * r.unsqueeze(-2)).square().flatten(-2)
    normal, whole = (torch.linalg.vecdot(rr, y.square().sum(-1)) for y in (II, second))
    h = (inverse / (r.unsqueeze(-1) * r.unsqueeze(-2))).abs().amax((-1, -2))
    say_few(last_bits(h.square() * (normal * whole).sqrt()), normal)


def _raised(II: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    r"""$II^i{}_j$, `[..., i, j, A]`, and the trace, `[..., A]`."""
    n, m = inverse.shape[-1], II.shape[-1]
    raised = (inverse @ II.unflatten(-2, (n, n)).flatten(-2)).unflatten(-1, (n, m))
    return raised, raised.diagonal(dim1=-3, dim2=-2).sum(-1)


@route(_curvature.riemann_tensor, Pullback)
def riemann_tensor(metric: Pullback, x: Tensor, indices: str = "ulll") -> Tensor:
    r"""$\langle II_{ik}, II_{jl} \rangle - \langle II_{il}, II_{jk} \rangle + f^* \bar R_{ijkl}$."""
    y, J, II, lowered, _ = _second(metric, x)
    n = x.shape[-1]
    products = (II @ lowered.mT).unflatten(-1, (n, n)).unflatten(-3, (n, n)).transpose(-3, -2)
    riemann = products - products.mT
    if _curved(metric):
        pulled = _curvature.riemann_tensor(metric.ambient, y, "llll")
        for _ in range(4):  # each index in turn
            pulled = torch.einsum("...ABCD,...Ai->...BCDi", pulled, J)
        riemann = riemann + pulled
    return positioned(metric, x, riemann, indices, "the Riemann tensor")


def _traced(metric: Pullback, y: Tensor, J: Tensor, inverse: Tensor) -> Tensor:
    r"""$g^{ik} J^A_i J^C_k \bar R_{ABCD}\, J^B_j J^D_l$, `[..., j, l]`."""
    riemann = _curvature.riemann_tensor(metric.ambient, y, "llll")
    return J.mT @ torch.einsum("...AC,...ABCD->...BD", J @ inverse @ J.mT, riemann) @ J


@route(_curvature.ricci_tensor, Pullback)
def ricci_tensor(metric: Pullback, x: Tensor, indices: str = "ll") -> Tensor:
    r"""$\langle \mathrm{tr}\, II, II_{jl} \rangle - g^{ik} \langle II_{il}, II_{kj} \rangle$, and the ambient part."""
    y, J, II, lowered, inverse = _second(metric, x)
    n = x.shape[-1]
    raised, trace = _raised(II, inverse)
    first = (lowered @ trace.unsqueeze(-1)).squeeze(-1).unflatten(-1, (n, n))
    ricci = first - torch.einsum("...ijA,...ilA->...jl", raised, lowered.unflatten(-2, (n, n)))
    if _curved(metric):
        ricci = ricci + _traced(metric, y, J, inverse)
    return positioned(metric, x, ricci, indices, "the Ricci tensor")


@route(_curvature.scalar_curvature, Pullback)
def scalar_curvature(metric: Pullback, x: Tensor) -> Tensor:
    r"""$|\mathrm{tr}\, II|^2 - |II|^2$, and the ambient curvature of the tangent planes."""
    y, J, II, lowered, inverse = _second(metric, x)
    raised, trace = _raised(II, inverse)
    other, lowered_trace = (raised, trace) if II is lowered else _raised(lowered, inverse)
    scalar = (trace * lowered_trace).sum(-1) - (raised * other.transpose(-3, -2)).sum((-3, -2, -1))
    if _curved(metric):
        scalar = scalar + contract(inverse, _traced(metric, y, J, inverse))
    return scalar


# ------------------------------------------------------------------------------------------------ of given vectors


def _push(J: Tensor, *vectors: Tensor) -> list[Tensor]:
    return [(J @ a.unsqueeze(-1)).squeeze(-1) for a in vectors]


def _acceleration(metric: Pullback, x: Tensor, y: Tensor, J: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\bar\nabla_u (df\, v)$ of constant u, v, a row `(*batch, 1, m)`: the connection and, normal to it, II."""
    second = _jets.jets_along(part_field(metric.map, x, (None,), _MAP), x, (u, v), 2)[2][..., 0, 1]
    if _curved(metric):
        second = second + _curvature.christoffel_vector(metric.ambient, y, *_push(J, u, v))
    return second.unsqueeze(-2)


@route(_curvature.christoffel_vector, Pullback)
def christoffel_vector(metric: Pullback, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$g^{-1} J^T G\, \bar\nabla_u (df\, v)$: one second derivative of f."""
    metric = _shortened(metric)
    y, J = part_jet(metric.map, x, 1, (None,), _MAP)
    G = _ambient(metric, y)
    inverse, _ = _tangent(J, G)
    return (_lower(G, _acceleration(metric, x, y, J, u, v)) @ J @ inverse).squeeze(-2)


@route(_curvature.sectional_form, Pullback)
def sectional_form(metric: Pullback, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\langle II(u,u), II(v,v) \rangle - |II(u,v)|^2$, and that of the ambient space."""
    metric = _shortened(metric)
    y, J = part_jet(metric.map, x, 1, (None,), _MAP)
    G = _ambient(metric, y)
    _, normal = _tangent(J, G)
    uu, vv, uv = (normal(_acceleration(metric, x, y, J, a, b)) for a, b in ((u, u), (v, v), (u, v)))
    form = (uu * _lower(G, vv) - uv * _lower(G, uv)).sum((-2, -1))
    if _curved(metric):
        form = form + _curvature.sectional_form(metric.ambient, y, *_push(J, u, v))
    return form


@route(_curvature.curvature_endomorphism, Pullback)
def curvature_endomorphism(metric: Pullback, x: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    r"""$\langle II(u, \cdot), II(v, w) \rangle - \langle II(v, \cdot), II(u, w) \rangle$, raised."""
    y, J, II, lowered, inverse = _second(metric, x)
    n = x.shape[-1]
    II, lowered = II.unflatten(-2, (n, n)), lowered.unflatten(-2, (n, n))
    II_u, II_v = (torch.einsum("...ijA,...i->...jA", II, a) for a in (u, v))
    vw, uw = (torch.einsum("...ijA,...i,...j->...A", lowered, a, w) for a in (v, u))
    image = (II_u @ vw.unsqueeze(-1) - II_v @ uw.unsqueeze(-1)).squeeze(-1)
    if _curved(metric):
        ambient = _curvature.curvature_endomorphism(metric.ambient, y, *_push(J, u, v, w)).unsqueeze(-2)
        image = image + (_lower(_ambient(metric, y), ambient) @ J).squeeze(-2)
    return (inverse @ image.unsqueeze(-1)).squeeze(-1)


derive(
    Pullback,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.weyl_tensor,
    _curvature.kretschmann_scalar,
    _curvature.ricci_curvature,
    _curvature.sectional_curvature,
)
