r"""Curvature of given vectors without curvature tensors: a fixed number of derivative passes, memory O(n²).

With $D_u$ the derivative along fixed u, the covector
$G(u, v) = \tfrac12 (D_u g\, v + D_v g\, u - \partial\, g(u, v))$ is $g(\nabla_u v)$, and

$\langle R(u,v)v, u \rangle = D_u D_v g(u,v) - \tfrac12 D_u D_u g(v,v) - \tfrac12 D_v D_v g(u,u)
+ g^{-1}(G(u,v), G(u,v)) - g^{-1}(G(u,u), G(v,v))$.

Every function here works at one point, on a metric made safe there (`_metric.safe_metric`).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from riemann import _jets
from riemann._points.chunks import BUDGET
from riemann._types import Field

ALIVE = 16  # matrices (n, n) alive in a pass of `curvature_covector`
Lower = Callable[[Tensor, Tensor], Tensor]


def curvature_form(g: Field, x: Tensor, inverse: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\langle R(u,v)v, u \rangle$, the numerator of the sectional curvature, with its sizes: `(3,)`."""
    return curvature_form_by(lambda y, vectors: vectors @ g(y), lambda w: inverse @ w, x, u, v)


def curvature_form_by(lower: Lower, solve: Field, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`curvature_form` of a metric known by `lower(y, vectors)`, rows lowered at y, and `solve`, which raises at x.

    Returns:
        The form, the sum of absolute values of its terms, and $|u|^2 |v|^2$ of absolute values: `(3,)`.
    """
    plane = torch.stack((u, v))

    def images(s: Tensor) -> Tensor:  # (g u, g v) at x + s_0 u + s_1 v
        return lower(x + s @ plane, plane)

    lowered, d, dd = _jets.derivatives(images, x.new_zeros(2), 2)

    def products(p: Tensor) -> Tensor:  # g(u, u), g(v, v), g(u, v)
        gu, gv = lower(p, plane)
        return torch.stack((gu @ u, gv @ v, gu @ v))

    _, pull = _jets.pulling(products, x)
    grad_uu, grad_vv, grad_uv = _jets.over_vectors(pull, torch.eye(3, dtype=x.dtype, device=x.device))
    G_uu = d[0, :, 0] - 0.5 * grad_uu
    G_vv = d[1, :, 1] - 0.5 * grad_vv
    G_uv = 0.5 * (d[1, :, 0] + d[0, :, 1] - grad_uv)
    left = torch.stack((u, -0.5 * v, -0.5 * u, G_uv, -G_uu))
    right = torch.stack((dd[1, :, 0, 1], dd[1, :, 0, 0], dd[0, :, 1, 1], solve(G_uv), solve(G_vv)))
    terms = left * right
    lengths = (plane * lowered).abs().sum(-1)
    return torch.stack((terms.sum(), terms.abs().sum(), lengths.prod()))


def connection_covector(lower: Lower, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\Gamma_{kij} u^i v^j$, `(n,)`, of a metric known by `lower`."""
    plane = torch.stack((u, v))
    _, (_, D_u_gv) = _jets.along(lambda y: lower(y, plane), x, u)
    _, (D_v_gu, _) = _jets.along(lambda y: lower(y, plane), x, v)
    _, pull = _jets.pulling(lambda y: lower(y, plane)[0] @ v, x)
    return 0.5 * (D_u_gv + D_v_gu - pull(x.new_ones(())))


def curvature_covector(g: Field, x: Tensor, inverse: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    r"""$g\, R(u,v)w$, the lowered image of w, and the sums of absolute values of its terms: `(2, n)`.

    $\tfrac12 (D_w D_u (g v) - D_w D_v (g u) + \partial D_v g(w,u) - \partial D_u g(w,v)) + H(p,v) - H(q,u)$ with
    $p = \nabla_w u$, $q = \nabla_w v$ and $H(p,d) = \tfrac12 (\partial\, g(p,d) + D_d (g p) - D_p (g d))$.
    """

    def image(a: Tensor) -> Field:
        return lambda y: g(y) @ a

    def product(a: Tensor, b: Tensor) -> Field:
        return lambda y: a @ g(y) @ b

    def gradient(f: Field) -> Tensor:
        y, pull = _jets.pulling(f, x)
        return pull(torch.ones_like(y))

    def slope(f: Field, a: Tensor) -> Tensor:
        return _jets.along(f, x, a)[1]

    def nabla(a: Tensor, b: Tensor) -> Tensor:
        return 0.5 * inverse @ (slope(image(b), a) + slope(image(a), b) - gradient(product(a, b)))

    def H(p: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return gradient(product(p, d)), slope(image(p), d), -slope(image(d), p)

    _, _, _, DwDu_gv = _jets.along_twice(image(v), x, w, u)
    _, _, _, DwDv_gu = _jets.along_twice(image(u), x, w, v)
    mixed = gradient(lambda y: _jets.along(product(w, u), y, v)[1] - _jets.along(product(w, v), y, u)[1])
    minus = (-term for term in H(nabla(w, v), u))
    terms = 0.5 * torch.stack((DwDu_gv, -DwDv_gu, mixed, *H(nabla(w, u), v), *minus))
    return torch.stack((terms.sum(0), terms.abs().sum(0)))


def ricci_form(g: Field, x: Tensor, inverse: Tensor, v: Tensor) -> Tensor:
    r"""$\mathrm{Ric}(v,v) = g^{ac} (g R(\partial_a, v) v)_c$, n passes, as many at a time as the budget holds.

    Returns:
        It, and the sum of absolute values of its terms: `(2,)`.
    """
    basis = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    together = max(1, BUDGET // (ALIVE * basis.numel() * x.element_size()))
    images = _jets.over_vectors(lambda e: curvature_covector(g, x, inverse, e, v, v), basis, chunk_size=together)
    return torch.stack(((inverse * images[:, 0]).sum(), (inverse.abs() * images[:, 1]).sum()))
