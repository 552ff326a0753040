"""A metric with constant coefficients."""

from typing import Any

import torch
from torch import Tensor

from riemann import _curvature, formulas
from riemann._curvature import at
from riemann._modules import runs_as_written
from riemann._points.checks import to_tensor
from riemann.metrics._structure import Jets, derive, positioned, route


class Constant(torch.nn.Module):
    r"""The same matrix everywhere: flat, in any signature.

    Args:
        matrix: symmetric, `(n, n)`; the identity, in any dimension, if it is None. A buffer of the module.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> minkowski = Constant(torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])))
        >>> rm.scalar_curvature(minkowski, torch.rand(5, 4))
        tensor([0., 0., 0., 0., 0.])
    """

    def __init__(self, matrix: Tensor | None = None):
        super().__init__()
        if not isinstance(matrix, Tensor | None):
            got, use = type(matrix).__name__, to_tensor("matrix", matrix)
            raise TypeError(f"`matrix` of Constant is a {got}, expected a tensor (n, n); use `{use}`")
        if matrix is not None and (matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]):
            raise ValueError(f"`matrix` of Constant has shape {tuple(matrix.shape)}, expected (n, n)")
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        n = x.shape[-1]
        matrix = torch.eye(n, dtype=x.dtype, device=x.device) if self.matrix is None else self.matrix.to(x)
        if matrix.shape[0] != n:
            raise ValueError(
                f"`matrix` of Constant has shape {tuple(matrix.shape)}, expected ({n}, {n}): `x` has n = {n}"
            )
        return matrix


def is_constant(metric: Any) -> bool:
    """Whether a metric is a `Constant`, and runs as one."""
    return isinstance(metric, Constant) and type(metric).forward is Constant.forward and runs_as_written(metric)


def _everywhere(matrix: Tensor, x: Tensor) -> Tensor:
    return matrix.expand(*x.shape[:-1], *matrix.shape)


def _zeros(metric: Constant, x: Tensor, rank: int) -> Tensor:
    return x.new_zeros((*x.shape[:-1], *[x.shape[-1]] * rank))


def _flat(metric: Constant, x: Tensor, rank: int) -> Tensor:
    """0; NaN for a matrix that has no inverse."""
    zeros, matrix = _zeros(metric, x, rank), metric(x)  # which says so if its dimension is another
    return zeros if metric.matrix is None else zeros + 0 * formulas.inverse_metric(matrix)[0, 0]


@route(at, Constant)
def jets(metric: Constant, x: Tensor, order: int) -> Jets:
    """`(g, 0, …)`."""
    return (_everywhere(metric(x), x), *(_zeros(metric, x, 2 + k) for k in range(1, order + 1)))


@route(_curvature.scalar_curvature, Constant)
def scalar_curvature(metric: Constant, x: Tensor) -> Tensor:
    """0."""
    return _flat(metric, x, 0)


@route(_curvature.ricci_tensor, Constant)
def ricci_tensor(metric: Constant, x: Tensor, indices: str = "ll") -> Tensor:
    """0."""
    return positioned(metric, x, _flat(metric, x, 2), indices, "the Ricci tensor")


@route(_curvature.riemann_tensor, Constant)
def riemann_tensor(metric: Constant, x: Tensor, indices: str = "ulll") -> Tensor:
    """0."""
    return positioned(metric, x, _flat(metric, x, 4), indices, "the Riemann tensor")


@route(_curvature.christoffel_vector, Constant)
def christoffel_vector(metric: Constant, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """0."""
    return _flat(metric, x, 1)


@route(_curvature.curvature_endomorphism, Constant)
def curvature_endomorphism(metric: Constant, x: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """0."""
    return _flat(metric, x, 1)


@route(_curvature.sectional_form, Constant)
def sectional_form(metric: Constant, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """0."""
    return _flat(metric, x, 0)


@route(_curvature.ricci_curvature, Constant)
def ricci_curvature(metric: Constant, x: Tensor, v: Tensor) -> Tensor:
    """0."""
    return _flat(metric, x, 0)


derive(
    Constant,
    _curvature.einstein_tensor,
    _curvature.schouten_tensor,
    _curvature.weyl_tensor,
    _curvature.kretschmann_scalar,
    _curvature.sectional_curvature,
)
