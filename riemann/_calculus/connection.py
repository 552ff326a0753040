"""The Levi-Civita connection on fields: gradient, divergence, Hessian, Laplacian, covariant derivative.

Each function takes callables of one point and returns a field: a callable of points `(*batch, n)`, which can be given
to any of them again.
"""

import torch
from torch import Tensor

from riemann import formulas
from riemann._calculus.fields import as_field, scalar_jet, tensor_jet
from riemann._indices import check_positions, matvec, metric_trace
from riemann._metric import metric_jet
from riemann._rounding import say_few_of_nabla
from riemann._types import Field, Metric


def gradient(metric: Metric, f: Field) -> Field:
    r"""Gradient of a scalar field, $(\mathrm{grad} f)^i = g^{ij} \partial_j f$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        f: scalar field, one point `(n,)` to `()`.

    Returns:
        Vector field: points `(*batch, n)` to `(*batch, n)`, index up.

    Raises:
        ValueError: when the field is called, if `f` is not scalar.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 3.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> gradient(half_plane, lambda x: x[1])(torch.tensor([0.0, 2.0]))
        tensor([0., 4.])
    """

    @as_field(2, metric, f)
    def at(x: Tensor) -> Tensor:
        (g,) = metric_jet(metric, x, 0)
        _, df = scalar_jet(f, x, 1)
        return matvec(formulas.inverse_metric(g), df)

    return at


def divergence(metric: Metric, X: Field) -> Field:
    r"""Divergence of a vector field, $\mathrm{div} X = \nabla_i X^i = \partial_i X^i + \Gamma^i_{ij} X^j$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        X: vector field, one point `(n,)` to contravariant components `(n,)`.

    Returns:
        Scalar field: points `(*batch, n)` to `(*batch,)`.

    Raises:
        ValueError: when the field is called, if `X` is not of rank 1.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 3.

    Example:
        >>> divergence(lambda x: torch.eye(2), lambda x: x)(torch.tensor([1.0, 2.0]))
        tensor(2.)
    """

    @as_field(3, metric, X)
    def at(x: Tensor) -> Tensor:
        g, dg = metric_jet(metric, x, 1)
        value, dX = tensor_jet(X, x, 1, 1, "X")
        trace = 0.5 * torch.einsum("...ij,...ijk->...k", formulas.inverse_metric(g), dg)  # d_k log sqrt|det g|
        result = torch.einsum("...ii->...", dX) + torch.einsum("...k,...k->...", trace, value)
        say_few_of_nabla(g, trace, value, dX, result, "u")
        return result

    return at


def hessian(metric: Metric, f: Field) -> Field:
    r"""Covariant Hessian, $\nabla_j \nabla_i f = \partial_i \partial_j f - \Gamma^k_{ij} \partial_k f$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        f: scalar field, one point `(n,)` to `()`.

    Returns:
        Symmetric tensor field: points `(*batch, n)` to `(*batch, n, n)`, indices down.

    Raises:
        ValueError: when the field is called, if `f` is not scalar.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 3.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> hessian(half_plane, lambda x: x[1])(torch.tensor([0.0, 2.0]))
        tensor([[-0.5000,  0.0000],
                [ 0.0000,  0.5000]])
    """

    @as_field(3, metric, f)
    def at(x: Tensor) -> Tensor:
        g, dg = metric_jet(metric, x, 1)
        _, df, ddf = scalar_jet(f, x, 2)
        return _hessian(g, dg, df, ddf)

    return at


def _hessian(g: Tensor, dg: Tensor, df: Tensor, ddf: Tensor) -> Tensor:
    gamma = formulas.christoffel(g, dg)
    result = formulas.hessian(gamma, df, ddf)
    say_few_of_nabla(g, gamma, df, ddf, result, "l")
    return result


def laplacian(metric: Metric, f: Field) -> Field:
    r"""Laplace-Beltrami operator, $\mathrm{div}\, \mathrm{grad} f = g^{ij} \nabla_i \nabla_j f$ (spectrum <= 0).

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        f: scalar field, one point `(n,)` to `()`.

    Returns:
        Scalar field: points `(*batch, n)` to `(*batch,)`.

    Raises:
        ValueError: when the field is called, if `f` is not scalar.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 3.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> laplacian(half_plane, lambda x: x[1] ** 2)(torch.tensor([0.0, 2.0]))
        tensor(8.)
    """

    @as_field(3, metric, f)
    def at(x: Tensor) -> Tensor:
        g, dg = metric_jet(metric, x, 1)
        _, df, ddf = scalar_jet(f, x, 2)
        return metric_trace(formulas.inverse_metric(g), _hessian(g, dg, df, ddf))

    return at


def covariant_derivative(metric: Metric, T: Field, indices: str) -> Field:
    r"""Covariant derivative of a tensor field of any rank, $\nabla_k T$, derivative index last.

    $\nabla_k T^a{}_b = \partial_k T^a{}_b + \Gamma^a_{ke} T^e{}_b - \Gamma^e_{kb} T^a{}_e$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        T: tensor field, one point `(n,)` to `(n, …, n)`.
        indices: position of each index of T, `u` or `l`; `""` for a scalar field.

    Returns:
        Tensor field: points `(*batch, n)` to `(*batch, n, …, n, n)`, positions `indices + "l"`.

    Raises:
        ValueError: `indices` has other letters; when the field is called, if T is not of that rank.

    Reference:
        MTW eq. 10.18.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> covariant_derivative(half_plane, half_plane, "ll")(torch.tensor([0.0, 2.0])).abs().max()
        tensor(0.)
    """
    check_positions(indices, None, "T")

    @as_field(max(3, len(indices) + 1), metric, T)
    def at(x: Tensor) -> Tensor:
        g, dg = metric_jet(metric, x, 1)
        value, dT = tensor_jet(T, x, len(indices), 1, "T")
        gamma = formulas.christoffel(g, dg)
        result = formulas.covariant_derivative(gamma, value, dT, indices)
        say_few_of_nabla(g, gamma, value, dT, result, indices)
        return result

    return at
