r"""Hessian metrics: $g = \partial\partial P$."""

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._curvature import at
from riemann._indices import bilinear, matvec
from riemann._rounding import judged_forms, judged_images, say_few_of_products
from riemann._terms import inverse_terms
from riemann._types import Field
from riemann.metrics._structure import Jets, derive, part_field, part_jet, positioned, route


class Hessian(torch.nn.Module):
    r"""$g_{ij} = \partial_i \partial_j P$: of exponential families, mirror descent, optimal transport.

    The fourth derivatives of P cancel: with $P_{eij}$ the third ones,
    $R_{abcd} = \tfrac14 g^{ef} (P_{ebc} P_{fad} - P_{ebd} P_{fac})$.

    Args:
        potential: P, one point `(n,)` to a scalar `()`.

    Reference:
        Shima, *The Geometry of Hessian Structures* (2007), proposition 2.3.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> gaussian = Hessian(lambda t: -(t[0] ** 2) / (4 * t[1]) - 0.5 * torch.log(-t[1]))
        >>> rm.scalar_curvature(gaussian, torch.tensor([1.0, -0.5])).round(decimals=4)
        tensor(-1.)
    """

    def __init__(self, potential: Field):
        super().__init__()
        self.potential = potential

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        return _potential(self, x, 2)[2]


def _potential(metric: Hessian, x: Tensor, order: int) -> Jets:
    return part_jet(metric.potential, x, order, (), "potential of Hessian")


@route(at, Hessian)
def jets(metric: Hessian, x: Tensor, order: int) -> Jets:
    """Derivatives of P from the second on."""
    return _potential(metric, x, order + 2)[2:]


@route(_curvature.christoffel_vector, Hessian)
def christoffel_vector(metric: Hessian, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\tfrac12 g^{kl} P_{lij} u^i v^j$."""
    g = _potential(metric, x, 2)[2]
    potential = part_field(metric.potential, x, (), "potential of Hessian")
    (thirds,) = _jets.gradients(potential, x, along=((u, v),))
    return 0.5 * matvec(formulas.inverse_metric(g), thirds)


def _thirds(metric: Hessian, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse, P_eij and P^e_ij."""
    _, _, g, thirds = _potential(metric, x, 3)
    inverse = formulas.inverse_metric(g)
    say_few_of_products(g, thirds, inverse)
    return inverse, thirds, torch.einsum("...ef,...fij->...eij", inverse, thirds)


@route(_curvature.scalar_curvature, Hessian)
def scalar_curvature(metric: Hessian, x: Tensor) -> Tensor:
    r"""$\tfrac14 (P_{eij} P^{eij} - v_e v^e)$, $v_e = P_{eij} g^{ij}$."""
    inverse, thirds, raised = _thirds(metric, x)
    v = torch.einsum("...ij,...eij->...e", inverse, thirds)
    square = torch.einsum("...ebc,...ced,...bd->...", raised, raised, inverse)
    return 0.25 * (square - torch.einsum("...e,...ef,...f->...", v, inverse, v))


@route(_curvature.ricci_tensor, Hessian)
def ricci_tensor(metric: Hessian, x: Tensor, indices: str = "ll") -> Tensor:
    r"""$\tfrac14 (P^e{}_{bc} P^c{}_{ed} - v^e P_{ebd})$."""
    inverse, thirds, raised = _thirds(metric, x)
    v = torch.einsum("...ij,...eij->...e", inverse, raised)
    ricci = torch.einsum("...ebc,...ced->...bd", raised, raised) - torch.einsum("...e,...ebd->...bd", v, thirds)
    return positioned(metric, x, 0.25 * ricci, indices, "the Ricci tensor")


@route(_curvature.riemann_tensor, Hessian)
def riemann_tensor(metric: Hessian, x: Tensor, indices: str = "ulll") -> Tensor:
    r"""$\tfrac14 g^{ef} (P_{ebc} P_{fad} - P_{ebd} P_{fac})$."""
    _, thirds, raised = _thirds(metric, x)
    products = torch.einsum("...ebc,...ead->...abcd", thirds, raised)
    return positioned(metric, x, 0.25 * (products - products.mT), indices, "the Riemann tensor")


@route(_curvature.curvature_endomorphism, Hessian)
def curvature_endomorphism(metric: Hessian, x: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    r"""$\Gamma(\Gamma(w, u), v) - \Gamma(\Gamma(w, v), u)$, $\Gamma^a_{bc} = \tfrac12 P^a{}_{bc}$."""
    g = _potential(metric, x, 2)[2]
    potential = part_field(metric.potential, x, (), "potential of Hessian")
    inverse = formulas.inverse_metric(g)

    def lowered(*pairs: tuple[Tensor, Tensor]) -> list[Tensor]:
        return [0.5 * third for third in _jets.gradients(potential, x, along=pairs)]

    inner = lowered((w, u), (w, v))
    wu, wv = (matvec(inverse, covector) for covector in inner)
    of_wu, of_wv = (matvec(inverse.abs(), covector.detach().abs()) for covector in inner)
    left, right, *more = lowered((wu, v), (wv, u), (of_wu, v), (of_wv, u))
    size = matvec(inverse.abs(), sum((a.abs() for a in more), left.abs() + right.abs()))
    return judged_images(torch.stack((matvec(inverse, left - right), size), -2), g, u, v, w)


@route(_curvature.sectional_form, Hessian)
def sectional_form(metric: Hessian, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""$\tfrac14 g^{kl} (P_{kij} u^i v^j P_{lij} u^i v^j - P_{kij} u^i u^j P_{lij} v^i v^j)$."""
    g = _potential(metric, x, 2)[2]
    potential = part_field(metric.potential, x, (), "potential of Hessian")
    uv, uu, vv = (0.5 * third for third in _jets.gradients(potential, x, along=((u, v), (u, u), (v, v))))
    inverse = formulas.inverse_metric(g)
    terms = inverse_terms(g, inverse)
    size = bilinear(terms, uv.abs(), uv.abs()) + bilinear(terms, uu.abs(), vv.abs())
    area = bilinear(g.abs(), u.abs(), u.abs()) * bilinear(g.abs(), v.abs(), v.abs())
    form = bilinear(inverse, uv, uv) - bilinear(inverse, uu, vv)
    return judged_forms(torch.stack((form, size, area), -1))


derive(
    Hessian,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.weyl_tensor,
    _curvature.kretschmann_scalar,
    _curvature.ricci_curvature,
    _curvature.sectional_curvature,
)
