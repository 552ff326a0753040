r"""What a metric's structure says of lengths, normal vectors, volume and curvature, without an array `(n, n)`.

Networks of the families `"diagonal"`, `"conformal"` and `"low_rank"` are $g = \mathrm{diag}(d) + U U^T$ with d, U the
outputs of perceptrons, whose derivatives along a plane the chain rule gives layer by layer. An `MLPCholesky` has its
factor. Of any other metric g is formed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import riemann
from riemann import metrics
from riemann.metrics import MLPCholesky
from riemann.metrics.elementwise import elementwise_jet, has_closed_jet
from riemann_nn._fields.metric_net import MetricNet, Scalar
from riemann_nn._fields.smooth import Function


def squared_distances(metric: Any, z: Tensor, c: Tensor) -> Tensor:
    r"""$g_z(z - c, z - c)$ from points `(*batch, n)` to prototypes `(k, n)`, `(*batch, k)`.

    Where parts are known no array `(*batch, k, n)` is made either: the square of a difference is multiplied out, from
    the middle of the prototypes, so that what cancels is no larger than their spread.
    """
    inner = structure_of(metric)
    found = parts_of(inner)
    if found is None:
        v = z.unsqueeze(-2) - c
        if isinstance(inner, MLPCholesky):
            return (v @ inner.factor(z)).square().sum(-1)
        return ((v @ metric(z)) * v).sum(-1)
    d, U = found(z)
    middle = c.mean(0).detach()  # distances do not depend on it
    z, c = z - middle, c - middle
    dz = d * z
    squares = (dz * z).sum(-1, keepdim=True) - 2 * dz @ c.mT + d @ c.square().mT
    squares = squares.clamp_min(0)
    if U is None:
        return squares
    along_c = (U.mT.reshape(-1, U.shape[-2]) @ c.mT).reshape(*U.shape[:-2], U.shape[-1], -1)
    return squares + ((z.unsqueeze(-2) @ U).mT - along_c).square().sum(-2)


def normal_vectors(metric: Any, z: Tensor, generator: torch.Generator | None, count: int) -> tuple[Tensor, Tensor]:
    r"""Normal random vectors of covariance $g^{-1}$ and their covectors, both `(count, *z.shape)`.

    The covectors are drawn: of covariance $g = L L^T$ they are $L \xi$, or $\sqrt d\, \xi + U \eta$.

    Raises:
        ValueError: g is not positive definite at a point.
    """
    drawn = {} if generator is None else {"generator": generator}  # with which torch wants sizes that are no symbols

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, dtype=z.dtype, device=z.device, **drawn)

    inner = structure_of(metric)
    found = parts_of(inner)
    if found is not None:
        d, U = found(z)
        covectors = d.sqrt() * normal(*z.shape)
        if U is None:
            return covectors / d, covectors
        covectors = covectors + (U @ normal(*U.shape[:-2], U.shape[-1], 1)).squeeze(-1)
        return _raised(d, U, covectors), covectors
    if isinstance(inner, MLPCholesky):
        L = inner.factor(z)
        _definite(L.diagonal(dim1=-2, dim2=-1) > 0)
    else:
        L, info = torch.linalg.cholesky_ex(riemann.at(metric, z, 0).g)
        _definite(info == 0)
    xi = normal(*z.shape).unsqueeze(-1)
    return torch.linalg.solve_triangular(L.mT, xi, upper=True).squeeze(-1), (L @ xi).squeeze(-1)


def _definite(holds: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    try:
        definite = bool(holds.all())
    except RuntimeError:  # inside `vmap`
        return
    if not definite:
        raise ValueError(
            "`metric` is not positive definite, so that there are no uniformly random planes; use estimator='exact' "
            "with kind='scalar', 'ricci' or 'riemann'"
        )


def structure_of(metric: Any) -> Any:
    """The structured metric inside a `MetricNet`, or an `MLPCholesky`, if the values are those; else `metric`."""
    if type(metric) not in (MetricNet, MLPCholesky):
        return metric
    inner = metric.structure if isinstance(metric, MetricNet) else metric
    if torch.compiler.is_compiling():  # outside of a graph hooks and patches are looked for
        return inner
    return inner if all(riemann.volume_element.route(m) != "generic" for m in (metric, inner)) else metric


class Parts(NamedTuple):
    r"""The networks of $\mathrm{diag}(d) + U U^T$: modules that act one after the other.

    Attributes:
        diagonal: to d, `(*batch, n)`, or `(*batch, 1)` where all its entries are one.
        factor: to the entries of U, `(*batch, n r)`, or None.
    """

    diagonal: list[torch.nn.Module]
    factor: list[torch.nn.Module] | None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """d and U, `(*batch, n, r)`, at points `(*batch, n)`."""
        d = _value(self.diagonal, x).expand(x.shape)
        return d, None if self.factor is None else _value(self.factor, x).unflatten(-1, (x.shape[-1], -1))


class _Squared(torch.nn.Module):
    r"""$c\, e^{2z}$, the diagonal of a conformal metric."""

    def __init__(self, scale: float | Tensor):
        super().__init__()
        self.scale = scale

    def forward(self, z: Tensor) -> Tensor:
        """The map, elementwise."""
        return self.scale * torch.exp(2 * z)

    def jet(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map and its first and second derivatives."""
        f = self(z)
        return f, 2 * f, 4 * f


