"""`certified_signs`: where on a box a quantity is certainly above a level, and where below; the rest is undecided."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from riemann._certified.certify import BATCH, Sides, box_of, cut, sides_of, taken, workers
from riemann._certified.claims import NUMBERS, Claim
from riemann._certified.given import as_float, intervals
from riemann._certified.library import flint
from riemann._certified.quantities import check_dimension, named
from riemann._certified.sources import source
from riemann._points.checks import check_count
from riemann._types import Metric


@dataclass(frozen=True)
class Signs:
    """A box in parts, each `(parts, n, 2)`.

    Attributes:
        above: where the quantity is larger than the level.
        below: where it is smaller.
        undecided: the rest.
        box: the whole.
    """

    above: Tensor
    below: Tensor
    undecided: Tensor
    box: Sides

    @property
    def decided(self) -> float:
        """The share of the box, by coordinate volume, that is above or below; along a flat side all parts are alike."""
        lengths = torch.tensor([high - low for low, high in self.box], dtype=torch.float64)
        wide = lengths > 0
        parts = torch.cat([self.above, self.below])[:, wide]
        return float((parts[..., 1] - parts[..., 0]).prod(-1).sum() / lengths[wide].prod())


def certified_signs(
    metric: Metric,
    quantity: str | Callable[..., Any],
    box: Tensor | Sequence[Any],
    level: float = 0.0,
    *,
    budget: float = 60.0,
    max_boxes: int = 1_000_000,
    processes: int = 1,
    progress: Callable[[str], None] = lambda text: None,
    dtype: torch.dtype | None = None,
) -> Signs:
    """Cuts a box into parts where a number is certainly above a level, parts where it is below, and a rest.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        quantity: a number of `certify`: `"gauss_curvature"`, `"scalar_curvature"`, `"kretschmann_scalar"`, ….
        box: `((low, high), …)`, of numbers that floats hold.
        level: what it is compared with.
        budget: seconds after which what is left is undecided; the largest boxes come first.
        max_boxes: boxes to look at.
        processes: how many work at once, by `fork`.
        progress: called with a few words after each batch.
        dtype: as of `certify`.

    Returns:
        The parts: `.above`, `.below`, `.undecided`; `.decided` is the share that is decided.

    Raises:
        ImportError, TypeError, ValueError: as of `certify`.

    Example:
        >>> def torus(x):
        ...     return torch.diag(torch.stack([torch.ones_like(x[0]), (2 + x[0].cos()) ** 2]))
        >>> signs = certified_signs(torus, "gauss_curvature", ((0, 3), (0, 1)), budget=5, max_boxes=200)
        >>> signs.decided > 0.99, signs.above[:, 0].amax() < 1.6  # it is positive outside
        (True, tensor(True))
    """
    flint()
    check_count("processes", processes, 1)
    sides = sides_of(intervals(box, "box"))
    claim = Claim(named(quantity, NUMBERS), as_float(level, "level"), None)
    check_dimension(claim.name, len(sides))
    graph = source(metric, len(sides), dtype)
    deadline, seen = time.monotonic() + budget, 0
    queue, parts = deque([box_of(sides)]), {"above": [], "below": [], "undecided": []}
    with workers(processes, graph, claim) as judge:
        while queue and time.monotonic() < deadline and seen < max_boxes:
            batches = [taken(queue, BATCH) for _ in range(processes) if queue]
            for boxes, verdicts in zip(batches, judge(batches), strict=True):
                seen += len(boxes)
                parts["above"] += list(boxes[verdicts.proved])
                parts["below"] += list(boxes[verdicts.opposed])
                for k in (~(verdicts.proved | verdicts.opposed)).nonzero()[:, 0].tolist():
                    halves = cut(boxes[k], int(verdicts.axis[k]), sides)
                    queue.extend(halves)
                    parts["undecided"] += [] if halves else [boxes[k]]
            progress(f"{seen} boxes, {len(queue)} to go")
    parts["undecided"] += queue
    none = torch.empty(0, len(sides), 2, dtype=torch.float64)
    return Signs(**{name: torch.stack(found) if found else none for name, found in parts.items()}, box=sides)
