"""What a metric must be, checked: one point (n,) in, a finite symmetric nonsingular (n, n) out."""

import warnings
from typing import Any

import torch
from torch import Tensor

from riemann import _jets
from riemann._safe import Refusal
from riemann._types import Field, Metric

ASYMMETRY = {torch.float64: 1e-6}  # relative to the largest entry; a coarser 1e-3 for lower precision


def metric_jet(metric: Metric, x: Tensor, order: int, *, chunk_size: int | None = None) -> tuple[Tensor, ...]:
    """`(g, dg, ddg, …)` at points `(*batch, n)`; NaN, with one warning, where g is not a metric."""
    jets = _jets.over_points(
        lambda p: _jets.derivatives(safe_metric(metric, p, order), p, order), x, chunk_size=chunk_size
    )
    bad = not_a_metric(jets[0])
    return jets if bad is None else tuple(with_nan(y, bad) for y in jets)


def safe_metric(metric: Metric, x: Tensor, order: int) -> Field:
    """The metric as a field that may be differentiated inside `over_points`; its shape is checked."""
    check_metric_callable(metric)
    return _jets.safe(_one_point(metric), x, order, name="metric")


def check_metric_callable(metric: Any) -> None:
    """Raises unless `metric` can be called."""
    if not callable(metric):
        raise TypeError(
            f"`metric` is a {type(metric).__name__}, expected a callable: one point of shape (n,) to a matrix (n, n)"
        )


def _one_point(metric: Metric) -> Field:
    """The metric with its shape checked; a module that only takes batches gets a batch of one."""

    def field(x: Tensor) -> Any:
        n = x.shape[-1]
        try:
            g = metric(x)
        except Exception:
            g = _batch_of_one(metric, x)
            if g is None:
                raise
        if not _has_shape(g, (n, n)):
            g = g if (retried := _batch_of_one(metric, x)) is None else retried
        if isinstance(g, Tensor) and g.shape != (n, n):
            raise ValueError(
                f"`metric` returned shape {tuple(g.shape)} at one point, expected ({n}, {n}); "
                "a metric takes one point of shape (n,)"
            )
        return g

    field.__wrapped__ = metric  # type: ignore[attr-defined]
    return field


def _batch_of_one(metric: Metric, x: Tensor) -> Tensor | None:
    """What a module that takes batches makes of one point; None if that is no matrix, either."""
    if not isinstance(metric, torch.nn.Module):
        return None
    try:
        g = metric(x.unsqueeze(0))
    except Refusal:
        raise
    except Exception:  # the error at the single point is the one to tell
        return None
    return g.squeeze(0) if _has_shape(g, (1, x.shape[-1], x.shape[-1])) else None


def _has_shape(g: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(g, Tensor) and g.shape == shape


def not_a_metric(g: Tensor) -> Tensor | None:
    """Where g `(*batch, n, n)` is no metric, with a warning that names the first point; None if nowhere or unknown."""
    if not _jets.has_values(g):
        return None
    g = g.detach()
    scale = g.abs().amax((-2, -1))
    faults: dict[str, Tensor] = {
        "is not finite": ~torch.isfinite(scale),
        "is not symmetric": (g - g.mT).abs().amax((-2, -1)) > ASYMMETRY.get(g.dtype, 1e-3) * scale,
        "is singular": torch.linalg.lu_factor_ex(g)[2] != 0,
    }
    bad = torch.stack(list(faults.values())).any(0)
    if not bool(bad.any()):
        return None
    where = _jets.first(bad)
    fault = next(name for name, mask in faults.items() if mask[where])
    count = f" (and at {int(bad.sum()) - 1} more points)" if bad.sum() > 1 else ""
    place = f"at point {list(where)} of the batch" if where else "at this point"
    warnings.warn(f"`metric` {fault} {place}{count}: results are NaN there. `check_metric` says more.", stacklevel=2)
    return bad


def with_nan(y: Tensor, bad: Tensor) -> Tensor:
    mask = bad.reshape((*bad.shape, *[1] * (y.ndim - bad.ndim)))
    return torch.where(mask, torch.full_like(y, torch.nan), y)


def chunks(x: Tensor, chunk_size: int | None) -> tuple[Tensor, ...] | None:
    """The points in flat pieces of `chunk_size`; None where one piece holds them all."""
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"`chunk_size` is {chunk_size}, expected a positive number of points")
    points = x.shape[:-1].numel()
    if chunk_size is None or points <= chunk_size:
        return None
    return x.reshape(points, x.shape[-1]).split(chunk_size)
