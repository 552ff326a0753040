r"""Curvature of given vectors without curvature tensors: a fixed number of derivative passes, memory O(n²).

With $D_u$ the derivative along fixed u, the covector
$G(u, v) = \tfrac12 (D_u g\, v + D_v g\, u - \partial\, g(u, v))$ is $g(\nabla_u v)$, and

$\langle R(u,v)v, u \rangle = D_u D_v g(u,v) - \tfrac12 D_u D_u g(v,v) - \tfrac12 D_v D_v g(u,u)
+ g^{-1}(G(u,v), G(u,v)) - g^{-1}(G(u,u), G(v,v))$.

Points and vectors are `(*batch, n)`; a metric is a field as `_metric.metric_field` gives it, `lower(p, vectors)` a
function of one point: the rows of a matrix, lowered there.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from riemann import _jets
from riemann._indices import matvec
from riemann._points.chunks import BUDGET
from riemann._types import Field

ALIVE = 64  # matrices (n, n) alive in a pass of `curvature_covector`
Lower = Callable[[Tensor, Tensor], Tensor]


def lowering(g: Field) -> Lower:
    """How a metric lowers rows."""
    return lambda p, vectors: vectors @ g(p)


def curvature_form(g: Field, x: Tensor, inverse: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\langle R(u,v)v, u \rangle$, the numerator of the sectional curvature, with its sizes: `(*batch, 3)`."""
    return curvature_form_by(lowering(g), lambda w: matvec(inverse, w), x, u, v)


