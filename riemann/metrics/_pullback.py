"""Metrics induced by a map into another space: $g = f^* G$, with curvature from Gauss's equation.

All quantities are made of the second fundamental form, here: therefore long.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._curvature import at
from riemann._indices import bilinear, matvec, metric_trace
from riemann._metric import jets_of, metric_jet
from riemann._modules import runs_as_written, unwrapped
from riemann._points.checks import carry_derivatives, check_count, has_values
from riemann._points.chunks import BUDGET
from riemann._rank import ROUNDING
from riemann._rounding import judged_forms, judged_images, last_bits, say_few
from riemann._types import Field, Metric
from riemann.metrics._constant import Constant, is_constant
from riemann.metrics._structure import (
    Jets,
    composed,
    derive,
    leibniz,
    part,
    part_field,
    part_jet,
    positioned,
    route,
)


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
        copies: k, where the ambient space is the product of k of these, and m is k times the dimension of one.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4, theorem 5.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> paraboloid = Pullback(lambda x: torch.stack([x[0], x[1], (x @ x) / 2]))
        >>> rm.scalar_curvature(paraboloid, torch.zeros(2))
        tensor(2.)
    """

    def __init__(self, map: Field, ambient: Metric | None = None, copies: int = 1):
        super().__init__()
        check_count("copies", copies, 1)
        self.map = map
        self.ambient: Any = ambient
        self.copies = copies

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        y, J = part_jet(self.map, x, 1, (None,), _MAP)
        if self.ambient is None:
            return J.mT @ J
        if self.copies == 1:
            return J.mT @ part(self.ambient, y, y.shape * 2, "ambient of Pullback") @ J
        return J.mT @ _lower(_ambient(self, y), J.mT).mT


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


def _map_jet(metric: Pullback, x: Tensor, order: int, what: str = _MAP) -> Jets:
    """The jets of the map."""
    return _standing(*part_jet(metric.map, x, order, (None,), what))


def _standing(y: Tensor, *derivatives: Tensor) -> Jets:
    """Jets of a map: where it has no value, derivatives are NaN, and another point of the space stands in."""
    if not has_values(y) or bool((finite := y.isfinite().all(-1, keepdim=True)).all()):
        return y, *derivatives
    good = y[finite.squeeze(-1)].detach()
    y = torch.where(finite, y, good[0] if len(good) else torch.ones_like(y))
    nan = [finite.reshape(*finite.shape, *[1] * (k + 1)) for k in range(len(derivatives))]
    return y, *(torch.where(keep, T, torch.nan) for keep, T in zip(nan, derivatives, strict=True))


def _each(metric: Pullback, y: Tensor) -> Tensor:
    """Points or vectors of the ambient space, `(*batch, m)`; of each copy of it, `(*batch, k, m / k)`."""
    if metric.copies == 1:
        return y
    if y.shape[-1] % metric.copies:
        raise ValueError(
            f"`map of Pullback` returned shape {tuple(y.shape[-1:])}, no {metric.copies} copies of a point"
        )
    return y.unflatten(-1, (metric.copies, -1))


def _each_row(metric: Pullback, J: Tensor) -> Tensor:
    """$J^A_i$ of each copy, `(*batch, k, m / k, n)`."""
    return _each(metric, J.mT).movedim(-3, -1) if metric.copies > 1 else J


def _summed(metric: Pullback, T: Tensor, rank: int) -> Tensor:
    """A sum over copies, of tensors of this rank."""
    return T if metric.copies == 1 else T.sum(-1 - rank)


@route(at, Pullback)
def jets(metric: Pullback, x: Tensor, order: int) -> Jets:
    """Leibniz's rule on the jets of f."""
    metric = _shortened(metric)
    y, *derivatives = _map_jet(metric, x, order + 1)
    J = tuple(derivatives)
    if not _curved(metric):
        G = _ambient(metric, y)
        lowered = J if G is None else tuple(_lower(G, T.flatten(x.ndim).mT).mT.reshape(T.shape) for T in J)
        g, *rest = leibniz("Ai,Aj->ij", J, lowered)
        return _cleared(g, J[0], G), *rest
    J = tuple(T.unflatten(x.ndim - 1, (metric.copies, -1)) for T in J)
    G = _ambient_jets(metric, x, y, J, order)
    g, *rest = leibniz("kAi,kAj->ij", J, leibniz("kAB,kBj->kAj", G, J))
    return _cleared(g, J[0].flatten(-3, -2), G[0].squeeze(x.ndim - 1)), *rest


