r"""`bound_injectivity_radius`: a radius up to which geodesics from a point certainly spread without meeting again.

Klingenberg's lemma, in its local form (do Carmo, *Riemannian Geometry*, 13.2.12; Cheeger, Gromov, Taylor,
*J. Differential Geom.* 17, 1982): let the closed balls about p of radius below r be compact, and $t < r$ the largest
radius up to which $\exp_p$ is injective. Then there are conjugate points at t or before, or two geodesics of length t
from p that meet, and where they do their velocities are opposite, or one could go on to a meeting that is nearer
(Gauss's lemma): together they are a geodesic loop at p of length 2t, in the ball of radius t, without other double
points. So

$$\mathrm{inj}(p) \ge \min(r, \pi / \sqrt\kappa, \ell / 2),$$

where r bounds the distance to the faces of a box (balls nearer are compact: they are closed in it), $\kappa$ the
sectional curvatures on it (Rauch), and $\ell$ the length of simple geodesic loops at p in it, of unit speed:

- *Turning.* Let h be a constant inner product, $g \le \Lambda h$ and $|\Gamma(u, u)|_h \le C$ for unit u. A loop has
  $\int v = 0$, $|v(s)|_h \ge \Lambda^{-1/2}$ and $|v(t) - v(s)|_h \le C |t - s|$. With s in the middle,
  $\ell |v(s)|_h = |\int (v(t) - v(s)) dt|_h \le C \ell^2 / 4$, so that $\ell \ge 4 / (C \sqrt\Lambda)$.
- *Convexity.* Let $f = h(x - p, x - p) / 2$ have a positive Hessian, $h - h(x - p, \Gamma) > 0$. Along a loop f is
  strictly convex, and 0 at both ends, so it is negative between them; but $f \ge 0$. There is no loop.
- *Gauss and Bonnet*, for surfaces. A simple loop with the exterior angle $\beta \le \pi$ at p is the edge of a disc
  in the box, on which K has the integral $2 \pi - \beta \ge \pi$. If the positive part of K has less on the box, there
  is none.

No completeness is used, and nothing outside the box: only that it is a chart, whose points are different points.
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from riemann._certified.balls import Balls
from riemann._certified.boxes import Boxes
from riemann._certified.claims import Sides
from riemann._certified.geometry import Enclosed, enclosed
from riemann._certified.given import as_float, exact, intervals, vector
from riemann._certified.intervals import Interval, U, up
from riemann._certified.library import BITS, above, flint, precision
from riemann._certified.quantities import REMAINDER
from riemann._certified.quotients import framed, quotients, values
from riemann._certified.sources import source
from riemann._certified.stacks import Stack
from riemann._points.checks import check_count
from riemann._types import Metric

BATCH = 128  # boxes at once
SHELLS = 64  # on the way to the faces
LEAST = 2.0**-10  # of the box, the part that is tried
ORDER = 2  # of the derivatives of g
THEOREM = "Klingenberg's lemma for a ball that is compact in the box (do Carmo 13.2.12; Cheeger, Gromov, Taylor 1982)"


@dataclass(frozen=True)
class InjectivityBound:
    r"""A proven lower bound of an injectivity radius.

    Attributes:
        radius: up to it $\exp_p$ is defined and a diffeomorphism onto the metric ball; 0 where nothing is known.
        box: the part of the box from which it follows.
        distance: not above the distance from p to the faces of this part.
        conjugate: not above that of conjugate points.
        loop: not above the length of geodesic loops at p inside.
        theorem: by which it follows.
        reason: why nothing is known; empty where something is.
    """

    radius: float
    box: Sides
    distance: float = 0.0
    conjugate: float = 0.0
    loop: float = 0.0
    theorem: str = THEOREM
    reason: str = ""


def bound_injectivity_radius(
    metric: Metric,
    x: Tensor | Sequence[Any],
    box: Tensor | Sequence[Any],
    *,
    budget: float | int = 60.0,
    max_boxes: int = 4096,
    dtype: torch.dtype | None = None,
) -> InjectivityBound:
    r"""Bounds the injectivity radius at a point from below, by what the metric is on a box around it: a proof.

    It is the smallest of three numbers, by Klingenberg's lemma: the distance to the faces of the box; $\pi /
    \sqrt\kappa$, where no sectional curvature on the box is above $\kappa$; and half the length of geodesic loops,
    which are short only where velocities turn quickly. The box may be too large for the last two: smaller parts are
    tried.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        x: the point p, inside the box, of numbers that floats hold.
        box: `((low, high), …)`, a chart: different points of it are different points of the manifold.
        budget: seconds after which no other part is tried.
        max_boxes: into about so many cells the parts are cut, all together.
        dtype: of points when the metric is traced, as of `certify`.

    Returns:
        The record: `.radius`, and the three numbers that it is the smallest of.

    Raises:
        ImportError: python-flint is not installed.
        TypeError: `x` or `box` hold what is no real number.
        ValueError: `x` is not inside `box`; `metric` as of `certify`.

    Example:
        >>> stereographic = lambda x: torch.eye(2) * 4 / (1 + x @ x) ** 2  # the sphere, of injectivity radius pi
        >>> bound = bound_injectivity_radius(stereographic, [0.0, 0.0], ((-0.5, 0.5), (-0.5, 0.5)))
        >>> 0.84 < bound.radius < 2 * math.atan(0.5)  # of the distance to the faces
        True
    """
    flint()
    check_count("max_boxes", max_boxes, 1)
    sides = _as_sides(box, "box")
    around = tuple((v, v) for v in (as_float(c, "x") for c in vector(x, "x")))
    check_inside(around, sides, "`x`", "`box`")
    graph = source(metric, len(sides), dtype)
    return bound_around(graph, around, sides, time.monotonic() + budget, max_boxes)


def _as_sides(box: Any, name: str) -> Sides:
    return tuple((as_float(low, name), as_float(high, name)) for low, high in intervals(box, name))


def check_inside(inner: Sides, outer: Sides, what: str, where: str) -> None:
    """Refuses points, or a box of them, that touch the faces of a box or are not inside.

    Raises:
        ValueError: they are not.
    """
    if len(inner) != len(outer):
        raise ValueError(f"{what} has {len(inner)} coordinates and {where} {len(outer)}, expected as many")
    if not all(low < a <= b < high for (a, b), (low, high) in zip(inner, outer, strict=True)):
        raise ValueError(f"{what} {inner} is not inside {where} {outer}, expected one with room on all sides")


def bound_around(
    graph: Any, around: Sides, box: Sides, deadline: float, max_boxes: int, enough: float = math.inf
) -> InjectivityBound:
    """A bound at all points of a small box, by the best part of a large one; the first that is `enough`."""
    best = InjectivityBound(0.0, box, reason="the budget was spent")
    root = _root(graph, around)
    if root is None:
        return replace(best, reason="g is singular, not smooth or not positive definite there")
    for tries, count in ((6, max_boxes // 32), (3, max_boxes // 4)):  # first roughly
        low, high = LEAST if best.radius == 0.0 else scale, 1.0
        scale = high if best.radius == 0.0 else math.sqrt(low * high)
        for _ in range(tries):
            if time.monotonic() > deadline:
                return best
            found = _bound_on(graph, around, root, _scaled(around, box, scale), max(1, count))
            whole = 0 < found.radius == found.distance
            if found.radius > best.radius or best.radius == 0.0:
                best, used = found, scale
            if best.radius > enough or whole and scale == 1.0:
                return best
            low, high = (scale, high) if whole else (low, scale)
            scale = math.sqrt(low * high)
        scale = used
    return best


def _scaled(around: Sides, box: Sides, scale: float) -> Sides:
    """A part of the box, with faces nearer to the small one."""
    if scale == 1.0:
        return box
    return tuple(
        (max(low, a - scale * (a - low)), min(high, b + scale * (high - b)))
        for (a, b), (low, high) in zip(around, box, strict=True)
    )


# ------------------------------------------------------------------------------------------------------ on one box


def _bound_on(graph: Any, around: Sides, root: Tensor, box: Sides, count: int) -> InjectivityBound:
    """The bound by a cut of all of a box into at most so many cells: even ones first, then where they decide."""
    cells = _grid(box, max(1, int((count / 4) ** (1 / len(box)) + 1e-9)))
    if cells is None:
        return InjectivityBound(0.0, box, reason="the box is too small for its numbers")
    done = _on_cells(graph, around, root, cells)
    while True:
        found, weak = _concluded(done, around, box, root)
        if not bool(weak.any()) or len(done.cells) + int(weak.sum()) > count:
            return found
        halves = _halves(done.cells[weak], root)
        fresh = _on_cells(graph, around, root, halves)
        done = Facts(*(torch.cat([old[~weak], new]) for old, new in zip(done, fresh, strict=True)))


class Facts(NamedTuple):
    r"""What is proved of cells; a row each.

    Attributes:
        cells: `(cells, n, 2)`.
        known: whether g is known to be regular, and positive definite.
        gradients: not below $|\nabla x_i|$, `(cells, n)`.
        least: not above g / h.
        largest: not below g / h.
        curvature: not below the curvatures of planes.
        positive: not below the integral of the positive part of the curvature of a surface.
        convexity: not above the Hessian of f over g.
        turning: not below $|\\Gamma(u, u)|_h$ for unit u.
    """

    cells: Tensor
    known: Tensor
    gradients: Tensor
    least: Tensor
    largest: Tensor
    curvature: Tensor
    positive: Tensor
    convexity: Tensor
    turning: Tensor


def _concluded(f: Facts, around: Sides, box: Sides, root: Tensor) -> tuple[InjectivityBound, Tensor]:
    """The bound that follows, and the cells that keep it from being larger, as it seems."""
    n = len(box)
    if not bool(f.known.all()):
        reason = "g is singular, not smooth or not positive definite somewhere on the box, or may be so on a cell of it"
        return InjectivityBound(0.0, box, reason=reason), ~f.known
    distance = max(_to_faces(f, around, box), _to_the_ball(f, around, box, root))
    kappa = float(f.curvature.max())
    conjugate = math.inf if kappa <= 0 else math.pi / math.sqrt(kappa) * (1 - 16 * U)
    flat_enough = n == 1 or n == 2 and float(f.positive.sum()) * 1.000001 < math.pi
    convex = bool((f.convexity > 0).all())
    turn = float(f.turning.max()) * math.sqrt(float(f.largest.max())) * (1 + 16 * U)
    loop = math.inf if flat_enough or convex or turn == 0 else 4 / turn * (1 - 16 * U)
    weak = (f.curvature > 0) & (f.curvature * distance**2 > math.pi**2)
    if loop < 2 * distance:
        weak |= f.convexity <= 0
    return InjectivityBound(min(distance, conjugate, loop / 2), box, distance, conjugate, loop), weak


def _to_faces(f: Facts, around: Sides, box: Sides) -> float:
    """A bound of the distance from a small box to the faces of a large one, by coordinate functions."""
    return min(
        _crossed(f.cells[:, i, 0], f.cells[:, i, 1], f.gradients[:, i], start, stop)
        for i, ((a, b), (low, high)) in enumerate(zip(around, box, strict=True))
        for start, stop in ((low, a), (b, high))
    )


def _to_the_ball(f: Facts, around: Sides, box: Sides, root: Tensor) -> float:
    r"""The same by the function $|x - m|_h$ up to the ball about the middle m that touches a face."""
    ends = torch.tensor(around, dtype=torch.float64)
    middle = ends[:, 0] + (ends[:, 1] - ends[:, 0]) / 2
    centres = f.cells[..., 0] + (f.cells[..., 1] - f.cells[..., 0]) / 2
    size = lambda sides: ((sides[..., 1] - sides[..., 0]) / 2) @ root.abs().mT
    away, reach = (centres - middle) @ root.mT, size(f.cells).norm(dim=-1)
    with precision(BITS):
        inverse = flint().arb_mat([list(map(exact, row)) for row in root.tolist()]).inv()
        norms = [above(sum(inverse[i, j] ** 2 for j in range(len(box))).sqrt()) for i in range(len(box))]
    touching = min(
        min(m - low, high - m) / norm for m, norm, (low, high) in zip(middle.tolist(), norms, box, strict=True)
    )
    slack = 1e-12 * float(f.cells.abs().max()) * float(root.abs().sum())
    start = float(size(ends).norm()) + slack
    near, far = away.norm(dim=-1) - reach - slack, away.norm(dim=-1) + reach + slack
    return _crossed(near, far, (1 + 8 * U) / f.least.sqrt(), start, touching * (1 - 1e-12) - slack)


def _crossed(low: Tensor, high: Tensor, slope: Tensor, start: float, stop: float) -> float:
    """A bound of the length of curves on which a function goes from start to stop, by its slopes on cells."""
    if not start < stop:
        return 0.0
    edges = torch.linspace(start, stop, SHELLS + 1, dtype=torch.float64)
    edges[0], edges[-1] = start, stop
    there = (low <= edges[1:, None]) & (high >= edges[:-1, None])
    steepest = torch.where(there, slope, 0.0).amax(1)
    return float((edges.diff() / steepest).nan_to_num(0.0, 0.0, 0.0).sum()) * (1 - 8 * U * SHELLS)


def _grid(box: Sides, pieces: int) -> Tensor | None:
    """An even cut of a box, `(cells, n, 2)`; None where floats are too few."""
    edges = [torch.linspace(low, high, pieces + 1, dtype=torch.float64) for low, high in box]
    for edge, (low, high) in zip(edges, box, strict=True):
        edge[0], edge[-1] = low, high
        if bool((edge.diff() <= 0).any()):
            return None
    places = torch.tensor(list(itertools.product(range(pieces), repeat=len(box))))
    ends = [torch.stack([e[p], e[p + 1]], -1) for e, p in zip(edges, places.T, strict=True)]
    return torch.stack(ends, 1)


def _halves(cells: Tensor, root: Tensor) -> Tensor:
    """Each cell cut across the side that is longest for h."""
    sides = cells[..., 1] - cells[..., 0]
    rows = torch.arange(len(cells))
    axis = (sides * root.norm(dim=0)).argmax(1)
    left, right = cells.clone(), cells.clone()
    left[rows, axis, 1] = right[rows, axis, 0] = (cells[..., 0] + sides / 2)[rows, axis]
    return torch.cat([left, right])


def _root(graph: Any, around: Sides) -> Tensor | None:
    """A with h = A^T A near g in the middle of a small box; None where g is not regular and positive definite."""
    with torch.no_grad(), precision(BITS):
        E = Balls(graph.dim, ORDER)
        here = enclosed(graph, E, [exact(a + (b - a) / 2) for a, b in around])
        g = torch.tensor([[float(E.value(e)) for e in row] for row in here.metric_forms()[0]], dtype=torch.float64)
        known = here.known("sectional_curvature")
    L, info = torch.linalg.cholesky_ex(g.nan_to_num(0.0))
    return L.mT if known and not bool(info) else None


def _on_cells(graph: Any, around: Sides, root: Tensor, cells: Tensor) -> Facts:
    parts = [_facts(graph, around, root, part) for part in cells.split(BATCH)]
    return Facts(*map(torch.cat, zip(*parts, strict=True)))


def _facts(graph: Any, around: Sides, root: Tensor, cells: Tensor) -> Facts:
    low, high = (end.T.contiguous() for end in cells.unbind(-1))
    n, centre = len(around), low + (high - low) / 2
    with torch.no_grad(), precision(BITS):
        E = Boxes(centre, up(torch.maximum(high - centre, centre - low)), ORDER + REMAINDER)
        here, ns = enclosed(graph, E, list(centre)), range(n)
        form = lambda x: x if isinstance(x, Stack) else E.constant(x)
        mixed = lambda weights: [[E.sum(gamma[k][i][j] * weights[k] for k in ns) for j in ns] for i in ns]
        g, inverse = here.metric_forms()[0], here.inverse_forms()
        gamma = [[[form(here._gamma(k, i, j)) for j in ns] for i in ns] for k in ns]
        A = [[exact(a) for a in row] for row in root.tolist()]
        h = [[sum(row[i] * row[j] for row in A) for j in ns] for i in ns]
        away = [E.variable(k, centre[k]) - exact(a).union(exact(b)) for k, (a, b) in enumerate(around)]
        pull = mixed([E.sum(away[j] * h[k][j] for j in ns) for k in ns])
        hessian = [[-pull[i][j] + h[i][j] for j in ns] for i in ns]
        g = values(g, E)
        least, largest = quotients(g, values(h, E))
        bends = torch.stack([torch.stack(quotients(values(mixed(row), E), g)).abs().amax(0) for row in A])
        gradients = torch.stack([form(inverse[i][i]).value.upper() for i in ns], -1).sqrt() * (1 + 4 * U)
        curvature, positive = _curvature(here, E, form), torch.zeros_like(centre[0])
        if n == 2:
            area = up((high - low).prod(0))
            positive = up(curvature.clamp(min=0) * form(here.volume_element()).value.upper() * area)
        convexity, turning = quotients(values(hessian, E), g)[0], up(bends.square().sum(0)).sqrt() * (1 + 4 * U)
        known = here.known("sectional_curvature") & (least > 0)
        facts = Facts(cells, known, gradients, least, largest, curvature, positive, convexity, turning)
    finite = [torch.isfinite(x.flatten(1).sum(1) if x.ndim > 1 else x) for x in facts[2:6]]
    return facts._replace(known=torch.stack([known, *finite]).all(0), turning=turning.nan_to_num(math.inf))


def _curvature(here: Enclosed, E: Boxes, form: Callable[[Any], Stack]) -> Tensor:
    """Upper bounds of the curvatures of all planes."""
    if here.dim < 2:
        return torch.zeros_like(E.centre[0])
    if here.dim == 2:
        return form(here.gauss_curvature()).value.upper()
    R, G = ([[form(e) for e in row] for row in M] for M in here.sectional_forms())
    q, area = (values(M, E) for M in (R, G))
    top = torch.linalg.eigvalsh(framed(q.mid, area.mid)[0])[:, -1]
    shift = E.spread_numbers(top)
    left = [[b * shift - a for a, b in zip(*rows, strict=True)] for rows in zip(R, G, strict=True)]
    left = here.with_four_form(left, G) if here.dim > 3 else left
    least = quotients(values(left, E), area)[0]
    return (Interval(top, torch.zeros_like(top)) - Interval(least, torch.zeros_like(least))).upper()
