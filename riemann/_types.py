"""The types that signatures speak of: a field is a callable of one point, a metric is a field of (n, n) matrices."""

from collections.abc import Callable
from typing import TypedDict

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]
Metric = Callable[[Tensor], Tensor]
ChunkSize = int | str | None
Progress = bool | Callable[[int, int], object]


class SolverOptions(TypedDict, total=False):
    """How a curve is integrated: see `geodesic`."""

    rtol: float | None
    atol: float | None
    max_steps: int


class CurveOptions(SolverOptions, total=False):
    """How a curve of a chart is integrated: see `geodesic`."""

    chart: Field | None


class KillingOptions(TypedDict, total=False):
    """Where and how symmetries are looked for: see `killing_fields`."""

    points: Tensor | None
    weights: Tensor | None
    kind: str
    tolerance: float | int
    num_points: int | None
    dtype: torch.dtype
    device: torch.device | str | None


class GeodesicOptions(CurveOptions, total=False):
    """See `geodesic`."""

    acceleration: Callable[[Tensor, Tensor], Tensor] | None
    progress: Progress


class SearchOptions(CurveOptions, total=False):
    """How a geodesic between two points is looked for: see `log_map`."""

    max_iterations: int
    restarts: int
    progress: Progress
