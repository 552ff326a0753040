"""Warped products: $g = g_B + w^2 g_F$."""

import torch
from torch import Tensor

from riemann import _curvature, formulas
from riemann._curvature import at
from riemann._indices import bilinear, matvec, metric_trace
from riemann._metric import jets_of, metric_jet
from riemann._points.checks import has_values
from riemann._rounding import last_bits, say_few
from riemann._types import Field, Metric
from riemann.metrics._structure import (
    Jets,
    derive,
    embed,
    embed_jets,
    leibniz,
    or_nan,
    part,
    part_jet,
    positioned,
    route,
    scaled,
    with_dimension,
)


class Warped(torch.nn.Module):
    r"""$g = g_B + w(b)^2 g_F$ on points (b, y): curvature from those of the parts and the Hessian of w.

    $R = R_B + w^2 R_F - w \nabla\nabla w \wedge g_F - \tfrac12 w^2 |dw|^2 g_F \wedge g_F$, derivatives of w in $g_B$.

    Args:
        base: $g_B$ and its dimension.
        fibre: $g_F$ and its dimension.
        warp: w, one point of the base to a scalar `()`, not 0.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 7, propositions 42 and 43.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> line, circle = rm.metrics.Constant(), rm.metrics.Constant()
        >>> hyperbolic = Warped((line, 1), (circle, 1), lambda b: torch.sinh(b[0]))
        >>> rm.scalar_curvature(hyperbolic, torch.tensor([0.5, 1.0]))
        tensor(-2.)
    """

    def __init__(self, base: tuple[Metric, int], fibre: tuple[Metric, int], warp: Field):
        super().__init__()
        self.base: Metric
        self.base_dim: int
        self.fibre: Metric
        self.fibre_dim: int
        self.base, self.base_dim = with_dimension(base, "`base` of Warped")
        self.fibre, self.fibre_dim = with_dimension(fibre, "`fibre` of Warped")
        self.warp = warp

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        (b, y), n, d = _split(self, x), x.shape[-1], self.base_dim
        w = part(self.warp, b, (), "warp of Warped")
        g_base = part(self.base, b, b.shape * 2, "base of Warped")
        g_fibre = part(self.fibre, y, y.shape * 2, "fibre of Warped")
        return embed(g_base, 2, 0, n) + embed(w**2 * g_fibre, 2, d, n)


def _split(metric: Warped, x: Tensor) -> tuple[Tensor, ...]:
    dims = (metric.base_dim, metric.fibre_dim)
    if x.shape[-1] != sum(dims):
        raise ValueError(
            f"base and fibre of Warped have dimensions {dims}, {sum(dims)} together, and the points have "
            f"n = {x.shape[-1]}"
        )
    return x.split(dims, -1)


def _warp(metric: Warped, b: Tensor, order: int) -> Jets:
    return part_jet(metric.warp, b, order, (), "warp of Warped")


def _warp_or_nan(metric: Warped, b: Tensor, order: int) -> Jets:
    """NaN where w is 0 to rounding: the fibre is a point."""
    w, *derivatives = _warp(metric, b, order)
    slopes = derivatives[0] if derivatives else torch.zeros_like(b)
    return or_nan(w.unsqueeze(-1), slopes.unsqueeze(-2), b).squeeze(-1), *derivatives


def _w(metric: Warped, b: Tensor) -> tuple[Tensor, ...]:
    """w, dw, its Hessian, the inverse of the base, and |dw|²."""
    w, dw, ddw = _warp_or_nan(metric, b, 2)
    inverse = _curvature.inverse_metric(metric.base, b)
    gamma = _curvature.christoffel(metric.base, b)
    hessian = formulas.hessian(gamma, dw, ddw)
    square = bilinear(inverse, dw, dw)
    if has_values(w):
        _say_few(*(y.detach().abs() for y in (w, dw, ddw, gamma, hessian, inverse)))
    return w, dw, hessian, inverse, square