def parts_of(metric: Any) -> Parts | None:
    """The networks of a structured metric of one of the three families; None for other metrics, and other networks."""
    if isinstance(metric, metrics.Diagonal):
        diagonal, factor = metric.entries, None
    elif isinstance(metric, metrics.LowRankPlusDiagonal) and metric.signs is None:
        diagonal, factor = metric.diagonal, metric.factor
    elif isinstance(metric, metrics.Conformal):
        diagonal, factor = metric.log_factor, None
    else:
        return None
    networks = [None if f is None else _steps(f) for f in (diagonal, factor)]
    if networks[0] is None or (factor is not None and networks[1] is None):
        return None
    if isinstance(metric, metrics.Conformal):
        matrix = metric.base.matrix  # of a `MetricNet`: a multiple of the identity
        networks[0].append(_Squared(1.0 if matrix is None else matrix[0, 0]))
    return Parts(*networks)


def _steps(f: Any) -> list[Any] | None:
    """What acts in turn: linear layers and elementwise maps of known derivatives; None if something else does."""
    if not isinstance(f, torch.nn.Sequential):
        return None
    steps = [m.f if isinstance(m, Function) else m for m in f if not isinstance(m, torch.nn.Unflatten | Scalar)]
    return steps if all(isinstance(m, torch.nn.Linear) or has_closed_jet(m) for m in steps) else None


