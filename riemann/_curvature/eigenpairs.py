"""Where a metric is long: the largest eigenvalues of g, and their directions."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from riemann._metric import jets_of
from riemann._open import open_function
from riemann._points.checks import check_count, check_unmapped, door
from riemann._points.faults import Note, say
from riemann._rank import ROUNDING
from riemann._types import ChunkSize, Metric, Progress

__all__ = ["Eigenpairs", "metric_eigenpairs"]


class Eigenpairs(NamedTuple):
    r"""Eigenvalues of g with the largest absolute values, and their vectors: $g_{ij} v^j = \lambda v^i$.

    Attributes:
        values: $\lambda$, `(*batch, k)`, the largest first.
        vectors: columns of length 1 in the coordinates, `(*batch, n, k)`.
        residuals: $|g v - \lambda v|$, `(*batch, k)`.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor


@door
def metric_eigenpairs(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    k: int | None = None,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> Eigenpairs:
    r"""The k eigenvalues of g with the largest absolute values, and their vectors.

    They depend on the coordinates: $g_{ij} v^j = \lambda v^i$ measures by the length $|v|^2 = \sum_i v_i^2$. Of
    `Fisher` of a classifier, these are the directions in which its answers change most.

    Args:
        metric: callable, one point `(n,)` to a symmetric `(n, n)`; it may be degenerate.
        x: points, `(*batch, n)`.
        k: how many, up to n; 6, or all of fewer, if nothing is said.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `.values` `(*batch, k)`, `.vectors` `(*batch, n, k)` and `.residuals`: constants, without derivatives.

    Raises:
        ValueError: k is not 1 to n. TypeError, ValueError: as `at`.

    Warns:
        UserWarning: where some of the eigenvalues are 0 to rounding, with the number that are not: the metric has no
            greater rank; where residuals are above 1e-8 of the largest eigenvalue (1e-4 in float32).

    Note:
        Of pull-backs and `Fisher` metrics in many dimensions nothing n x n is formed: a block Krylov method multiplies
        vectors by the Jacobian and its transpose.

    Reference:
        Musco, Musco, *Randomized Block Krylov Methods for Stronger and Faster Approximate SVD* (2015), algorithm 2.

    Example:
        >>> found = metric_eigenpairs(lambda x: torch.diag(x), torch.tensor([2.0, 5.0, 3.0]), 2)
        >>> found.values, found.vectors[:, 0].abs()
        (tensor([5., 3.]), tensor([0., 1., 0.]))
    """
    check_unmapped(x)
    k = min(6, x.shape[-1]) if k is None else k
    check_count("k", k, 1)
    if k > x.shape[-1]:
        raise ValueError(f"`k` is {k}, and g has {x.shape[-1]} eigenvalues")
    with torch.no_grad():
        values, vectors, residuals = largest(metric, x, k=k, chunk_size=chunk_size, progress=progress)
    top = values[..., :1].abs()
    zero = values.abs() <= ROUNDING * x.shape[-1] * torch.finfo(x.dtype).eps * top
    faults = {
        Note(f"`metric` has rank {r}: of {k} eigenvalues asked for, {k - r} are 0 to rounding"): (~zero).sum(-1) == r
        for r in range(k)
    }
    poor = (residuals > COARSE[x.dtype] * top).any(-1)
    say({**faults, Note("eigenpairs of `metric` are known coarsely only, as `.residuals` say,"): poor})
    return Eigenpairs(values, vectors, residuals)


COARSE = {torch.float64: 1e-8, torch.float32: 1e-4}


@open_function(rank=2, checked=True)
def largest(
    metric: Metric, x: Tensor, *, k: int, chunk_size: ChunkSize = "auto", progress: Progress = False
) -> tuple[Tensor, Tensor, Tensor]:
    """`Eigenpairs`, as a tuple: of the whole matrix."""
    (g,) = jets_of(metric, x, 0)
    return of_matrix(g, k)


def of_matrix(g: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """`Eigenpairs` of matrices `(*batch, n, n)`; NaN where they are not finite."""
    finite = g.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    g = torch.where(finite, g, torch.zeros_like(g))
    values, vectors = torch.linalg.eigh(0.5 * (g + g.mT))
    order = values.abs().argsort(-1, descending=True)[..., :k]
    values, vectors = values.gather(-1, order), vectors.take_along_dim(order.unsqueeze(-2), -1)
    residuals = torch.linalg.vector_norm(g @ vectors - vectors * values.unsqueeze(-2), dim=-2)
    nan = torch.where(finite, 0.0, torch.nan)
    return values + nan[..., 0], vectors + nan, residuals + nan[..., 0]