def _say_few(w: Tensor, dw: Tensor, ddw: Tensor, gamma: Tensor, hessian: Tensor, inverse: Tensor) -> None:
    r"""Says where, by absolute values, $\nabla\nabla w / w$ or $|dw|^2 / w^2$, which meets the fibre's, cancels."""
    second = formulas.hessian(-gamma, dw, ddw)
    terms = metric_trace(inverse, second) / w + bilinear(inverse, dw, dw) / w**2
    say_few(last_bits(terms), metric_trace(inverse, hessian) / w)


@route(at, Warped)
def jets(metric: Warped, x: Tensor, order: int) -> Jets:
    """Blocks, and Leibniz's rule in that of the fibre."""
    (b, y), n, d = _split(metric, x), x.shape[-1], metric.base_dim
    w = embed_jets(_warp(metric, b, order), 0, 0, n)
    fibre = embed_jets(jets_of(metric.fibre, y, order), 2, d, n)
    base = embed_jets(jets_of(metric.base, b, order), 2, 0, n)
    warped = leibniz(",ab->ab", leibniz(",->", w, w), fibre)
    return tuple(p + q for p, q in zip(base, warped, strict=True))


@route(_curvature.inverse_metric, Warped)
def inverse_metric(metric: Warped, x: Tensor) -> Tensor:
    """Blocks."""
    b, y = _split(metric, x)
    fibre = scaled(_warp_or_nan(metric, b, 0)[0] ** -2, _curvature.inverse_metric(metric.fibre, y))
    n = x.shape[-1]
    return embed(_curvature.inverse_metric(metric.base, b), 2, 0, n) + embed(fibre, 2, metric.base_dim, n)


@route(_curvature.log_volume_element, Warped)
def log_volume_element(metric: Warped, x: Tensor) -> Tensor:
    """That of the base, of the fibre, and m log |w|."""
    b, y = _split(metric, x)
    base, fibre = _curvature.log_volume_element(metric.base, b), _curvature.log_volume_element(metric.fibre, y)
    return base + fibre + metric.fibre_dim * _warp_or_nan(metric, b, 0)[0].abs().log()


