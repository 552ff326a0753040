"""Metrics given by a triangular factor: $g = L L^T$."""

import torch
from torch import Tensor

from riemann import _curvature
from riemann._curvature import at
from riemann._types import Field
from riemann.metrics._structure import Jets, derive, leibniz, part, part_jet, route


class Cholesky(torch.nn.Module):
    r"""$g = L L^T$, L lower triangular: positive definite wherever the diagonal of L has no 0.

    Args:
        factor: L, one point `(n,)` to `(n, n)`; what it holds above the diagonal is not used.

    Example:
        >>> import riemann as rm
        >>> half_plane = Cholesky(lambda x: torch.eye(2) / x[1])
        >>> rm.scalar_curvature(half_plane, torch.tensor([0.0, 2.0]))
        tensor(-2.)
    """

    def __init__(self, factor: Field):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        n = x.shape[-1]
        L = torch.tril(part(self.factor, x, (n, n), "factor of Cholesky"))
        return L @ L.mT


def _factor(metric: Cholesky, x: Tensor, order: int) -> Jets:
    n = x.shape[-1]
    lower = torch.ones(n, n, dtype=x.dtype, device=x.device).tril()
    jets = part_jet(metric.factor, x, order, (n, n), "factor of Cholesky")
    return tuple(L * lower.reshape(n, n, *[1] * k) for k, L in enumerate(jets))


@route(at, Cholesky)
def jets(metric: Cholesky, x: Tensor, order: int) -> Jets:
    """Leibniz's rule."""
    L = _factor(metric, x, order)
    return leibniz("ac,bc->ab", L, L)


@route(_curvature.inverse_metric, Cholesky)
def inverse_metric(metric: Cholesky, x: Tensor) -> Tensor:
    r"""$L^{-T} L^{-1}$ by substitution."""
    (L,) = _factor(metric, x, 0)
    E = torch.linalg.solve_triangular(L, torch.eye(x.shape[-1], dtype=x.dtype, device=x.device), upper=False)
    return E.mT @ E


@route(_curvature.log_volume_element, Cholesky)
def log_volume_element(metric: Cholesky, x: Tensor) -> Tensor:
    """The sum of log |L_ii|."""
    return _factor(metric, x, 0)[0].diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


derive(Cholesky, _curvature.volume_element)
