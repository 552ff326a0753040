"""Metrics conformal to another: $g = e^{2p} g_0$."""

from typing import Any

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._curvature import at
from riemann._indices import bilinear, matvec, metric_trace
from riemann._metric import jets_of, metric_jet
from riemann._points.checks import has_values
from riemann._rounding import judged_forms, last_bits, say_few
from riemann._types import Field, Metric
from riemann.metrics._constant import Constant, is_constant
from riemann.metrics._structure import (
    Jets,
    derive,
    leibniz,
    part,
    part_field,
    part_jet,
    positioned,
    route,
    scaled,
)


class Conformal(torch.nn.Module):
    r"""$g = e^{2p} g_0$: curvature from that of $g_0$ and the first two derivatives of one scalar.

    With $T = \nabla\nabla p - dp\,dp + \tfrac12 |dp|^2 g_0$ (all of $g_0$): $R = e^{2p} (R_0 - g_0 \wedge T)$, and
    $S = e^{-2p} (S_0 - 2(n-1) \Delta p - (n-1)(n-2) |dp|^2)$: one Laplacian where $g_0$ is flat.

    Args:
        base: $g_0$, a metric; flat, the identity, if it is None.
        log_factor: p, one point `(n,)` to a scalar `()`.

    Reference:
        Besse, *Einstein Manifolds* (1987), theorem 1.159.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> half_plane = Conformal(None, lambda x: -torch.log(x[1]))
        >>> rm.scalar_curvature(half_plane, torch.tensor([0.0, 2.0]))
        tensor(-2.)
    """

    def __init__(self, base: Metric | None, log_factor: Field):
        super().__init__()
        self.base: Any = Constant() if base is None else base
        self.log_factor = log_factor

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        n = x.shape[-1]
        factor = torch.exp(2 * part(self.log_factor, x, (), "log_factor of Conformal"))
        return factor * part(self.base, x, (n, n), "base of Conformal")


def _field(metric: Conformal, x: Tensor) -> Field:
    return part_field(metric.log_factor, x, (), "log_factor of Conformal")


def _p(metric: Conformal, x: Tensor, order: int) -> Jets:
    return part_jet(metric.log_factor, x, order, (), "log_factor of Conformal")


def _factor(metric: Conformal, x: Tensor, power: int = 2) -> Tensor:
    return torch.exp(power * _p(metric, x, 0)[0])


@route(at, Conformal)
def jets(metric: Conformal, x: Tensor, order: int) -> Jets:
    """Leibniz's rule."""
    log_factor = lambda y: part(metric.log_factor, y, (), "log_factor of Conformal")
    factor = part_jet(lambda y: torch.exp(2 * log_factor(y)), x, order, (), "log_factor of Conformal")
    return leibniz(",ab->ab", factor, jets_of(metric.base, x, order))


@route(_curvature.inverse_metric, Conformal)
def inverse_metric(metric: Conformal, x: Tensor) -> Tensor:
    """e^-2p times that of the base."""
    return scaled(_factor(metric, x, -2), _curvature.inverse_metric(metric.base, x))


@route(_curvature.log_volume_element, Conformal)
def log_volume_element(metric: Conformal, x: Tensor) -> Tensor:
    """n p, and that of the base."""
    return x.shape[-1] * _p(metric, x, 0)[0] + _curvature.log_volume_element(metric.base, x)


