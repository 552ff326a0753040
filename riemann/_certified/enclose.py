"""`enclose`: balls that hold the true value of a quantity at a point, or all its values on a box."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from riemann._certified.balls import Balls
from riemann._certified.forms import Box
from riemann._certified.geometry import enclosed
from riemann._certified.given import exact, intervals
from riemann._certified.library import above, below, flint, precision
from riemann._certified.quantities import QUANTITIES, REMAINDER, check_dimension, named
from riemann._certified.sources import source
from riemann._points.checks import check_count
from riemann._types import Metric

GUARD = 40  # bits beyond the digits asked for
DOUBLINGS = 5  # of the precision


@dataclass(frozen=True)
class Enclosure:
    """Balls around a quantity at a point, or around all its values on a box.

    Attributes:
        quantity: its name.
        lower: float64, of the quantity's shape at one point; certainly not above the value.
        upper: certainly not below the value.
        ball: FLINT's `arb`, or an array of them.
        digits: decimal digits of the largest component that are known; of 1, where all may be 0.
        stopped: why they are fewer than was asked for; empty where they are there.
    """

    quantity: str
    lower: Tensor
    upper: Tensor
    ball: Any
    digits: float
    stopped: str = ""

    def __str__(self) -> str:
        """The balls, and what stopped them."""
        shown = self.ball if isinstance(self.ball, np.ndarray) else self.ball.str(30)
        return f"{self.quantity}: {shown}" + (f"\nstopped: {self.stopped}" if self.stopped else "")


def enclose(
    metric: Metric,
    quantity: str | Callable[..., Any],
    at: Tensor | Sequence[Any],
    digits: int = 30,
    *,
    dtype: torch.dtype | None = None,
) -> Enclosure:
    r"""Encloses a quantity at a point, or on a box: the true values are inside, always.

    The operations of the metric are traced and run over balls (midpoint and radius, every rounding inside): what the
    code computes with infinite precision, where each constant is the binary number that it holds. Over a box the balls
    are those of Taylor forms of degree 2.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        quantity: `"metric"`, `"inverse_metric"`, `"volume_element"`, `"log_volume_element"`, `"christoffel"`,
            `"riemann_tensor"`, `"ricci_tensor"`, `"scalar_curvature"`, `"gauss_curvature"` (n = 2),
            `"einstein_tensor"`, `"schouten_tensor"`, `"weyl_tensor"`, `"kretschmann_scalar"`, `"cotton_tensor"`,
            `"nabla_riemann"`, `"cotton_york_tensor"` (n = 3), `"bach_tensor"` (n = 4), in their default positions of
            indices; or the function of that name.
        at: a point `(n,)`, or a box `((low, high), …)`, of floats, ints and fractions, which are taken as they are.
        digits: decimal digits of the largest component. The precision rises until they are there or nothing is gained.
        dtype: of the point when the metric is traced; by default that of the parameters of a module, else float64.

    Returns:
        The record: `.lower`, `.upper`, `.ball`, `.digits`; `.stopped` says why digits are missing. Nothing is known
        (minus and plus infinity) where the metric is singular or a choice is not decided.

    Raises:
        ImportError: python-flint is not installed.
        TypeError: `at` holds what is no real number.
        ValueError: the quantity is not known; `metric` calls an operation that has no enclosure (named), or cannot be
            traced; a box is empty.

    Note:
        FLINT's precision is set for the whole process while this runs.

    Example:
        >>> import torch
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> here = enclose(half_plane, "scalar_curvature", [0.3, 0.7])
        >>> here.digits >= 30, here.ball.contains(-2), here.lower <= -2 <= here.upper
        (True, True, tensor(True))
        >>> enclose(half_plane, "gauss_curvature", ((0, 1), (0.99, 1.01))).upper < -0.99
        tensor(True)
    """
    flint()
    check_count("digits", digits, 1)
    sides = intervals(at)
    graph = source(metric, len(sides), dtype)
    return enclosure(graph, named(quantity, QUANTITIES), sides, digits)


def enclosure(graph: Any, name: str, sides: list[tuple[Any, Any]], digits: int) -> Enclosure:
    """The same of a traced metric."""
    check_dimension(name, graph.dim)
    bits, best, why = int(digits * 3.33) + GUARD, None, ""
    for _ in range(DOUBLINGS):
        with precision(bits):
            balls, notes = _balls(graph, name, sides)
            found = _digits(balls)
            if best is None or found > best[1]:
                best, gained = (balls, found), best is None or found > best[1] + 1
            else:
                gained = False
        why = _reason(balls, notes, all(low == high for low, high in sides))
        if found >= digits or not gained:
            break
        bits *= 2
    balls, found = best
    flat = balls.ravel()
    shape = lambda numbers: torch.tensor(numbers, dtype=torch.float64).reshape(balls.shape)
    with precision(bits):
        lower = shape([below(b) if b.is_finite() else -math.inf for b in flat])
        upper = shape([above(b) if b.is_finite() else math.inf for b in flat])
    return Enclosure(name, lower, upper, balls if balls.ndim else balls[()], found, "" if found >= digits else why)


def centred(sides: list[tuple[Any, Any]]) -> tuple[list[Any], Box | None]:
    """The centre as balls, and the box around it that holds all of the sides; no box at a point."""
    low, high = ([exact(side[k]) for side in sides] for k in (0, 1))
    if all(a == b for a, b in sides):
        return low, None
    centre = [((a + b) / 2).mid() for a, b in zip(low, high, strict=True)]
    radii = [_larger((b - m).upper(), (m - a).upper()) for a, b, m in zip(low, high, centre, strict=True)]
    return centre, Box(radii)


def _larger(a: Any, b: Any) -> Any:
    return a if a >= b else b


def _balls(graph: Any, name: str, sides: list[tuple[Any, Any]]) -> tuple[np.ndarray, list[str]]:
    centre, box = centred(sides)
    q = QUANTITIES[name]
    E = Balls(graph.dim, q.order + (REMAINDER if box else 0), box)
    here = enclosed(graph, E, centre)
    if here.known(name):
        T = getattr(here, name)()
    else:
        E.notes["g is singular or not smooth there, or a function leaves its domain, or may do so"] = None
        T = np.full((graph.dim,) * q.rank, E.nowhere()) if q.rank else E.nowhere()
    balls = np.empty((graph.dim,) * q.rank, dtype=object)
    for index in np.ndindex(balls.shape):
        balls[index] = E.number(E.value(T[index] if q.rank else T))
    return balls, list(E.notes)


def _digits(balls: np.ndarray) -> float:
    """Decimal digits of the largest component that are right, of 1 where all may be 0."""
    arb = flint().arb
    if not all(b.is_finite() for b in balls.flat):
        return 0.0
    size, radius = (max((getattr(b, end)() for b in balls.flat), key=lambda a: a.mid(), default=arb(0))
                    for end in ("abs_lower", "rad"))  # fmt: skip
    scale = size if size > 0 else arb(1)
    ratio = (radius / scale).upper()
    return math.inf if ratio.is_zero() else max(0.0, -float((ratio.log() / arb(10).log()).mid()))


def _reason(balls: np.ndarray, notes: list[str], point: bool) -> str:
    where = "the point" if point else "the box"
    if not all(b.is_finite() for b in balls.flat):
        said = "; ".join(notes) or "the precision is too low for the numbers of the metric"
        return f"nothing is known on {where}: {said}".replace("everywhere on it", f"everywhere on {where}")
    if point:
        return "rounding at the highest precision tried"
    return "the width of the box; smaller boxes have more digits"