def curvature_form_by(lower: Lower, solve: Field, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`curvature_form` of a metric known by `lower`, and `solve`, which raises covectors `(*batch, n)` at x.

    Returns:
        The form, the sum of absolute values of its terms, and $|u|^2 |v|^2$ of absolute values: `(*batch, 3)`.
    """
    plane = torch.stack((u, v), -2)
    lowered, d, dd = _jets.jets_along(lower, x, (u, v), 2, plane)  # of g u and g v

    def products(p: Tensor, plane: Tensor) -> Tensor:  # g(u, u), g(v, v), g(u, v)
        (u, v), (gu, gv) = plane.unbind(), lower(p, plane).unbind()
        return torch.stack((gu @ u, gv @ v, gu @ v))

    grad_uu, grad_vv, grad_uv = _jets.gradients(products, x, plane)[0].unbind(-2)
    G_uu = d[..., 0, :, 0] - 0.5 * grad_uu
    G_vv = d[..., 1, :, 1] - 0.5 * grad_vv
    G_uv = 0.5 * (d[..., 1, :, 0] + d[..., 0, :, 1] - grad_uv)
    left = torch.stack((u, -0.5 * v, -0.5 * u, G_uv, -G_uu), -2)
    right = torch.stack((dd[..., 1, :, 0, 1], dd[..., 1, :, 0, 0], dd[..., 0, :, 1, 1], solve(G_uv), solve(G_vv)), -2)
    terms = left * right
    lengths = (plane * lowered).abs().sum(-1)
    return torch.stack((terms.sum((-2, -1)), terms.abs().sum((-2, -1)), lengths.prod(-1)), -1)


def connection_covector(lower: Lower, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\Gamma_{kij} u^i v^j$, `(*batch, n)`, of a metric known by `lower`."""
    plane = torch.stack((u, v), -2)
    _, d = _jets.jets_along(lower, x, (u, v), 1, plane)
    (grad_uv,) = _jets.gradients(lambda p, plane: lower(p, plane)[0] @ plane[1], x, plane)
    return 0.5 * (d[..., 1, :, 0] + d[..., 0, :, 1] - grad_uv)


def connection_vector(g: Field, x: Tensor, inverse: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\Gamma^k_{ij} u^i v^j$, `(*batch, n)`."""
    return matvec(inverse, connection_covector(lowering(g), x, u, v))


def curvature_covector(g: Field, x: Tensor, inverse: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    r"""$g\, R(u,v)w$, the lowered image of w, and the sums of absolute values of its terms: `(*batch, 2, n)`.

    $\tfrac12 (D_w D_u (g v) - D_w D_v (g u) + \partial D_v g(w,u) - \partial D_u g(w,v)) + H(p,v) - H(q,u)$ with
    $p = \nabla_w u$, $q = \nabla_w v$ and $H(p,d) = \tfrac12 (\partial\, g(p,d) + D_d (g p) - D_p (g d))$.
    """
    three = torch.stack((u, v, w), -2)
    _, d, dd = _jets.jets_along(lowering(g), x, (u, v, w), 2, three)  # of g u, g v and g w
    grad_wu, grad_v_wu = _jets.gradients(_product(g, 2, 0), x, three, along=((), (v,)))
    grad_wv, grad_u_wv = _jets.gradients(_product(g, 2, 1), x, three, along=((), (u,)))
    p = matvec(inverse, 0.5 * (d[..., 0, :, 2] + d[..., 2, :, 0] - grad_wu))
    q = matvec(inverse, 0.5 * (d[..., 1, :, 2] + d[..., 2, :, 1] - grad_wv))

    four = torch.stack((p, q, u, v), -2)
    _, d = _jets.jets_along(lowering(g), x, (p, q, u, v), 1, four)
    (grad_pv,), (grad_qu,) = (_jets.gradients(_product(g, i, j), x, four) for i, j in ((0, 3), (1, 2)))
    terms = 0.5 * torch.stack(
        (
            dd[..., 1, :, 2, 0], -dd[..., 0, :, 2, 1], grad_v_wu, -grad_u_wv,
            grad_pv, d[..., 0, :, 3], -d[..., 3, :, 0],
            -grad_qu, -d[..., 1, :, 2], d[..., 2, :, 1],
        ), -2,
    )  # fmt: skip
    return torch.stack((terms.sum(-2), terms.abs().sum(-2)), -2)


def _product(g: Field, i: int, j: int) -> Lower:
    """The product of two rows of a matrix in the metric."""
    return lambda p, vectors: vectors[i] @ g(p) @ vectors[j]


def ricci_form(g: Field, x: Tensor, inverse: Tensor, v: Tensor) -> Tensor:
    r"""$\mathrm{Ric}(v,v)$, and the sum of absolute values of its terms: `(*batch, 2)`.

    $g^{ac} (D_v \partial_c (g v)_a - \tfrac12 \partial_a \partial_c\, g(v,v) - \tfrac12 D_v D_v g_{ac})
    + g^{ac} g^{ef} (\Gamma_{evc} \Gamma_{fav} - \Gamma_{evv} \Gamma_{fac})$: n passes, as many at a time as the budget
    holds, none of which has three directions.
    """
    n = x.shape[-1]
    together = max(1, BUDGET // (ALIVE * n * n * x.element_size() * max(1, x.shape[:-1].numel())))
    _, along, twice = _jets.jets_along(g, x, (v,), 2)
    along, twice = along.squeeze(-1), twice.flatten(-2).squeeze(-1)
    hessian = _jets.hessian(lambda p, v: v @ g(p) @ v, x, v, together=together)
    size, blocks = inverse.abs(), []
    divergence, of_divergence = torch.zeros_like(v), torch.zeros_like(v)
    for k, d, dd in _jets.derivatives_in_blocks(g, x, v, together):  # g_ij,k and D_v g_ij,k
        rows = slice(k.start, k.stop)
        divergence = divergence + torch.einsum("...kj,...ijk->...i", inverse[..., rows, :], d)
        of_divergence = of_divergence + torch.einsum("...kj,...ijk->...i", size[..., rows, :], d.abs())
        traces = (torch.einsum("...ij,...ijk->...k", h, y) for h, y in ((inverse, d), (size, d.abs())))
        slopes_of_v = (torch.einsum("...ijk,...j->...ik", y, v) for y in (d, dd))  # of (g v)_i and D_v (g v)_i
        blocks.append((*slopes_of_v, *traces))
    slopes, mixed, trace, of_trace = (torch.cat(y, -1) for y in zip(*blocks, strict=True))
    connection = 0.5 * (along + slopes - slopes.mT)  # Gamma_evc
    of_connection = 0.5 * (along.abs() + slopes.abs() + slopes.abs().mT)
    vv = matvec(slopes, v) - 0.5 * matvec(slopes.mT, v)  # Gamma_evv
    of_vv = matvec(slopes.abs(), v.abs()) + 0.5 * matvec(slopes.abs().mT, v.abs())
    traced = divergence - 0.5 * trace  # g^ac Gamma_fac
    of_traced = of_divergence + 0.5 * of_trace
    value = (
        (inverse * (mixed - 0.5 * hessian - 0.5 * twice)).sum((-2, -1))
        + ((inverse @ connection @ inverse) * connection).sum((-2, -1))
        - (traced * matvec(inverse, vv)).sum(-1)
    )
    terms = (
        (size * (mixed.abs() + 0.5 * hessian.abs() + 0.5 * twice.abs())).sum((-2, -1))
        + ((size @ of_connection @ size) * of_connection).sum((-2, -1))
        + (of_traced * matvec(size, of_vv)).sum(-1)
    )
    return torch.stack((value, terms), -1)