def _ambient_jets(metric: Pullback, x: Tensor, y: Tensor, J: Jets, order: int) -> Jets:
    r"""$G_{AB} \circ f$ of each copy, with derivatives by x: differentiated by y, if that has fewer coordinates."""
    if metric.copies > 1 or y.shape[-1] <= x.shape[-1]:
        y = _each(metric, y) if metric.copies > 1 else y.unsqueeze(-2)
        return composed(jets_of(metric.ambient, y, order), J)

    def ambient(p: Tensor) -> Tensor:
        y = part(metric.map, p, (None,), _MAP)
        return part(metric.ambient, y, y.shape * 2, "ambient of Pullback").unsqueeze(0)

    return part_jet(ambient, x, order, (None, None, None), "ambient of Pullback")


def _cleared(g: Tensor, J: Tensor, G: Tensor | None) -> Tensor:
    """The induced metric, 0 where an entry is what rounding leaves of terms that cancel: a null direction is null."""
    if G is None:
        return g

    def rest(g: Tensor, J: Tensor, G: Tensor) -> Tensor:
        rounding = ROUNDING * torch.finfo(g.dtype).eps
        if has_values(g) and g.numel():
            most = G.abs().sum((-2, -1)).amax() * J.abs().amax() ** 2
            if bool((g.abs() > rounding * most).all()):
                return torch.zeros_like(g)
        size = _lower(G.abs(), J.abs().mT) @ J.abs()
        return torch.where(g.abs() <= rounding * size, g, torch.zeros_like(g))

    return g - _jets.frozen(rest, g, J, G)  # a constant, so that derivatives of the entry stay


def _lower(G: Tensor | None, a: Tensor) -> Tensor:
    """Rows `(*batch, r, m)` of ambient vectors with the index down; G is `(m, m)`, or `(k, m / k, m / k)` of copies."""
    if G is None:
        return a
    if G.shape[-1] == a.shape[-1]:
        return a @ G
    return torch.einsum("...rkA,...kAB->...rkB", a.unflatten(-1, (-1, G.shape[-1])), G).flatten(-2)


def _ambient(metric: Pullback, y: Tensor) -> Tensor | None:
    if metric.ambient is None:
        return None
    y = _each(metric, y)
    G = metric_jet(metric.ambient, y, 0)[0] if _curved(metric) else metric.ambient(y)
    return G if metric.copies == 1 else G.expand(*y.shape, y.shape[-1])


