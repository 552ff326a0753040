"""Sets of points: what they, and what is given with them, must be."""

from typing import Any

import torch
from torch import Tensor

from riemann._curves.geodesic import fault_at, tolerance
from riemann._metric import jets_of
from riemann._points.checks import check_points, check_unmapped
from riemann._points.faults import first
from riemann._types import Metric, SearchOptions


def checked_sets(metric: Metric, points: Any, weights: Any, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The points `(*batch, N, n)` and weights `(*batch, N)` that add up to 1; raises unless there are distances.

    Also where `options` are not those of `log_map`.
    """
    check_points(points, "points")
    known = SearchOptions.__annotations__
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(f"there is no option `{unknown[0]}`; those of `log_map` are {', '.join(known)}")
    if points.ndim < 2 or points.shape[-2] == 0:
        raise ValueError(f"`points` has shape {tuple(points.shape)}, expected (*batch, N, n): sets of N points or more")
    check_unmapped(points)
    if weights is None:
        weights = torch.ones_like(points[..., 0])
    if not isinstance(weights, Tensor) or weights.dtype != points.dtype:
        use = "weights" if isinstance(weights, Tensor) else "torch.as_tensor(weights)"
        raise TypeError(
            f"`weights` is {_said(weights)}, expected a tensor like the points, {points.dtype}; use `{use}.to(points)`"
        )
    try:
        weights = weights.expand(points.shape[:-1])
    except RuntimeError:
        raise ValueError(f"`weights` has shape {tuple(weights.shape)}, expected {tuple(points.shape[:-1])}") from None
    total = weights.sum(-1, keepdim=True)
    if not bool((weights >= 0).all()) or not bool(((total > 0) & total.isfinite()).all()):
        raise ValueError("`weights` are to be finite, not negative, and not all of them 0")
    (g,) = jets_of(metric, points.detach(), 0)
    definite = (torch.linalg.cholesky_ex(g.detach()).info == 0) & g.detach().isfinite().all(-1).all(-1)
    if not bool(definite.all()):
        where = first(~definite)
        raise ValueError(
            f"`metric` is not positive definite at {_first_few(points[where])}: there are no distances to take a mean "
            f"by{fault_at(metric, points, ~definite)}"
        )
    return points, weights / total


def loosened(options: dict[str, Any], x: Tensor) -> dict[str, Any]:
    """Options of `log_map` for the first steps of a search."""
    rtol = max(1e-6, tolerance(options.get("rtol"), x))
    return options | {"rtol": rtol, "atol": max(rtol, options.get("atol") or 0.0)}


def _first_few(p: Tensor) -> str:
    return f"[{', '.join(f'{c:.6g}' for c in p[:6].tolist())}{', …' if len(p) > 6 else ''}]"


def _said(value: Any) -> str:
    return f"{value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def one_each(name: str, given: Any, points: Tensor) -> Tensor:
    """A point for each of the sets, `(*batch, n)`."""
    check_points(given, name)
    batch, n = points.shape[:-2], points.shape[-1]
    try:
        return given.to(points).expand(*batch, n)
    except RuntimeError:
        wanted = f"{(*batch, n)}, a point for each set" if batch else f"{(n,)}"
        raise ValueError(f"`{name}` has shape {tuple(given.shape)}, expected {wanted}") from None
