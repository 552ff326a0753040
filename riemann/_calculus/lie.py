"""Derivatives along a vector field, which need no connection: Lie derivative and bracket, and Killing's equation."""

from torch import Tensor

from riemann import formulas
from riemann._calculus.fields import as_field, tensor_jet
from riemann._indices import check_positions
from riemann._metric import metric_jet
from riemann._types import Field, Metric


def lie_derivative(X: Field, T: Field, indices: str) -> Field:
    r"""Lie derivative of a tensor field of any rank along a vector field.

    $(L_X T)^a{}_b = X^k \partial_k T^a{}_b - T^e{}_b \partial_e X^a + T^a{}_e \partial_b X^e$.

    Args:
        X: vector field, one point `(n,)` to contravariant components `(n,)`.
        T: tensor field, one point `(n,)` to `(n, …, n)`.
        indices: position of each index of T, `u` or `l`; `""` for a scalar field.

    Returns:
        Tensor field: points `(*batch, n)` to `(*batch, n, …, n)`, positions `indices`.

    Raises:
        ValueError: `indices` has other letters; when the field is called, if X or T is not of its rank.

    Reference:
        Wald, *General Relativity* (1984), eq. C.2.16.

    Example:
        >>> import torch
        >>> rotation = lambda x: torch.stack([-x[1], x[0]])
        >>> lie_derivative(rotation, lambda x: torch.eye(2), "ll")(torch.tensor([1.0, 2.0]))
        tensor([[0., 0.],
                [0., 0.]])
    """
    check_positions(indices, None, "T")

    @as_field(len(indices) + 1, X, T)
    def at(x: Tensor) -> Tensor:
        value, dX = tensor_jet(X, x, 1, 1, "X")
        return formulas.lie_derivative(value, dX, *tensor_jet(T, x, len(indices), 1, "T"), indices)

    return at


def lie_bracket(X: Field, Y: Field) -> Field:
    r"""Lie bracket of two vector fields, $[X, Y]^i = X^k \partial_k Y^i - Y^k \partial_k X^i$.

    Args:
        X: vector field, one point `(n,)` to contravariant components `(n,)`.
        Y: another.

    Returns:
        Vector field: points `(*batch, n)` to `(*batch, n)`, index up.

    Raises:
        ValueError: when the field is called, if X or Y is not of rank 1.

    Reference:
        Lee, *Introduction to Smooth Manifolds* (2013), chapter 8.

    Example:
        >>> import torch
        >>> rotation, shift = lambda x: torch.stack([-x[1], x[0]]), lambda x: torch.tensor([1.0, 0.0])
        >>> lie_bracket(rotation, shift)(torch.tensor([1.0, 2.0]))
        tensor([ 0., -1.])
    """

    @as_field(2, X, Y)
    def at(x: Tensor) -> Tensor:
        return formulas.lie_derivative(*tensor_jet(X, x, 1, 1, "X"), *tensor_jet(Y, x, 1, 1, "Y"), "u")

    return at


def killing_operator(metric: Metric, X: Field) -> Field:
    r"""Killing operator, $(L_X g)_{ij} = \nabla_i X_j + \nabla_j X_i$; 0 where the flow of X is an isometry.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        X: vector field, one point `(n,)` to contravariant components `(n,)`.

    Returns:
        Symmetric tensor field: points `(*batch, n)` to `(*batch, n, n)`, indices down.

    Raises:
        ValueError: when the field is called, if X is not of rank 1.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 9.

    Example:
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> killing_operator(half_plane, lambda x: x)(torch.tensor([0.5, 2.0])).abs().max()
        tensor(0.)
    """

    @as_field(3, metric, X)
    def at(x: Tensor) -> Tensor:
        return formulas.lie_derivative(*tensor_jet(X, x, 1, 1, "X"), *metric_jet(metric, x, 1), "ll")

    return at
