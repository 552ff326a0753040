"""Symmetry as a loss: how far a metric is from having so many Killing fields."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import jet
from riemann._shared import Field, check_count, door, enough, independent, operators, places, vector_fields


@door
def symmetry_loss(
    metric: Any,
    x: Float[Tensor, "*batch n"],
    k: int,
    basis: str | Field | Sequence[Field] = "polynomial",
    *,
    degree: int = 2,
    box: Sequence[Sequence[int | float]] | None = None,
) -> Float[Tensor, ""]:
    r"""Sum of the k smallest squared singular values of Killing's equation, $L_X g = 0$, on a basis at points.

    $\min \sum_{a \le k} \lVert L_{X_a} g \rVert^2$ over k fields of the basis that are orthonormal in $\langle X, X
    \rangle / \ell^2 + \langle \nabla X, \nabla X \rangle$; norms are means over the points, as in `killing_fields`,
    whose `spectrum` has the roots of the terms. It is 0 if and only if the metric has k independent Killing fields in
    the basis, at these points, and does not depend on the scale of g. As a penalty it asks for a symmetry without
    naming it.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        x: points, `(*batch, n)`; a batch of the data.
        k: how many symmetries, 1 to n(n+1)/2.
        basis: as for `killing_fields`.
        degree: of the named bases.
        box: range of the coordinates, which gives $\ell$ its size: that of the points by default.

    Returns:
        A scalar, differentiable to the parameters of the metric.

    Raises:
        TypeError, ValueError: as `killing_fields`; k is more than a metric, or the basis, can have.

    Example:
        >>> from riemann_nn import symmetry_loss
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> x = torch.rand(50, 2, dtype=torch.float64) + 1
        >>> symmetry_loss(half_plane, x, 3) < 1e-20
        tensor(True)
        >>> symmetry_loss(lambda x: torch.eye(2) / (x[1] ** 2 + x[0] ** 3), x, 1) > 1e-4
        tensor(True)
    """
    n = x.shape[-1]
    check_count("k", k, 1)
    check_count("degree", degree, 0)
    where = places(box, x, None, x.dtype, x.device)
    points = x.reshape(-1, n)
    vectors, _ = vector_fields(basis, degree, where.low, where.high)
    size = jet(vectors, points[:1], 0)[0].shape[-2]
    if k > n * (n + 1) // 2:
        raise ValueError(
            f"`k` is {k}, but a metric in {n} dimensions has at most {n * (n + 1) // 2} independent Killing fields"
        )
    if len(points) < enough(size, n):
        raise ValueError(
            f"`x` has {len(points)} points, too few for a basis of {size} fields: expected {enough(size, n)} or more; "
            "lower `degree`, or give a smaller basis"
        )
    weights = points.new_full((len(points),), 1 / len(points))
    deformation, norm = operators(metric, vectors, points, weights, where.high - where.low)
    unit = independent(norm.detach())
    if k > unit.shape[1]:
        raise ValueError(f"`k` is {k}, but the basis has {unit.shape[1]} independent fields; give a larger basis")
    deformation, norm = deformation @ unit, norm @ unit
    L = torch.linalg.cholesky(norm.mT @ norm)  # the identity here, but not its derivatives
    values = torch.linalg.svdvals(torch.linalg.solve_triangular(L, deformation.mT, upper=False))
    return values[-k:].square().sum()