@route(_curvature.christoffel_vector, Conformal)
def christoffel_vector(metric: Conformal, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\Gamma_0(u,v) + dp(u) v + dp(v) u - g_0(u,v)\, \mathrm{grad}_0\, p$."""
    dp = _p(metric, x, 1)[1]
    gradient = matvec(_curvature.inverse_metric(metric.base, x), dp)
    along_u, along_v = (scaled((dp * a).sum(-1), b) for a, b in ((u, v), (v, u)))
    uv = bilinear(metric_jet(metric.base, x, 0)[0], u, v)
    return _curvature.christoffel_vector(metric.base, x, u, v) + along_u + along_v - scaled(uv, gradient)


def _hessian(metric: Conformal, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """p, dp, the base's Hessian of p, the base and its inverse."""
    p, dp, ddp = _p(metric, x, 2)
    g, inverse = metric_jet(metric.base, x, 0)[0], _curvature.inverse_metric(metric.base, x)
    hessian = ddp
    if not is_constant(metric.base):
        hessian = formulas.hessian(_curvature.christoffel(metric.base, x), dp, ddp)
    if has_values(p):
        products = dp.unsqueeze(-1) * dp.unsqueeze(-2)
        sizes = (ddp.abs() + hessian.abs() + products.abs(), (hessian - products).abs())
        _say_few(p, *(metric_trace(inverse.abs(), size) for size in sizes))
    return p, dp, hessian, g, inverse


def _say_few(p: Tensor, terms: Tensor, value: Tensor) -> None:
    """Says where derivatives of p, in the length of the base, cancel to few digits."""
    factor = torch.exp(-2 * p)
    say_few(last_bits(factor * terms), factor * value)


def _slopes(metric: Conformal, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """p, its Laplacian and |dp|² in the base."""
    if not is_constant(metric.base) or metric.base.matrix is not None:
        p, dp, hessian, _, inverse = _hessian(metric, x)
        return p, metric_trace(inverse, hessian), bilinear(inverse, dp, dp)

    p, dp, ddp = _jets.second_derivatives(_field(metric, x), x)
    n, laplacian, square = x.shape[-1], ddp.sum(-1), dp.square().sum(-1)
    _say_few(p, ddp.abs().sum(-1) + (n - 2) * square, (2 * laplacian + (n - 2) * square).abs())
    return p, laplacian, square


@route(_curvature.scalar_curvature, Conformal)
def scalar_curvature(metric: Conformal, x: Tensor) -> Tensor:
    r"""$e^{-2p} (S_0 - 2(n-1) \Delta p - (n-1)(n-2) |dp|^2)$."""
    n = x.shape[-1]
    p, laplacian, square = _slopes(metric, x)
    scalar = _curvature.scalar_curvature(metric.base, x)
    return torch.exp(-2 * p) * (scalar - (n - 1) * (2 * laplacian + (n - 2) * square))


@route(_curvature.ricci_tensor, Conformal)
def ricci_tensor(metric: Conformal, x: Tensor, indices: str = "ll") -> Tensor:
    r"""$\mathrm{Ric}_0 - (n-2) (\nabla\nabla p - dp\,dp) - (\Delta p + (n-2) |dp|^2) g_0$."""
    n = x.shape[-1]
    _, dp, hessian, g, inverse = _hessian(metric, x)
    ricci = _curvature.ricci_tensor(metric.base, x)
    if n > 1:
        isotropic = scaled(metric_trace(inverse, hessian) + (n - 2) * bilinear(inverse, dp, dp), g)
        ricci = ricci - (n - 2) * (hessian - dp.unsqueeze(-1) * dp.unsqueeze(-2)) - isotropic
    return positioned(metric, x, ricci, indices, "the Ricci tensor")


def _t(metric: Conformal, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """e^2p, T and the base."""
    p, dp, hessian, g, inverse = _hessian(metric, x)
    T = hessian - dp.unsqueeze(-1) * dp.unsqueeze(-2) + scaled(0.5 * bilinear(inverse, dp, dp), g)
    return torch.exp(2 * p), T, g


@route(_curvature.riemann_tensor, Conformal)
def riemann_tensor(metric: Conformal, x: Tensor, indices: str = "ulll") -> Tensor:
    r"""$e^{2p} (R_0 - g_0 \wedge T)$."""
    factor, T, g = _t(metric, x)
    riemann = _curvature.riemann_tensor(metric.base, x, "llll") - formulas.kulkarni_nomizu(g, T)
    return positioned(metric, x, scaled(factor, riemann), indices, "the Riemann tensor")


@route(_curvature.weyl_tensor, Conformal)
def weyl_tensor(metric: Conformal, x: Tensor, indices: str = "ulll") -> Tensor:
    """That of the base, first index up."""
    weyl = scaled(_factor(metric, x), _curvature.weyl_tensor(metric.base, x, "llll"))
    return positioned(metric, x, weyl, indices, "the Weyl tensor")


@route(_curvature.cotton_tensor, Conformal)
def cotton_tensor(metric: Conformal, x: Tensor, indices: str = "lll") -> Tensor:
    r"""$C_{ijk} - p_a W^a{}_{ijk}$ of the base, without third derivatives of p."""
    cotton = _curvature.cotton_tensor(metric.base, x)
    if x.shape[-1] > 3:
        weyl = _curvature.weyl_tensor(metric.base, x)
        cotton = cotton - torch.einsum("...a,...aijk->...ijk", _p(metric, x, 1)[1], weyl)
    return positioned(metric, x, cotton, indices, "the Cotton tensor")


@route(_curvature.sectional_form, Conformal)
def sectional_form(metric: Conformal, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""That of the base and T(u,u), T(u,v), T(v,v)."""
    dp = _p(metric, x, 1)[1]
    _, _, second = _jets.jets_along(_field(metric, x), x, (u, v), 2)
    g, inverse = metric_jet(metric.base, x, 0)[0], _curvature.inverse_metric(metric.base, x)
    square = 0.5 * bilinear(inverse, dp, dp)

    def T(a: Tensor, b: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        nabla = _curvature.christoffel_vector(metric.base, x, a, b)
        ab = bilinear(g, a, b)
        terms = second, -(dp * nabla).sum(-1), -(dp * a).sum(-1) * (dp * b).sum(-1), square * ab
        return ab, sum(terms[1:], terms[0]), sum((t.abs() for t in terms[1:]), terms[0].abs())

    (uu, Tuu, size_uu), (vv, Tvv, size_vv) = T(u, u, second[..., 0, 0]), T(v, v, second[..., 1, 1])
    uv, Tuv, size_uv = T(u, v, second[..., 0, 1])
    factor, form = _factor(metric, x), _curvature.sectional_form(metric.base, x, u, v)
    value = factor * (form - uu * Tvv - vv * Tuu + 2 * uv * Tuv)
    size = factor * (form.abs() + uu.abs() * size_vv + vv.abs() * size_uu + 2 * uv.abs() * size_uv)
    area = [bilinear(g.abs(), a.abs(), a.abs()) for a in (u, v)]
    return judged_forms(torch.stack((value, size, factor.square() * area[0] * area[1]), -1))


derive(
    Conformal,
    _curvature.volume_element,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.kretschmann_scalar,
    _curvature.sectional_curvature,
    _curvature.ricci_curvature,
)
