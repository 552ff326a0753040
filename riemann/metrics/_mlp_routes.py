"""The routes that an `MLPCholesky` brings to the open functions: closed forms."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._indices import bilinear
from riemann._open import route
from riemann._points.checks import has_values
from riemann._rounding import judged_forms
from riemann.metrics import _mlp_digits, _moving_frame
from riemann.metrics._mlp_cholesky import MLPCholesky
from riemann.metrics._mlp_jets import factor_jet, pull_back, values
from riemann.metrics._moving_frame import moving_frame

IN_CACHE = 2**20  # numbers in one array: outside the cache the formulas take twice the time


def _over_points(f: Callable[..., Any], metric: MLPCholesky, x: Tensor, *arguments: Tensor, largest: int) -> Any:
    """`f(points, *arguments)` of flat batches that keep to the cache; arguments lead with the batch of x.

    `largest` is how many numbers f's largest array has a point.
    """
    check_points(metric, x)
    batch = x.shape[:-1]
    flat = [a.reshape((batch.numel(), *a.shape[len(batch) :])) for a in (x, *arguments)]
    size = max(1, IN_CACHE // largest)
    results = [f(*piece) for piece in zip(*(a.split(size) for a in flat), strict=True)]

    def joined(parts: Any) -> Tensor:
        y = parts[0] if len(parts) == 1 else torch.cat(parts)
        return y.reshape((*batch, *y.shape[1:]))

    if isinstance(results[0], tuple):
        return tuple(joined(parts) for parts in zip(*results, strict=True))
    return joined(results)


def check_points(metric: MLPCholesky, x: Tensor) -> None:
    """Raises unless `x` holds points that the network takes: dimension, dtype, device."""
    W = metric.layers[0].weight
    if x.shape[-1] != metric.dim:
        raise ValueError(f"`x` has shape {tuple(x.shape)}, expected (*batch, {metric.dim}), the metric's dimension")
    if x.dtype != W.dtype or x.device != W.device:
        raise ValueError(
            f"`x` is {x.dtype} on {x.device}, but the metric's weights are {W.dtype} on {W.device}; use "
            f"`metric.to(x)`, or move x"
        )


def _of_frame(metric: MLPCholesky) -> int:
    """The largest array of a moving frame, numbers a point."""
    return metric.dim**2 * max(metric.dim, metric.layers[-1].in_features)


def _planes(metric: MLPCholesky) -> int:
    """How many sectional curvatures S adds up: errors are judged by what comes to one of them."""
    return max(1, metric.dim * (metric.dim - 1))


# ------------------------------------------------------------------------------------------------------ curvature


@route(_curvature.scalar_curvature, MLPCholesky)
def scalar_curvature(metric: MLPCholesky, x: Tensor) -> Tensor:
    """S in time O(n²H(n + H))."""

    def scalar(p: Tensor) -> tuple[Tensor, Tensor]:
        frame = moving_frame(metric, p)
        return _moving_frame.scalar_curvature(frame), _mlp_digits.error(frame)

    value, error = _over_points(scalar, metric, x, largest=_of_frame(metric))
    _mlp_digits.say(error, value.abs(), _planes(metric))
    return value


@route(_curvature.ricci_tensor, MLPCholesky)
def ricci_tensor(metric: MLPCholesky, x: Tensor, indices: str = "ll") -> Tensor:
    """Ricci without an array of n⁴ numbers."""

    def ricci(p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frame = moving_frame(metric, p)
        value, error, L = _moving_frame.ricci_tensor(frame), _mlp_digits.error(frame), frame.here.L
        with torch.no_grad():
            doubted = has_values(error) and bool((error > 0).any())
            size = (frame.E @ value @ frame.E.mT).abs().amax((-2, -1)) if doubted else error
        return formulas.change_indices(L @ L.mT, value, "ll", indices), error, size

    value, error, size = _over_points(ricci, metric, x, largest=_of_frame(metric))
    _mlp_digits.say(error, metric.dim * size, _planes(metric))
    return value


@route(_curvature.ricci_curvature, MLPCholesky)
def ricci_curvature(metric: MLPCholesky, x: Tensor, v: Tensor) -> Tensor:
    """`Ric(v, v)` by the closed Ricci tensor."""
    return bilinear(ricci_tensor(metric, x), v, v)


@route(_curvature.sectional_form, MLPCholesky)
def sectional_form(metric: MLPCholesky, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`<R(u,v)v, u>` in two passes through the weights."""
    plane = torch.stack((u, v), -2)
    # its arrays are 4n² numbers a plane; larger pieces than fit, because each piece reads all weights, n²H/2 of them
    pieces = max(1, metric.dim**2 // 2)
    return judged_forms(_over_points(lambda p, s: _curvature_form(metric, p, s), metric, x, plane, largest=pieces))


def _curvature_form(metric: MLPCholesky, x: Tensor, plane: Tensor) -> Tensor:
    r"""$\langle R(u,v)v, u \rangle$ for planes `(z, 2, n)` of u and v, with its sizes: `(z, 3)`.

    With $a_p = L^T p$, $D_s D_t\, g(p,q) = D_s D_t (a_p \cdot a_q)$ and, for $p, q, s, t$ among u and v,
    $D_u D_v\, g(u,v) - \tfrac12 D_u D_u\, g(v,v) - \tfrac12 D_v D_v\, g(u,u)
    + E G(u,v) \cdot E G(u,v) - E G(u,u) \cdot E G(v,v)$,
    $G(p,q) = \tfrac12 (D_p g\, q + D_q g\, p - \partial\, g(p,q))$.
    """
    here = values(metric, x)
    L, DL, DDL = factor_jet(metric, here, plane)
    a = plane @ L
    Da = torch.einsum("zpi,zsik->zspk", plane, DL)
    DDa = torch.einsum("zpi,zstik->zstpk", plane, DDL)

    def second(s: int, t: int, p: int, q: int) -> Tensor:  # the terms of D_s D_t g(p, q)
        outer = DDa[:, s, t, p] * a[:, q], a[:, p] * DDa[:, s, t, q]
        return torch.cat((*outer, Da[:, s, p] * Da[:, t, q], Da[:, t, p] * Da[:, s, q]), -1)

    p, q = [0, 0, 1], [0, 1, 1]  # G of (u, u), (u, v), (v, v)
    outer = plane[:, p, :, None] * a[:, q, None]
    outer = outer + plane[:, q, :, None] * a[:, p, None]
    slopes = torch.einsum("zsik,zpk->zspi", DL, a) + torch.einsum("zik,zspk->zspi", L, Da)  # D_s g p
    G = 0.5 * (slopes[:, p, q] + slopes[:, q, p] - pull_back(metric, here, outer))
    G_uu, G_uv, G_vv = torch.linalg.solve_triangular(L, G.mT, upper=False).unbind(-1)
    products = G_uv * G_uv, -G_uu * G_vv
    terms = torch.cat((second(0, 1, 0, 1), -0.5 * second(0, 0, 1, 1), -0.5 * second(1, 1, 0, 0), *products), -1)
    return torch.stack((terms.sum(-1), terms.abs().sum(-1), a.square().sum(-1).prod(-1)), -1)


# --------------------------------------------------------------------------------------------- the metric and its jets


@route(_curvature.at, MLPCholesky)
def jets(metric: MLPCholesky, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """The jets of g from those of L; third derivatives by differentiation."""
    if order > 2:
        check_points(metric, x)
        return _jets.jet(metric, x, order)

    _, *derivatives = _over_points(lambda p: jets_at(metric, p, order), metric, x, largest=metric.dim ** (2 + order))
    return metric(x), *derivatives  # also where the factor has a 0 on its diagonal: who asks sees the rank


def jets_at(metric: MLPCholesky, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """`(g, dg, ddg)` to an order of 2 or less, at points `(z, n)`."""
    basis = torch.eye(metric.dim, dtype=x.dtype, device=x.device).expand(*x.shape, -1)
    L, *derivatives = factor_jet(metric, values(metric, x), basis, order)
    g = L @ L.mT
    if order == 0:
        return (g,)
    DL = derivatives[0]
    half = torch.einsum("zkim,zjm->zijk", DL, L)
    dg = half + half.transpose(1, 2)
    if order == 1:
        return g, dg
    half = torch.einsum("zklim,zjm->zijkl", derivatives[1], L) + torch.einsum("zkim,zljm->zijkl", DL, DL)
    return g, dg, half + half.transpose(1, 2)


@route(_curvature.inverse_metric, MLPCholesky)
def inverse_metric(metric: MLPCholesky, x: Tensor) -> Tensor:
    """`E^T E` with E the inverse factor."""

    def inverse(p: Tensor) -> Tensor:
        L = values(metric, p).L
        E = torch.linalg.solve_triangular(L, torch.eye(metric.dim, dtype=p.dtype, device=p.device), upper=False)
        return E.mT @ E

    return _over_points(inverse, metric, x, largest=metric.dim**2)


@route(_curvature.log_volume_element, MLPCholesky)
def log_volume_element(metric: MLPCholesky, x: Tensor) -> Tensor:
    """Logarithms of the factor's diagonal, added up: of all outputs only these n are computed."""
    check_points(metric, x)
    h, last = x, metric.layers[-1]
    for k, layer in enumerate(metric.layers[:-1]):
        h = metric.units(k, layer(h))
    o = torch.nn.functional.linear(h, last.weight[metric.on_diagonal], last.bias[metric.on_diagonal])
    diagonal = metric.diagonal(o)
    return torch.where(diagonal > 0, diagonal, torch.nan).log().sum(-1)


@route(_curvature.volume_element, MLPCholesky)
def volume_element(metric: MLPCholesky, x: Tensor) -> Tensor:
    """The product of the factor's diagonal."""
    return log_volume_element(metric, x).exp()
