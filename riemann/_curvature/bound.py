"""`bound_rounding`: how far off, at most, rounding makes each component of the curvature."""

from jaxtyping import Float
from torch import Tensor

from riemann import formulas
from riemann._metric import checked_jet
from riemann._points.checks import check_points
from riemann._points.chunks import in_chunks
from riemann._points.faults import Note, warn_of
from riemann._rounding import last_bits
from riemann._terms import inverse_terms, scales
from riemann._types import ChunkSize, Metric

__all__ = ["bound_rounding"]

_QUANTITIES = (
    "christoffel", "riemann_tensor", "ricci_tensor", "scalar_curvature", "weyl_tensor", "kretschmann_scalar",
)  # fmt: skip


def bound_rounding(
    metric: Metric, x: Float[Tensor, "*batch n"], *, chunk_size: ChunkSize = "auto"
) -> dict[str, Tensor]:
    r"""Bounds of the rounding errors of curvature at points, component by component.

    $4 \epsilon \sum |t|$ over the terms t that a component adds up, $\epsilon$ the last bit of the dtype, where the
    inverse metric counts as $|g^{-1}| |g| |g^{-1}|$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.

    Returns:
        By name of the function, in its default positions of indices: `christoffel`, `riemann_tensor`, `ricci_tensor`,
        `scalar_curvature`, `weyl_tensor`, `kretschmann_scalar`, of the shapes of their results. NaN where g is no
        metric.

    Raises:
        TypeError, ValueError: as `at`.

    Note:
        The jets of g are taken to be right to their last bits. What cancels in the metric's own code is not seen: where
        `1 - 2 * M / r` is small, say. `verify` compares with 40 digits, and sees all.

    Example:
        >>> import torch
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> x = torch.tensor([[1.0, 0.3], [1e-3, 0.3]], dtype=torch.float64)
        >>> bound_rounding(sphere, x)["scalar_curvature"] < 1e-6
        tensor([True, True])
    """
    check_points(x)

    def bounds(x: Tensor) -> tuple[Tensor, ...]:
        (g, dg, ddg), faults = checked_jet(metric, x, 2)
        warn_of({fault: mask for fault, mask in faults.items() if not isinstance(fault, Note)})
        terms = scales(g, dg, ddg, inverse_terms(g, formulas.inverse_metric(g)))
        return tuple(last_bits(terms[name]) for name in _QUANTITIES)

    return dict(zip(_QUANTITIES, in_chunks(bounds, x, rank=4, chunk_size=chunk_size), strict=True))
