"""Laplacians of tensor fields and forms: Bochner's, Hodge's and Lichnerowicz's."""

import torch
from torch import Tensor

from riemann import formulas
from riemann._calculus.connection import covariant_derivative
from riemann._calculus.fields import as_field, tensor_jet
from riemann._calculus.forms import codifferential, exterior_derivative, form_field
from riemann._metric import metric_jet
from riemann._points.checks import check_count
from riemann._types import Field, Metric


def bochner_laplacian(metric: Metric, T: Field, indices: str) -> Field:
    r"""Bochner (connection) Laplacian of a tensor field of any rank, $g^{ij} \nabla_i \nabla_j T$ (spectrum <= 0).

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        T: tensor field, one point `(n,)` to `(n, …, n)`.
        indices: position of each index of T, `u` or `l`; `""` for a scalar field, where it is `laplacian`.

    Returns:
        Tensor field: points `(*batch, n)` to `(*batch, n, …, n)`, positions `indices`.

    Raises:
        ValueError: `indices` has other letters; when the field is called, if T is not of that rank.

    Reference:
        Petersen, *Riemannian Geometry* (2016), chapter 9.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> bochner_laplacian(half_plane, half_plane, "ll")(torch.tensor([0.0, 2.0])).abs().max()
        tensor(0.)
    """
    second = covariant_derivative(metric, covariant_derivative(metric, T, indices), indices + "l")

    @as_field(len(indices) + 2, metric, second)
    def at(x: Tensor) -> Tensor:
        n, rank = x.shape[-1], len(indices)
        (g,) = metric_jet(metric, x, 0)
        flat = second(x).reshape((*x.shape[:-1], n**rank, n, n))
        trace = torch.einsum("...ij,...rij->...r", formulas.inverse_metric(g), flat)
        return trace.reshape((*x.shape[:-1], *[n] * rank))

    return at


def hodge_laplacian(metric: Metric, w: Field, degree: int) -> Field:
    r"""Hodge Laplacian of a form, $d \delta w + \delta d w$ (spectrum >= 0 on a Riemannian manifold).

    On functions it is `-laplacian`. On 1-forms it is $-g^{ij} \nabla_i \nabla_j w + \mathrm{Ric}(w)$ (Weitzenböck).

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        w: form, one point `(n,)` to an antisymmetric array `(n,) * degree`.
        degree: of w.

    Returns:
        Form of the same degree: points `(*batch, n)` to `(*batch, n, …, n)`.

    Raises:
        ValueError: `degree` is not a whole number; when the field is called, if w is not such a form.

    Reference:
        Petersen, *Riemannian Geometry* (2016), chapter 9.

    Example:
        >>> plane = lambda x: torch.eye(2)
        >>> hodge_laplacian(plane, lambda x: x * x[0], 1)(torch.tensor([1.0, 2.0]))
        tensor([-2.,  0.])
    """
    check_count("degree", degree, 0)
    terms = [codifferential(metric, exterior_derivative(w, degree), degree + 1)]
    if degree > 0:
        terms.append(exterior_derivative(codifferential(metric, w, degree), degree - 1))
    return form_field(lambda x: torch.stack([term(x) for term in terms]).sum(0), (w, degree, "w"), of=terms)


def lichnerowicz_laplacian(metric: Metric, h: Field) -> Field:
    r"""Lichnerowicz Laplacian of a symmetric tensor field of rank 2 (>= 0 at high frequencies).

    $(\Delta_L h)_{ij} = -g^{kl} \nabla_k \nabla_l h_{ij} - 2 R_{ikjl} h^{kl} + \mathrm{Ric}_{ik} h^k{}_j
    + h_i{}^k \mathrm{Ric}_{kj}$: half of it is how Ricci changes with the metric, up to a change of coordinates.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        h: tensor field, indices down, one point `(n,)` to `(n, n)`.

    Returns:
        Tensor field: points `(*batch, n)` to `(*batch, n, n)`, indices down.

    Raises:
        ValueError: when the field is called, if h is not of rank 2.

    Reference:
        Besse, *Einstein Manifolds* (1987), 1.143.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> lichnerowicz_laplacian(half_plane, half_plane)(torch.tensor([0.0, 2.0])).abs().max() < 1e-6
        tensor(True)
    """
    rough = bochner_laplacian(metric, h, "ll")

    @as_field(4, metric, rough)
    def at(x: Tensor) -> Tensor:
        jets = metric_jet(metric, x, 2)
        (value,) = tensor_jet(h, x, 2, 0, "h")
        inverse = formulas.inverse_metric(jets[0])
        raised = inverse @ value @ inverse
        curvature = torch.einsum("...ikjl,...kl->...ij", formulas.riemann_tensor(*jets, "llll"), raised)
        ricci = formulas.ricci_tensor(*jets)
        return ricci @ inverse @ value + value @ inverse @ ricci - 2 * curvature - rough(x)

    return at
