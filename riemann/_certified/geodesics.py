r"""`enclose_geodesic`: where the geodesic of one initial condition certainly is, at its end and all along.

A validated Taylor method: on each step a box B is found that holds the Taylor polynomial up to h with its remainder
over B: so the solution does not leave it. The set of solutions is kept as $m + A r$, a midpoint and a frame times a
box, so that boxes do not wrap around turning sets, in two frames at once, and the truth is in both: one is orthonormal
by a QR decomposition; the other moves with the flow, to 128 bits, and its boxes grow by what is added alone, until it
is too skew (Lohner, *Enclosing the solutions of ordinary initial and boundary value problems*, 1987; Corliss, Rihm,
*Validating an a priori enclosure using high-order Taylor series*, 1996; Nedialkov, Jackson, Corliss, *Validated
solutions of initial value problems*, Appl. Math. Comput. 105, 1999).
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from riemann._certified.along import Along, accelerations
from riemann._certified.given import as_float, exact, vector
from riemann._certified.library import above, below, flint, precision, terms_kept
from riemann._certified.sources import source
from riemann._points.checks import check_count
from riemann._types import Metric

SMALLEST = 2.0**-30  # of a step, beside the whole time
BITS = 128
SKEW = 1000.0  # how much wider a set in the moving frame may be, before that starts anew


@dataclass(frozen=True)
class GeodesicEnclosure:
    r"""Where a geodesic certainly is.

    Attributes:
        time: how far it was followed: all of `t`, or less where `stopped` says why.
        lower: float64 `(2, n)`: the position at that time, and the velocity, are certainly not below.
        upper: nor above.
        times: `(steps + 1,)`, the ends of the steps.
        tube: `(steps, 2, n)`: the least and the largest coordinates while each step lasts.
        length: `(2,)`: bounds of $\int |g(v, v)|^{1/2}$ up to that time; where g is positive definite the second is
            above the distance between the two ends.
        stopped: why it was not followed further; empty where it was.
    """

    time: float
    lower: Tensor
    upper: Tensor
    times: Tensor
    tube: Tensor
    length: Tensor
    stopped: str = ""


def enclose_geodesic(
    metric: Metric,
    x: Tensor | Sequence[float],
    v: Tensor | Sequence[float],
    t: float | int,
    *,
    order: int = 16,
    tolerance: float = 1e-12,
    max_steps: int = 10_000,
    progress: Callable[[str], None] = lambda text: None,
    dtype: torch.dtype | None = None,
) -> GeodesicEnclosure:
    r"""Encloses the geodesic of $(x, v)$ up to time t, at its end and all along.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, of any signature.
        x: the point where it starts, `(n,)`, of floats, ints and fractions, which are taken as they are.
        v: its velocity there, `(n,)`.
        t: how long to follow it, of either sign.
        order: of the Taylor polynomials; 10 to 20 are sensible.
        tolerance: of the remainder of one step, which decides how long steps are; what is proved does not depend on it.
        max_steps: steps at most.
        progress: called with a few words after each step.
        dtype: of points when the metric is traced, as of `enclose`.

    Returns:
        The record: `.lower`, `.upper` at the end, `.tube` all along, `.length`. Where no step can be proved to stay
        where the metric is regular, it ends before t, and `.stopped` says so.

    Raises:
        ImportError: python-flint is not installed.
        TypeError: `x`, `v` or `t` hold what is no real number.
        ValueError: `x` and `v` are no finite vectors of one length; `metric` as of `enclose`.

    Note:
        A step takes about a tenth of a second in two or three dimensions, and more in more.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> import math
        >>> path = enclose_geodesic(half_plane, [0.0, 1.0], [1.0, 0.0], 0.0625)  # x = tanh t, y = 1 / cosh t
        >>> bool((path.lower[0, 0] < math.tanh(0.0625)) & (path.upper[0, 0] > math.tanh(0.0625)))
        True
        >>> (path.upper - path.lower).max() < 1e-8, abs(path.length[1] - 0.0625) < 1e-12
        (tensor(True), tensor(True))
    """
    flint()
    check_count("order", order, 1)
    start, velocity, t = vector(x, "x"), vector(v, "v"), as_float(t, "t")
    if len(start) != len(velocity):
        raise ValueError(
            f"`x` has {len(start)} coordinates and `v` {len(velocity)}, expected two vectors of one length"
        )
    n, sign = len(start), -1.0 if t < 0 else 1.0
    graph = source(metric, n, dtype)
    with torch.no_grad(), precision(BITS):
        y = [*map(exact, start), *(exact(-c if t < 0 else c) for c in velocity)]
        flow = Flow(graph, order, tolerance)
        speed = flow.speed(y)
        if speed is None:
            raise ValueError(f"`metric` is singular, or not smooth, at the start {start}")
        state, now, h = Frame(y), 0.0, abs(t)
        times, tube, why = [0.0], [], ""
        while now < abs(t):
            if len(tube) >= max_steps:
                why = f"`max_steps` = {max_steps} was reached"
                break
            step, after, growth = None, now, 2.0
            while step is None and h > SMALLEST * abs(t):
                after = min(now + h, abs(t))
                step = flow.step(state, exact(after) - exact(now))
                if step is None:
                    h, growth = 0.7 * h, 1.1
            if step is None or after == now:
                why = "no step can be proved: the metric is singular or not smooth ahead, or the enclosure is too wide"
                break
            state, box, remainder = step
            h, now = after - now, after
            times.append(now)
            tube.append(box[:n])
            h = h * min(growth, max(0.5, 0.9 * (tolerance / max(remainder, 1e-60)) ** (1 / (order + 1))))
            progress(f"t = {sign * now:.6g}")
        hull = state.hull()
        hull = [*hull[:n], *(c * exact(sign) for c in hull[n:])]
        length = abs(speed) * exact(now)
        ends = lambda end, balls: torch.tensor([end(b) for b in balls], dtype=torch.float64)
        boxes = [torch.stack([ends(below, box), ends(above, box)]) for box in tube]
        return GeodesicEnclosure(
            sign * now, ends(below, hull).reshape(2, n), ends(above, hull).reshape(2, n),
            sign * torch.tensor(times, dtype=torch.float64), torch.stack(boxes) if boxes else torch.empty(0, 2, n),
            torch.tensor([below(length), above(length)], dtype=torch.float64), why,
        )  # fmt: skip


class Frame:
    """The set m + A r, where each A is a matrix and r a box: what is in all of them.

    Args:
        middle: the balls, or one point.
        parts: pairs A, r; the unit matrix and 0 where none are given.
    """

    def __init__(self, middle: list[Any], parts: list[tuple[Any, list[Any]]] | None = None):
        size = len(middle)
        unit = flint().arb_mat([[int(i == j) for j in range(size)] for i in range(size)])
        self.middle = middle
        self.parts = parts or [(unit, [exact(0.0)] * size)] * 2

    def hull(self) -> list[Any]:
        """A box around it."""
        boxes = [_times(A, r) for A, r in self.parts]
        return [
            m + functools.reduce(_common, each) for m, each in zip(self.middle, zip(*boxes, strict=True), strict=True)
        ]


class Flow:
    """Steps of the flow of geodesics."""

    def __init__(self, graph: Any, order: int, tolerance: float):
        self.graph, self.n, self.order, self.tolerance = graph, graph.dim, order, tolerance

    def speed(self, y: list[Any]) -> Any:
        """|g(v, v)|^(1/2), which does not change; None where g is not known to be regular."""
        n = self.n
        slope = self.slope(y)
        if not all(c.is_finite() for c in slope):
            return None
        with terms_kept(1):
            E = Along(n, 0)
            g = self.graph.matrix(E, [E.curve([c]) for c in y[:n]])
            values = [[E.number(E.value(e)) for e in row] for row in g]
        return abs(sum(values[i][j] * y[n + i] * y[n + j] for i in range(n) for j in range(n))).sqrt()

    def slope(self, y: list[Any]) -> list[Any]:
        """The right side of the equation, over a box."""
        a, _, _ = accelerations(self.graph, [[c] for c in y[: self.n]], [[c] for c in y[self.n :]], 0)
        return [*y[self.n :], *(c[0] for c in a)]

    def series(self, y: list[Any], order: int) -> list[list[Any]]:
        """The Taylor coefficients of the solution that starts at each point of a box, `[k][i]`."""
        n, c = self.n, [[e] for e in y]
        for k in range(order):
            a, _, _ = accelerations(self.graph, c[:n], c[n:], 0)
            for i in range(n):
                c[i].append(c[n + i][k] / (k + 1))
                c[n + i].append(a[i][k] / (k + 1))
        return [[row[k] for row in c] for k in range(order + 1)]

    def jacobian(self, c: list[list[Any]], h: Any) -> Any:
        """The derivative of the Taylor polynomial at h by the start, from its coefficients over a box."""
        n, arb_mat = self.n, flint().arb_mat
        x, v = ([[row[i] for row in c[:-1]] for i in part] for part in (range(n), range(n, 2 * n)))
        _, by_x, by_v = accelerations(self.graph, x, v, 1)
        zero, one = exact(0.0), exact(1.0)
        D = [arb_mat([*([zero] * n + [one if i == j and k == 0 else zero for j in range(n)] for i in range(n)),
                      *([by_x[i][m][k] for m in range(n)] + [by_v[i][m][k] for m in range(n)] for i in range(n))])
             for k in range(len(c) - 1)]  # fmt: skip
        J = [arb_mat([[one if i == j else zero for j in range(2 * n)] for i in range(2 * n)])]
        for k in range(len(c) - 1):
            total = D[0] * J[k]
            for i in range(1, k + 1):
                total = total + D[i] * J[k - i]
            J.append(total * (one / (k + 1)))
        total = J[-1]
        for term in reversed(J[:-1]):
            total = total * h + term
        return total

    def around(self, c: list[list[Any]], h: Any) -> tuple[list[Any], list[Any]] | None:
        r"""A box that the solutions do not leave up to h, and the next Taylor coefficients over it.

        From the coefficients c over the box where they start: $\sum_k [0, h^k] c_k + [0, h^{N+1}] c_{N+1}(B)$ is in B.
        """
        powers = [_from_zero(h**k) for k in range(self.order + 2)]
        start = [sum((b * p for b, p in zip(a[1:], powers[1:], strict=False)), a[0]) for a in zip(*c, strict=True)]
        B = start
        for _ in range(3):
            if not all(b.is_finite() for b in B):
                return None
            B = [b + _ball(0.05 * float(b.rad()) + 1e-20 + 1e-18 * float(abs(b).upper())) for b in B]
            last = self.series(B, self.order + 1)[-1]
            image = [a + b * powers[-1] for a, b in zip(start, last, strict=True)]
            if all(i.is_finite() and b.contains_interior(i) for i, b in zip(image, B, strict=True)):
                return image, last
            B = [i.union(b) for i, b in zip(image, B, strict=True)]
        return None

    def step(self, state: Frame, time: Any) -> tuple[Frame, list[Any], float] | None:
        """The set after a time h, a box around it all along, and the size of the remainder; None if not proved."""
        hull, n = state.hull(), self.n
        along = self.series(hull, self.order)
        found = self.around(along, time)
        if found is None:
            return None
        box, last = found
        rest = [c * time ** (self.order + 1) for c in last]
        remainder = max(float(r.rad()) for r in rest[:n])
        if remainder > 4 * self.tolerance and remainder > 4 * max(float(c.rad()) for c in hull):
            return None
        middle = [c.mid() for c in state.middle]
        moved = _value(self.series(middle, self.order), time)
        J = self.jacobian(along, time)
        spread = [c - m for c, m in zip(state.middle, middle, strict=True)]
        ends = [a + b + s for a, b, s in zip(moved, rest, _times(J, spread), strict=True)]
        centre = [e.mid() for e in ends]
        added = [e - c for e, c in zip(ends, centre, strict=True)]
        (A, r), (B, s) = state.parts
        turning = _moved(J * A, r, added, _orthonormal)
        if turning is None:
            return None
        moving = _moved(J * B, s, added, lambda M, _: _middle(M))
        if moving is None or all(
            b.rad() > SKEW * a.rad() for a, b in zip(_times(*turning), _times(*moving), strict=True)
        ):
            moving = turning
        return Frame(centre, [turning, moving]), box, remainder


def _moved(M: Any, r: list[Any], added: list[Any], frame: Callable[..., Any]) -> tuple[Any, list[Any]] | None:
    """The set M r + e in a new frame; None where there is none."""
    size = range(len(r))
    if not all(M[i, j].is_finite() for i in size for j in size):
        return None
    A = frame(M, r)
    try:
        inverse = A.inv()
    except ZeroDivisionError:
        return None
    r = [a + b for a, b in zip(_times(inverse * M, r), _times(inverse, added), strict=True)]
    return (A, r) if all(c.is_finite() for c in r) else None


def _middle(M: Any) -> Any:
    """The matrix of the middles, to all digits: it turns and shears as the flow does, and boxes do not grow."""
    size = range(M.nrows())
    return flint().arb_mat([[M[i, j].mid() for j in size] for i in size])


def _orthonormal(M: Any, r: list[Any]) -> Any:
    """The factor Q of the middles, the longest edge of the set first, as floats."""
    size = range(len(r))
    middles = np.array([[float(M[i, j].mid()) for j in size] for i in size])
    extents = np.linalg.norm(middles, axis=0) * [float(c.rad()) for c in r]
    Q = np.linalg.qr(middles[:, np.argsort(-extents)])[0]
    return flint().arb_mat([[exact(q) for q in row] for row in Q.tolist()])


def _common(a: Any, b: Any) -> Any:
    """What two balls share that hold the same number."""
    return a.intersection(b)


def _value(c: list[list[Any]], h: Any) -> list[Any]:
    """The polynomial at h."""
    total = c[-1]
    for row in reversed(c[:-1]):
        total = [a * h + b for a, b in zip(total, row, strict=True)]
    return total


def _times(A: Any, v: list[Any]) -> list[Any]:
    return [sum((A[i, j] * v[j] for j in range(1, len(v))), A[i, 0] * v[0]) for i in range(len(v))]


def _from_zero(x: Any) -> Any:
    """The ball of the numbers from 0 to x."""
    return (0 * x).union(x)


def _ball(radius: float) -> Any:
    return flint().arb(0, radius)