def _value(steps: list[Any], x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x


def _raised(d: Tensor, U: Tensor | None, w: Tensor) -> Tensor:
    r"""$g^{-1} w$ by Woodbury's formula; w may have axes before those of d."""
    y = w / d
    if U is None:
        return y
    scaled = U / d.unsqueeze(-1)
    small = torch.linalg.solve(_core(U, scaled), (w.unsqueeze(-2) @ scaled).mT)
    return y - (scaled @ small).squeeze(-1)


def _core(U: Tensor, scaled: Tensor) -> Tensor:
    r"""$1 + U^T D^{-1} U$."""
    return torch.eye(U.shape[-1], dtype=U.dtype, device=U.device) + U.mT @ scaled


# --------------------------------------------------------------------------------- derivatives of networks, in a plane


class _Jet(NamedTuple):
    """A network's outputs o at points `(z, n)` and their derivatives along vectors u, v.

    Attributes:
        value: `(z, m)`.
        first: `(z, 2, m)`, along u and v.
        second: `(z, 3, m)`, along uu, uv, vv.
        back: gradients `(z, q, n)` of `covectors . o`, for covectors `(z, q, m)`.
    """

    value: Tensor
    first: Tensor
    second: Tensor
    back: Callable[[Tensor], Tensor]


def _jet(steps: list[Any], x: Tensor, plane: Tensor) -> _Jet:
    """The chain rule, step by step."""
    value, first, second = x, plane, None
    back: list[Tensor] = []  # what multiplies covectors: weights, or slopes
    for step in steps:
        if isinstance(step, torch.nn.Linear):
            value, first = step(value), first @ step.weight.mT
            second = None if second is None else second @ step.weight.mT
            back.append(step.weight)
        else:
            value, slope, bend = elementwise_jet(step, value)
            products = bend.unsqueeze(1) * _left(first, 1) * _right(first, 1)
            second = products if second is None else products + slope.unsqueeze(1) * second
            first = slope.unsqueeze(1) * first
            back.append(slope.unsqueeze(1))

    def pulled_back(w: Tensor) -> Tensor:
        for factor in reversed(back):
            w = w @ factor if factor.ndim == 2 else w * factor
        return w

    return _Jet(value, first, second, pulled_back)


def _left(T: Tensor, axis: int) -> Tensor:
    """Of an axis over u, v: the first of the pairs uu, uv, vv. Indices in a list would cost more to differentiate."""
    u, v = T.narrow(axis, 0, 1), T.narrow(axis, 1, 1)
    return torch.cat((u, u, v), axis)


def _right(T: Tensor, axis: int) -> Tensor:
    """The second of the pairs."""
    u, v = T.narrow(axis, 0, 1), T.narrow(axis, 1, 1)
    return torch.cat((u, v, v), axis)


def _curvature_form(parts: Parts, x: Tensor, plane: Tensor) -> Tensor:
    r"""$\langle R(u,v)v, u \rangle$ for planes `(z, 2, n)` at points `(z, n)`: that of `_routes`, with $g = D + U U^T$.

    $g(p,q) = d \cdot pq + a_p \cdot a_q$ with $a_p = U^T p$.
    """
    n = x.shape[-1]
    outer = _left(plane, 1) * _right(plane, 1)  # uu, uv, vv
    d = _jet(parts.diagonal, x, plane)
    one = d.value.shape[-1] != n  # all entries of d are one
    sums = outer.sum(-1, keepdim=True) if one else outer
    second = d.second @ sums.mT  # [D_s D_t, p q]
    # D_s g p for s, p in u, v: [s, p, i]
    slopes = d.first.unsqueeze(2) * plane.unsqueeze(1)
    gradients = d.back(sums)
    U = None
    if parts.factor is not None:
        jet = _jet(parts.factor, x, plane)
        U, DU, DDU = (T.unflatten(-1, (n, -1)) for T in jet[:3])
        a = plane @ U
        Da = plane.unsqueeze(1) @ DU  # [s, p, r]
        DDa = plane.unsqueeze(1) @ DDU  # [st, p, r]
        a_p, a_q = _left(a, 1), _right(a, 1)
        crossed = _left(DDa, 2) * a_q.unsqueeze(1) + _right(DDa, 2) * a_p.unsqueeze(1)
        along_s, along_t = _left(Da, 1), _right(Da, 1)
        crossed = crossed + _left(along_s, 2) * _right(along_t, 2) + _left(along_t, 2) * _right(along_s, 2)
        second = second + crossed.sum(-1)
        slopes = slopes + (DU @ a.mT.unsqueeze(1)).mT + Da @ U.mT.unsqueeze(1)
        products = _left(plane, 1).unsqueeze(-1) * a_q.unsqueeze(-2)
        products = products + _right(plane, 1).unsqueeze(-1) * a_p.unsqueeze(-2)
        gradients = gradients + jet.back(products.flatten(-2))
    uu, uv, vu, vv = slopes.flatten(1, 2).unbind(1)  # [s, p]
    G = 0.5 * (torch.stack((2 * uu, uv + vu, 2 * vv), 1) - gradients)
    diagonal = d.value.expand(x.shape).unsqueeze(1)
    raised = _raised(diagonal, None if U is None else U.unsqueeze(1), G)
    products = (G[:, 1] * raised[:, 1] - G[:, 0] * raised[:, 2]).sum(-1)
    return second[:, 1, 1] - 0.5 * (second[:, 0, 2] + second[:, 2, 0]) + products


# ------------------------------------------------------------------------------------------------------------- routes


@riemann.sectional_form.register(MetricNet)
def sectional_form(metric: MetricNet, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`<R(u,v)v, u>`, in two passes through the networks where they are perceptrons."""
    inner = structure_of(metric)
    parts = parts_of(inner)
    if parts is None:
        return riemann.sectional_form(metric.structure, x, u, v, chunk_size=None)
    _check_points(metric, x)
    x, u, v = torch.broadcast_tensors(x, u, v)
    n = x.shape[-1]
    forms = _curvature_form(parts, x.reshape(-1, n), torch.stack((u, v), -2).reshape(-1, 2, n))
    return forms.reshape(x.shape[:-1])


def is_light(metric: Any) -> bool:
    """Whether all points can be taken at once: of known parts the arrays are those of the networks."""
    return parts_of(structure_of(metric)) is not None


def log_volumes(metric: Any, x: Tensor) -> Tensor:
    """`riemann.log_volume_element`, of all points at once where that is light."""
    return log_volume_element(metric, x) if is_light(metric) else riemann.log_volume_element(metric, x)


@riemann.log_volume_element.register(MetricNet)
def log_volume_element(metric: MetricNet, x: Tensor) -> Tensor:
    r"""$\tfrac12 \sum \log d + \tfrac12 \log \det(1 + U^T D^{-1} U)$."""
    parts = parts_of(structure_of(metric))
    if parts is None:
        return riemann.log_volume_element(metric.structure, x, chunk_size=None)
    _check_points(metric, x)
    d, U = parts(x)
    log = 0.5 * d.log().sum(-1)
    if U is None:
        return log
    core = _core(U, U / d.unsqueeze(-1))
    return log + torch.linalg.cholesky(core).diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _check_points(metric: MetricNet, x: Tensor) -> None:
    """Raises unless `x` holds points that the networks take: dimension, dtype, device."""
    p = next(metric.parameters())
    if x.shape[-1] != metric.dim or x.dtype != p.dtype or x.device != p.device:
        raise ValueError(
            f"`x` has shape {tuple(x.shape)}, {x.dtype} on {x.device}, expected (*batch, {metric.dim}), {p.dtype} on "
            f"{p.device}, as the metric's weights; use `metric.to(x)`, or move x"
        )
