"""Tensor fields in other coordinates."""

from torch import Tensor

from riemann import formulas
from riemann._calculus.fields import as_field, tensor_jet
from riemann._indices import check_positions, contract_axis
from riemann._types import Field


def change_coordinates(field: Field, map: Field, indices: str = "ll") -> Field:
    r"""A tensor field in new coordinates; the map gives the old coordinates of a point by its new ones, $x(y)$.

    $T'^a{}_b(y) = (J^{-1})^a{}_i\, T^i{}_j(x(y))\, J^j{}_b$ with $J^i{}_a = \partial x^i / \partial y^a$. For indices
    down this is the pull-back by the map. It composes: by `p`, then by `q`, is by `lambda z: p(q(z))`.

    Args:
        field: tensor field in the old coordinates (a metric is one, `"ll"`), one point `(n,)` to `(n, …, n)`.
        map: new coordinates to old ones, one point `(n,)` to `(n,)`, with an inverse near the points of interest.
        indices: position of each index of the field, `u` or `l`; `""` for a scalar field.

    Returns:
        Tensor field in the new coordinates: points `(*batch, n)` to `(*batch, n, …, n)`; a metric, if it was one.
        NaN where an index is up and J is singular.

    Raises:
        ValueError: `indices` has other letters; when the field is called, if it or the map has another shape.

    Reference:
        Lee, *Introduction to Smooth Manifolds* (2013), chapter 12.

    Example:
        >>> import torch
        >>> polar = lambda y: torch.stack([y[0] * torch.cos(y[1]), y[0] * torch.sin(y[1])])
        >>> change_coordinates(lambda x: torch.eye(2), polar)(torch.tensor([3.0, 0.0]))
        tensor([[1., 0.],
                [0., 9.]])
    """
    check_positions(indices, None, "the field")
    rank = len(indices)

    @as_field(max(2, rank), map)
    def changed(y: Tensor) -> Tensor:
        x, J = tensor_jet(map, y, 1, 1, "map")
        (T,) = tensor_jet(field, x, rank, 0, "field")
        inverse = formulas.inverse_metric(J) if "u" in indices else J
        for axis, position in enumerate(indices):
            T = contract_axis(T, inverse if position == "u" else J.mT, axis, rank)
        return T

    return changed