def _tangent(J: Tensor, G: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The inverse of the induced metric, and the normal part of rows `(*batch, r, m)` of ambient vectors."""
    inverse, GJ = _lowered(J, G)
    return inverse, lambda a: a - a @ GJ @ inverse @ J.mT


def _lowered(J: Tensor, G: Tensor | None) -> tuple[Tensor, Tensor]:
    """The inverse of the induced metric, and G J."""
    GJ = _lower(G, J.mT).mT
    return formulas.inverse_metric(_cleared(J.mT @ GJ, J, G)), GJ


def immersed(metric: Pullback, x: Tensor, what: str = _MAP) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    r"""$f$, $J^A_i$, the ambient metric there (None: identity), and $\bar\nabla_i \partial_j f$, `[..., A, i, j]`."""
    y, J, second = _map_jet(metric, x, 2, what)
    G = _ambient(metric, y)
    if _curved(metric):
        gamma, J_each = _curvature.christoffel(metric.ambient, _each(metric, y)), _each_row(metric, J)
        second = second + torch.einsum("...ABC,...Bi,...Cj->...Aij", gamma, J_each, J_each).reshape(second.shape)
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
    h = _larger(J, inverse)
    say_few(last_bits(h.square() * (normal * whole).sqrt()), normal)


def _larger(J: Tensor, inverse: Tensor) -> Tensor:
    """By what the inverse makes errors larger, each coordinate in its own unit."""
    r = J.square().sum(-2).rsqrt()
    return (inverse / (r.unsqueeze(-1) * r.unsqueeze(-2))).abs().amax((-1, -2))


def _size(G: Tensor | None, a: Tensor) -> Tensor:
    """The length of a row `(*batch, 1, m)` of an ambient vector, by absolute values."""
    return _inner(None if G is None else G.abs(), a.abs(), a.abs()).sqrt()


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
        pulled, J = _curvature.riemann_tensor(metric.ambient, _each(metric, y), "llll"), _each_row(metric, J)
        for _ in range(4):  # each index in turn
            pulled = torch.einsum("...ABCD,...Ai->...BCDi", pulled, J)
        riemann = riemann + _summed(metric, pulled, 4)
    return positioned(metric, x, riemann, indices, "the Riemann tensor")


def _traced(metric: Pullback, y: Tensor, J: Tensor, inverse: Tensor) -> Tensor:
    r"""$g^{ik} J^A_i J^C_k \bar R_{ABCD}\, J^B_j J^D_l$, `[..., j, l]`."""
    riemann, J = _curvature.riemann_tensor(metric.ambient, _each(metric, y), "llll"), _each_row(metric, J)
    inverse = inverse if metric.copies == 1 else inverse.unsqueeze(-3)
    traced = J.mT @ torch.einsum("...AC,...ABCD->...BD", J @ inverse @ J.mT, riemann) @ J
    return _summed(metric, traced, 2)


@route(_curvature.ricci_tensor, Pullback)
def ricci_tensor(metric: Pullback, x: Tensor, indices: str = "ll") -> Tensor:
    r"""$\langle \mathrm{tr}\, II, II_{jl} \rangle - g^{ik} \langle II_{il}, II_{kj} \rangle$, and the ambient part."""
    y, J, II, lowered, inverse = _second(metric, x)
    n = x.shape[-1]
    raised, trace = _raised(II, inverse)
    first = matvec(lowered, trace).unflatten(-1, (n, n))
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
        scalar = scalar + metric_trace(inverse, _traced(metric, y, J, inverse))
    return scalar


# ------------------------------------------------------------------------------------------------ of given vectors


def _pushed(metric: Pullback, J: Tensor, *vectors: Tensor) -> list[Tensor]:
    """The images of vectors, in each copy of the ambient space."""
    return [_each(metric, matvec(J, a)) for a in vectors]


def _acceleration(metric: Pullback, x: Tensor, y: Tensor, J: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\bar\nabla_u (df\, v)$ of constant u, v, a row `(*batch, 1, m)`: the connection and, normal to it, II."""
    second = _jets.jets_along(part_field(metric.map, x, (None,), _MAP), x, (u, v), 2)[2][..., 0, 1]
    if _curved(metric):
        gamma = _curvature.christoffel_vector(metric.ambient, _each(metric, y), *_pushed(metric, J, u, v))
        second = second + gamma.reshape(second.shape)
    return second.unsqueeze(-2)


@route(_curvature.christoffel_vector, Pullback)
def christoffel_vector(metric: Pullback, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$g^{-1} J^T G\, \bar\nabla_u (df\, v)$: one second derivative of f."""
    metric = _shortened(metric)
    y, J = _map_jet(metric, x, 1)
    G = _ambient(metric, y)
    inverse, GJ = _lowered(J, G)
    return (_acceleration(metric, x, y, J, u, v) @ GJ @ inverse).squeeze(-2)


@route(_curvature.sectional_form, Pullback)
def sectional_form(metric: Pullback, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\langle II(u,u), II(v,v) \rangle - |II(u,v)|^2$, and that of the ambient space."""
    metric = _shortened(metric)
    y, J = _map_jet(metric, x, 1)
    G = _ambient(metric, y)
    inverse, normal = _tangent(J, G)
    whole = [_acceleration(metric, x, y, J, a, b) for a, b in ((u, u), (v, v), (u, v))]
    uu, vv, uv = map(normal, whole)
    form = (uu * _lower(G, vv) - uv * _lower(G, uv)).sum((-2, -1))
    if has_values(form):
        lengths = [_size(G, matvec(J, a).unsqueeze(-2)) for a in (u, v)]
        along, other, mixed = ((_size(G, a), _size(G, b)) for a, b in zip(whole, (uu, vv, uv), strict=True))
        terms = along[0] * other[1] + along[1] * other[0] + 2 * mixed[0] * mixed[1]
        judged_forms(torch.stack((form, _larger(J, inverse) * terms, (lengths[0] * lengths[1]).square()), -1))
    if _curved(metric):
        ambient = _curvature.sectional_form(metric.ambient, _each(metric, y), *_pushed(metric, J, u, v))
        form = form + _summed(metric, ambient, 0)
    return form


@route(_curvature.curvature_endomorphism, Pullback)
def curvature_endomorphism(metric: Pullback, x: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    r"""$\langle II(u, \cdot), II(v, w) \rangle - \langle II(v, \cdot), II(u, w) \rangle$, raised."""
    y, J, II, lowered, inverse = _second(metric, x)
    n = x.shape[-1]
    II, lowered = II.unflatten(-2, (n, n)), lowered.unflatten(-2, (n, n))
    II_u, II_v = (torch.einsum("...ijA,...i->...jA", II, a) for a in (u, v))
    vw, uw = (torch.einsum("...ijA,...i,...j->...A", lowered, a, w) for a in (v, u))
    image = matvec(II_u, vw) - matvec(II_v, uw)
    if _curved(metric):
        ambient = _curvature.curvature_endomorphism(
            metric.ambient, _each(metric, y), *_pushed(metric, J, u, v, w)
        ).reshape(*y.shape[:-1], 1, y.shape[-1])
        image = image + (_lower(_ambient(metric, y), ambient) @ J).squeeze(-2)
    return matvec(inverse, image)


@route(_curvature.vectors.squared_area, Pullback)
def squared_area(metric: Pullback, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Of the images of the vectors: no `(n, n)`."""
    y, slopes = _standing(*_jets.jets_along(part_field(metric.map, x, (None,), _MAP), x, (u, v), 1))
    G = _ambient(metric, y)
    a, b = slopes.mT.unsqueeze(-2).unbind(-3)
    uu, vv, uv = (_inner(G, c, d) for c, d in ((a, a), (b, b), (a, b)))
    sizes = (uu, vv) if G is None else (_inner(G.abs(), c.abs(), c.abs()) for c in (a, b))
    return formulas.area_or_nan(uu, vv, uv, *sizes)


def _inner(G: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    return (_lower(G, a) * b).sum((-2, -1))


@route(_curvature.ricci_curvature, Pullback)
def ricci_curvature(metric: Pullback, x: Tensor, v: Tensor) -> Tensor:
    r"""$\langle \mathrm{tr}\, II, II(v,v) \rangle - \sum_a \langle II(v,e_a), II(v,e_a) \rangle$, of a frame e.

    Where all of II is more than a piece of memory, and the ambient space is flat, vectors of the frame come by blocks.
    """
    short = _shortened(metric)
    (y,) = part_jet(short.map, x, 0, (None,), _MAP)
    n, m = x.shape[-1], y.shape[-1]
    if _curved(short) or n * n * m * x.element_size() <= BUDGET or carry_derivatives(y, v):
        return bilinear(_curvature.ricci_tensor(metric, x), v, v)
    y, J = _map_jet(short, x, 1)
    G = _ambient(short, y)
    inverse, normal = _tangent(J, G)
    larger = _larger(J, inverse)
    scales, V = torch.linalg.eigh(inverse.nan_to_num())
    frame, signs = V * scales.abs().sqrt().unsqueeze(-2), torch.sign(scales) + 0 * inverse.diagonal(dim1=-2, dim2=-1)
    f = part_field(short.map, x, (None,), _MAP)
    along = _jets.jets_along(f, x, (v,), 2)[2][..., 0, 0].unsqueeze(-2)
    vv = normal(along)
    trace, square, terms = torch.zeros_like(vv), torch.zeros_like(x[..., 0]), torch.zeros_like(x[..., 0])
    size = max(1, BUDGET // (ALIVE * m * x[..., 0].numel() * x.element_size()))
    for start in range(0, n, size):
        e, sign = frame[..., start : start + size].movedim(-1, 0), signs[..., start : start + size]
        second = _jets.jets_along(f, x.expand(e.shape), (e, v.expand(e.shape)), 2)[2].movedim(0, -4)
        trace = trace + sign.unsqueeze(-2) @ second[..., 0, 0]
        ve = normal(second[..., 0, 1])
        square = square + ((_lower(G, ve) * ve).sum(-1) * sign).sum(-1)
        terms = terms + _size(G, second[..., 0, 1]) * _size(G, ve)
    terms = larger * (terms + _size(G, trace) * _size(G, along))
    return judged_images(torch.stack((_inner(G, trace, vv) - square, terms), -1), _lower(G, J.mT) @ J, v, v)


ALIVE = 64  # numbers for each value of the map while second derivatives along two vectors are taken

derive(
    Pullback,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.weyl_tensor,
    _curvature.kretschmann_scalar,
    _curvature.sectional_curvature,
)