@route(_curvature.christoffel_vector, Warped)
def christoffel_vector(metric: Warped, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\Gamma_B - w\, g_F(u,v)\, \mathrm{grad}\, w$ in the base, $\Gamma_F + (dw(u) v + dw(v) u) / w$ in the fibre."""
    (b, y), (u_b, u_f), (v_b, v_f) = _split(metric, x), _split(metric, u), _split(metric, v)
    w, dw = _warp_or_nan(metric, b, 1)
    gradient = matvec(_curvature.inverse_metric(metric.base, b), dw)
    uv = bilinear(metric_jet(metric.fibre, y, 0)[0], u_f, v_f)
    base = _curvature.christoffel_vector(metric.base, b, u_b, v_b) - scaled(w * uv, gradient)
    along_u, along_v = ((dw * a).sum(-1) / w for a in (u_b, v_b))
    fibre = _curvature.christoffel_vector(metric.fibre, y, u_f, v_f) + scaled(along_u, v_f) + scaled(along_v, u_f)
    return torch.cat((base, fibre), -1)


@route(_curvature.riemann_tensor, Warped)
def riemann_tensor(metric: Warped, x: Tensor, indices: str = "ulll") -> Tensor:
    r"""$R_B + w^2 R_F - w \nabla\nabla w \wedge g_F - \tfrac12 w^2 |dw|^2 g_F \wedge g_F$."""
    (b, y), n, d = _split(metric, x), x.shape[-1], metric.base_dim
    w, _, hessian, _, square = _w(metric, b)
    g = metric_jet(metric.fibre, y, 0)[0]
    base = _curvature.riemann_tensor(metric.base, b, "llll")
    fibre = _curvature.riemann_tensor(metric.fibre, y, "llll")
    fibre = scaled(w**2, fibre - scaled(0.5 * square, formulas.kulkarni_nomizu(g, g)))
    mixed = scaled(w, formulas.kulkarni_nomizu(embed(hessian, 2, 0, n), embed(g, 2, d, n)))
    riemann = embed(base, 4, 0, n) + embed(fibre, 4, d, n) - mixed
    return positioned(metric, x, riemann, indices, "the Riemann tensor")


@route(_curvature.ricci_tensor, Warped)
def ricci_tensor(metric: Warped, x: Tensor, indices: str = "ll") -> Tensor:
    r"""$\mathrm{Ric}_B - \tfrac m w \nabla\nabla w$ and $\mathrm{Ric}_F - (w \Delta w + (m-1) |dw|^2) g_F$."""
    (b, y), n, m = _split(metric, x), x.shape[-1], metric.fibre_dim
    w, _, hessian, inverse, square = _w(metric, b)
    base = _curvature.ricci_tensor(metric.base, b) - scaled(m / w, hessian)
    isotropic = scaled(w * metric_trace(inverse, hessian) + (m - 1) * square, metric_jet(metric.fibre, y, 0)[0])
    fibre = _curvature.ricci_tensor(metric.fibre, y) - isotropic
    ricci = embed(base, 2, 0, n) + embed(fibre, 2, metric.base_dim, n)
    return positioned(metric, x, ricci, indices, "the Ricci tensor")


@route(_curvature.scalar_curvature, Warped)
def scalar_curvature(metric: Warped, x: Tensor) -> Tensor:
    r"""$S_B + (S_F - m(m-1) |dw|^2) / w^2 - 2 m \Delta w / w$."""
    (b, y), m = _split(metric, x), metric.fibre_dim
    w, _, hessian, inverse, square = _w(metric, b)
    base, fibre = _curvature.scalar_curvature(metric.base, b), _curvature.scalar_curvature(metric.fibre, y)
    return base + (fibre - m * (m - 1) * square) / w**2 - 2 * m * metric_trace(inverse, hessian) / w


@route(_curvature.kretschmann_scalar, Warped)
def kretschmann_scalar(metric: Warped, x: Tensor) -> Tensor:
    r"""$K_B + 4 m |\nabla\nabla w|^2 / w^2 + (K_F - 4 |dw|^2 S_F + 2 m(m-1) |dw|^4) / w^4$."""
    (b, y), m = _split(metric, x), metric.fibre_dim
    w, _, hessian, inverse, square = _w(metric, b)
    base, fibre = _curvature.kretschmann_scalar(metric.base, b), _curvature.kretschmann_scalar(metric.fibre, y)
    mixed = inverse @ hessian
    fibre = fibre - 4 * square * _curvature.scalar_curvature(metric.fibre, y) + 2 * m * (m - 1) * square**2
    return base + 4 * m * torch.einsum("...ij,...ji->...", mixed, mixed) / w**2 + fibre / w**4


@route(_curvature.sectional_form, Warped)
def sectional_form(metric: Warped, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """That of the tensor, term by term."""
    (b, y), (u_b, u_f), (v_b, v_f) = _split(metric, x), _split(metric, u), _split(metric, v)
    w, _, hessian, _, square = _w(metric, b)
    g = metric_jet(metric.fibre, y, 0)[0]
    g_uu, g_vv, g_uv = (bilinear(g, p, q) for p, q in ((u_f, u_f), (v_f, v_f), (u_f, v_f)))
    h_uu, h_vv, h_uv = (bilinear(hessian, p, q) for p, q in ((u_b, u_b), (v_b, v_b), (u_b, v_b)))
    base = _curvature.sectional_form(metric.base, b, u_b, v_b)
    fibre = _curvature.sectional_form(metric.fibre, y, u_f, v_f) - square * (g_uu * g_vv - g_uv**2)
    return base + w**2 * fibre - w * (h_uu * g_vv + h_vv * g_uu - 2 * h_uv * g_uv)


derive(
    Warped,
    _curvature.volume_element,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.weyl_tensor,
    _curvature.ricci_curvature,
    _curvature.sectional_curvature,
)
