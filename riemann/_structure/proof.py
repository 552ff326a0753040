"""Two metrics compared at points, by values and derivatives: what is found is used if it is the metric to rounding."""

import warnings

import torch
from torch import Tensor

from riemann import _jets
from riemann._metric import metric_field
from riemann._types import Metric

ROUNDINGS = 2.0**14


def agree(metric: Metric, other: Metric, points: Tensor) -> bool:
    """Whether values, first and second derivatives along two directions are the same to rounding at all points."""
    generator = torch.Generator().manual_seed(7)
    plane = torch.randn(2, *points.shape, generator=generator, dtype=torch.float64).to(points)
    plane = plane / torch.linalg.vector_norm(plane, dim=-1, keepdim=True)
    try:
        ours, theirs = (_along(g, points, plane) for g in (other, metric))
    except (ValueError, RuntimeError, TypeError, ArithmeticError):
        return False
    allowed = ROUNDINGS * torch.finfo(points.dtype).eps
    for a, b in zip(ours, theirs, strict=True):
        axes = tuple(range(1, b.ndim))
        size = torch.maximum(b.abs().amax(axes), theirs[0].abs().amax((1, 2)))
        if not bool(((a - b).abs().amax(axes) <= allowed * size).all()):
            return False
    return True


def _along(metric: Metric, points: Tensor, plane: Tensor) -> tuple[Tensor, ...]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return _jets.jets_along(metric_field(metric, points), points, list(plane), 2)
