"""The types that signatures speak of: a field is a callable of one point, a metric is a field of (n, n) matrices."""

from collections.abc import Callable

from torch import Tensor

Field = Callable[[Tensor], Tensor]
Metric = Callable[[Tensor], Tensor]
ChunkSize = int | str | None
Progress = bool | Callable[[int, int], object]
