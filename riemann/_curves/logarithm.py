r"""The logarithm, the v with $\exp_x(v) = y$, by relaxing a curve, and the distance it gives.

One algorithm from its start to what is said of its end: therefore long.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Unpack, overload

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets
from riemann._arithmetic.jet import kinks_called
from riemann._curvature.tensors import FULL_JETS
from riemann._curvature.variation import acceleration_derivatives
from riemann._curves import starts
from riemann._curves.geodesic import exp_map, fault_at, geodesic_acceleration, message, tolerance
from riemann._curves.jacobi import varied_geodesics
from riemann._curves.ode import Status
from riemann._indices import bilinear, matvec
from riemann._messages.frames import warn
from riemann._metric import jets_of, metric_jet
from riemann._points.checks import alike, carry_derivatives, check_count, check_unmapped, door
from riemann._points.chunks import BUDGET, reported
from riemann._points.faults import first
from riemann._types import Field, Metric, Progress, SearchOptions

_STARTS = ((1.0, 3.0), (1e3, 10.0), (1.0, 1.0))  # shift of the first step, growth of the tension that is let pass
_LARGEST = 1e6  # shift
_GAIN = 0.03  # of a step, by which the next one may take the derivatives of this one
_STEADY = 0.02  # variation of the speed along a curve that counts as a geodesic
_INDEX_NODES = 24, 64  # where conjugate points are looked for
_PIECE = 32  # points between two reports of progress
_AT_ONCE = 96  # points at which derivatives of the acceleration are taken: few, to stay in the cache
_KRYLOV = 20  # steps of GMRES
_LANES = 256  # curves from random starts at a time


class Logarithm(NamedTuple):
    r"""Velocities of geodesics between points of a batch.

    Attributes:
        velocities: the v with $\exp_x(v) = y$, `(*batch, n)`; NaN where none was found.
        error: $|\exp_x(v) - y|$, the largest of the coordinates, of the best v found, `(*batch,)`; an estimate of it
            where the geodesic passes kinks of the metric.
        status: what became of each point, `(*batch,)`, values of `riemann.Status`.
        length: of the geodesic found, `(*batch,)`.
        conjugate_points: how many points conjugate to x it passes before y, `(*batch,)`: beyond one it is not the
            shortest. 0 in more than 16 dimensions, and where g is indefinite: there they are not looked for.
    """

    velocities: Tensor
    error: Tensor
    status: Tensor
    length: Tensor
    conjugate_points: Tensor = torch.zeros((), dtype=torch.long)  # in files of 0.1.0, which did not look for them

    @property
    def message(self) -> str:
        """What happened, in a sentence, with the first point where something did."""
        text = message("geodesic between two points", self.status, self.error)
        bad = self.status != Status.SUCCESS
        if not bool(bad.any()):
            return text
        error = float(self.error[first(bad)] if bad.ndim else self.error)
        if not math.isfinite(error):
            return f"{text}; no curve that was tried leads from `x` to `y`"
        return f"{text}; the best one found misses `y` by {error:.3g} in a coordinate"

    def checked(self, why: str = "") -> Tensor:
        """The velocities; raises where one was not found, and says why if it is known."""
        if bool((self.status != Status.SUCCESS).any()):
            raise RuntimeError(
                f"{self.message}{why}. `throw=False` returns what was found, with a status for each point"
            )
        if bool((passed := self.conjugate_points > 0).any()):
            where = list(first(passed)) if passed.ndim else []
            warn(
                f"the geodesic between two points{f' at {where} of the batch' if where else ''} passes a point "
                "conjugate to its start, so it is not the shortest one; `restarts=8`, or more, looks for others in "
                "this chart"
            )
        return self.velocities


@overload
def log_map(
    metric: Metric, x: Tensor, y: Tensor, *, throw: Literal[True] = ..., **options: Unpack[SearchOptions]
) -> Tensor: ...


@overload
def log_map(
    metric: Metric, x: Tensor, y: Tensor, *, throw: Literal[False], **options: Unpack[SearchOptions]
) -> Logarithm: ...


@door
def log_map(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    y: Float[Tensor, "*#batch n"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    max_iterations: int = 30,
    restarts: int = 0,
    chart: Field | None = None,
    progress: Progress = False,
    throw: bool = True,
) -> Any:
    r"""Logarithm, the tangent vector v at x with $\exp_x(v) = y$ of the geodesic that continues the straight line.

    The straight line is relaxed, by damped Newton steps at all its nodes at once, until it is a geodesic; then the
    first velocity is polished until the geodesic that `exp_map` finds for it meets y. The work has a bound.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        y: points, broadcast against `x`.
        rtol: as for `geodesic`; `y` is to be met to 5 times that, relative to the largest coordinate, if over 1.
        atol: as for `geodesic`.
        max_steps: as for `geodesic`.
        max_iterations: Newton steps on each of up to four sets of nodes, from each of up to four starts.
        restarts: further starts, lines bent by chance whose energy is lowered first; the shortest geodesic is taken.
        chart: as for `geodesic`.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.
        throw: whether to raise where a point of the batch fails; otherwise the `Logarithm` is returned.

    Returns:
        `(*batch, n)`; the `Logarithm` if `throw` is false.

    Raises:
        TypeError, ValueError: as `at`.
        RuntimeError: no geodesic was found for some point (with `throw`); called under `vmap`.

    Warns:
        UserWarning: a geodesic passes kinks of the metric, and how well it is known; or a point conjugate to x, so
            that it is not the shortest one.

    Note:
        A geodesic of the chart, the shortest one within the injectivity radius; there may be others beyond, which
        `restarts` looks for: it finds shorter ones often, not always. First
        derivatives, to x, y and the parameters of the metric, are those of the implicit function, NaN where y is
        conjugate to x; second ones raise.

        Where the geodesic passes kinks of the metric (of ELU in a network) it is left as relaxed: a warning says how
        accurate it is, lengths are far more so than velocities, and derivatives are NaN.

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> x, y = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
        >>> log_map(half_plane, x, y)[1].exp().round(decimals=6)
        tensor(2., dtype=torch.float64)
    """
    return _logarithm(
        metric, x, y, rtol=rtol, atol=atol, max_steps=max_steps, max_iterations=max_iterations, restarts=restarts,
        chart=chart, progress=progress, throw=throw,
    )  # fmt: skip


def _logarithm(
    metric: Metric, x: Tensor, y: Tensor, *, rtol: float | None = None, atol: float | None = None,
    max_steps: int = 10_000, max_iterations: int = 30, restarts: int = 0, chart: Field | None = None,
    progress: Progress = False, throw: bool = True, for_length: bool = False,
) -> Any:  # fmt: skip
    """`log_map`; where it is for the length, and nobody asks for derivatives, velocities may be less accurate."""
    x, y = alike(x, y=y)
    options = dict(rtol=rtol, atol=atol, max_steps=max_steps, chart=chart)
    check_count("max_iterations", max_iterations, 1)
    check_count("restarts", restarts, 0)
    check_unmapped(x, y)
    g = metric_jet(metric, torch.stack((x.detach(), y.detach())), 0)[0][0]  # warns where it is no metric
    n, batch = x.shape[-1], x.shape[:-1]
    with torch.no_grad():
        flat = x.detach().reshape(-1, n), y.detach().reshape(-1, n)
        same = for_one_call(metric, torch.cat(flat))
        for_length = for_length and not _gives_derivatives(metric, *flat)
        search = functools.partial(_search, same, max_iterations, restarts, options, for_length=for_length)
        if bool(g.isnan().any(-1).any(-1).all()):
            found = _Found.none(flat[0])
        else:
            found = _in_pieces(search, *flat, progress) if progress else search(*flat)
    good = ~found.v.isnan().any(-1)
    v = _implicit(metric, x.reshape(-1, n), y.reshape(-1, n), found.v, good & ~found.kinked, options)
    v = _without_derivatives(metric, x.reshape(-1, n), y.reshape(-1, n), v, good & found.kinked)
    status = torch.where(good, Status.SUCCESS, Status.NOT_CONVERGED)
    result = Logarithm(
        v.reshape(*batch, n), *(a.reshape(batch) for a in (found.error, status, found.length, found.conjugate_points))
    )
    found.warn()
    return result.checked(fault_at(metric, x, ~result.error.isfinite())) if throw else result


def for_one_call(metric: Metric, x: Tensor) -> Metric:
    """The metric, or an equal one that costs less: found by what is above this, which puts its own here."""
    return metric


def _without_derivatives(metric: Metric, x: Tensor, y: Tensor, v: Tensor, lanes: Tensor) -> Tensor:
    """The same v, whose derivatives are NaN at some of the points."""
    if not bool(lanes.any()):
        return v
    given = geodesic_acceleration(metric, x[lanes], v[lanes]) + x[lanes] + y[lanes]
    return v.index_put((lanes.nonzero()[:, 0],), v[lanes] + (0 * given).sqrt())


def _gives_derivatives(metric: Metric, x: Tensor, y: Tensor, some: Tensor | slice = slice(1)) -> bool:
    """Whether points, or parameters of the metric, ask for derivatives: one point tells as well as all do."""
    with torch.enable_grad():
        return carry_derivatives(x, y, geodesic_acceleration(metric, x[some], y[some] - x[some]))


def _implicit(metric: Metric, x: Tensor, y: Tensor, v: Tensor, good: Tensor, options: dict[str, Any]) -> Tensor:
    r"""One Newton step from the solution, $v - (\partial \exp)^{-1} (\exp_x(v) - y)$: its derivatives are implicit."""
    n = x.shape[-1]
    if not _gives_derivatives(metric, x, y, good.nonzero()[:1, 0]):
        return v
    miss = exp_map(metric, x[good], v[good], throw=False, **options).points[0] - y[good]
    with torch.no_grad():
        one = torch.eye(n, dtype=x.dtype, device=x.device).expand(len(v[good]), n, n)
        start = (x.detach()[good], v[good], torch.zeros_like(one), one)
        _, (_, _, J, _) = varied_geodesics(metric, *start, x.new_ones(1), **options)
        inverse = torch.linalg.inv_ex(J[0])[0]
        amplified = inverse.abs().sum(-1).amax(-1) * J[0].abs().sum(-1).amax(-1)
        known = (amplified < 0.1 / tolerance(options["rtol"], x)).to(x)[:, None]  # else J is singular, to its accuracy
        inverse = torch.where(known[..., None] > 0, inverse, 0.0)
    nothing = (known + 0 * miss).sqrt() - known  # whose derivative is NaN at conjugate points
    better = v[good] - matvec(inverse, miss) - nothing
    return v.index_put((good.nonzero()[:, 0],), _jets.once(better, "log_map"))


def _search(
    metric: Metric,
    max_iterations: int,
    restarts: int,
    options: dict[str, Any],
    x: Tensor,
    y: Tensor,
    near: Tensor | None = None,
    for_length: bool = False,
) -> "_Found":
    """The geodesics: those that pass kinks are left as relaxed, the others polished until they meet y.

    Those that are for their length, too, are left as relaxed where it is known.
    """
    with kinks_called() as names:
        curves, size, change = _all_relaxed(metric, max_iterations, restarts, options, x, y, near)
    close = _close(y)
    kinked = (change > 100 * _goal(y, options)) & bool(names)
    v, miss = curves.velocities()[:, 0].to(x.dtype), change.to(x.dtype)
    length, spread = curves.of(kinked).length()
    v[kinked] = torch.where(((spread < _STEADY) & (size[kinked] <= close[kinked]))[:, None], v[kinked], torch.nan)
    known = (
        _known_lengths(curves, ~kinked & (size <= close), options) if for_length else torch.full_like(miss, torch.nan)
    )
    smooth = (~kinked & known.isnan()).nonzero()[:, 0]
    v[smooth], miss[smooth] = _polish(curves.of(smooth), x[smooth], y[smooth], options)
    v[smooth] = torch.where((miss <= _goal(y, options))[smooth, None], v[smooth], torch.nan)
    lengths = torch.where(known.isnan(), bilinear(jets_of(metric, x, 0)[0], v, v).abs().sqrt(), known)
    lengths[kinked] = torch.where(v[kinked].isnan().any(-1), torch.nan, length.to(x))
    kinked |= v.isnan().any(-1) & bool(names)  # where g is constant by pieces the line is straight, and of two speeds
    said = _said(names, v[kinked], miss[kinked], curves.of(kinked).length()[1]) if bool(kinked.any()) else ""
    passed = _conjugate_points(curves, torch.where(kinked[:, None], torch.nan, v), jets_of(metric, x, 0)[0])
    return _Found(v, miss, lengths, kinked, passed, said)


def _all_relaxed(
    metric: Metric,
    max_iterations: int,
    restarts: int,
    options: dict[str, Any],
    x: Tensor,
    y: Tensor,
    near: Tensor | None,
    afar: bool = True,
) -> tuple["_Curves", Tensor, Tensor]:
    """The best curves from all starts, the sizes of their tension, and the last changes of their first velocities.

    What is `near` bends like them, `(b, k + 1, n)`, and is tried first, on finer nodes; nothing else unless `afar`.
    """
    straight = _straight(metric, x, y)
    curves = straight.refined(_grids(x.shape[-1])[-1])
    size = torch.full_like(curves.x[:, 0], torch.inf)
    change = torch.zeros_like(size)
    close = _close(y)
    known = [] if near is None else [(straight._replace(bend=near).refined(_grids(x.shape[-1])[1]), 0.0, 1.0)]
    for start, shift, leeway in (*known, *((straight, *step) for step in _STARTS if afar)):
        left = (size > close).nonzero()[:, 0]
        if len(left) == 0:
            break
        relaxed, new, turned = _relaxed(start.of(left), shift, leeway, max_iterations, options)
        _take(curves, size, change, left, new < size[left], relaxed, new, turned)
    left = (size > close).nonzero()[:, 0]
    if len(left) and afar:
        line = starts.straight(curves.x[left], curves.y[left])
        relaxed, new, turned = _from_polygons(curves.of(left), line, max_iterations, options)
        _take(curves, size, change, left, new < size[left], relaxed, new, turned)
    b, every = len(x), torch.arange(len(x), device=x.device)
    waved = starts.waved(curves.x, curves.y, restarts)
    for lines in waved.split(max(1, _LANES // max(1, b))) if restarts else ():
        of_all = curves.of(every.repeat(len(lines)))
        relaxed, new, turned = _from_polygons(of_all, lines.flatten(0, 1), max_iterations, options)
        length = relaxed.length()[0]
        for k in range(len(lines)):
            lanes = k * b + every
            better = (new[lanes] <= close) & ~(length[lanes] >= (1 - 1e-9) * curves.length()[0])
            better |= (new[lanes] <= close) & (size > close)
            _take(curves, size, change, every, better, relaxed.of(lanes), new[lanes], turned[lanes])
    return curves, size, change


def relaxed_log(metric: Metric, x: Tensor, y: Tensor, **options: Any) -> Tensor:
    """What `log_map` begins to polish, not shot at y, `(*batch, n)`: for the steps of a search, not for its end."""
    return followed_log(metric, x, y, None, **options)[0]


def followed_log(
    metric: Metric,
    x: Tensor,
    y: Tensor,
    near: Tensor | None,
    *,
    exact: bool = False,
    afar: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    max_iterations: int = 30,
    restarts: int = 0,
    chart: Field | None = None,
    progress: Progress = False,
) -> tuple[Tensor, Tensor]:
    """Relaxed logarithms `(*batch, n)`, and how their geodesics bend, `(*batch, k + 1, n)`: `near` them the next ones.

    Where they are to be `exact`, those whose nodes are too few are shot at y, as `log_map` does; unless they are
    looked for `afar`, too, those that do not bend nearly so are NaN.
    """
    x, y = alike(x, y=y)
    n, options = x.shape[-1], {"rtol": rtol}
    flat = x.reshape(-1, n), y.reshape(-1, n)
    with torch.no_grad():
        near = None if near is None else near.flatten(0, x.ndim - 2)
        curves, size, change = _all_relaxed(
            metric, max_iterations, restarts, options, *flat, near, afar or near is None
        )
        v = torch.where((size <= _close(flat[1]))[:, None], curves.velocities()[:, 0], torch.nan).to(x.dtype)
        goal = _goal(flat[1], options)
        left = ((torch.maximum(size, change) > goal) & (afar | (size <= _close(flat[1])))).nonzero()[:, 0]
        if exact and len(left):  # do nodes between those known find it, too?
            left = left[curves.of(left).refined(2 * _grids(n)[-1]).tension()[1] > goal[left]]
        bend = curves.refined(_grids(n)[0]).bend
        if exact and len(left):
            options = {"atol": atol, "max_steps": max_steps, "chart": chart, **options}
            found = _search(metric, max_iterations, restarts, options, flat[0][left], flat[1][left], bend[left])
            v[left] = found.v
            found.warn()
    return v.reshape(x.shape), bend.reshape(*x.shape[:-1], *bend.shape[1:])


def known_log(metric: Metric, x: Tensor, y: Tensor, v: Tensor, **options: Any) -> Tensor:
    """What `log_map` finds, `(*batch, n)`, where v is next to it, with the derivatives that `log_map` gives it."""
    x, y = alike(x, y=y)
    ends = x.flatten(0, -2), y.flatten(0, -2)
    with kinks_called() as names, torch.no_grad():
        acceleration_derivatives(metric, ends[0][:1].detach(), v.flatten(0, -2)[:1])
    if names:  # it is left as relaxed where it passes them
        return log_map(metric, x, y, throw=False, **options).velocities
    settings: dict[str, Any] = {"rtol": None, "atol": None, "max_steps": 10_000, "chart": None}
    settings |= {name: options[name] for name in settings if name in options}
    every = torch.ones(len(ends[0]), dtype=torch.bool, device=x.device)
    return _implicit(metric, *ends, v.flatten(0, -2), every, settings).reshape(x.shape)


def moved_log(metric: Metric, x: Tensor, y: Tensor, bend: Tensor) -> Tensor:
    """Roughly, the derivative of logarithms by x, for geodesics that bend so, `(b, n, n)`, `[..., k, i]`."""
    curves = _straight(metric, x, y)._replace(bend=bend)
    known = curves.derivatives()
    return torch.stack([curves.turned(e.expand_as(bend[:, 0]), 0, known) for e in torch.eye(x.shape[-1]).to(bend)], -1)


def along(x: Tensor, y: Tensor, bend: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points and velocities of curves that bend so, `(b, k + 1, n)`, at nodes whose weights integrate over [0, 1]."""
    return _points(x, y, bend), _velocities(x, y, bend), _quadrature(bend.shape[1] - 1, bend)


def _points(x: Tensor, y: Tensor, bend: Tensor) -> Tensor:
    return x[:, None] + _nodes(bend.shape[1] - 1, bend)[0][:, None] * (y - x)[:, None] + bend


def _velocities(x: Tensor, y: Tensor, bend: Tensor) -> Tensor:
    return (y - x)[:, None] + _differentiation(bend.shape[1] - 1, bend) @ bend


def _close(y: Tensor) -> Tensor:
    """The size of a tension below which a curve is next to a geodesic."""
    return 1e-4 * y.abs().amax(-1).clamp(min=1.0)


def _in_pieces(search: Callable[[Tensor, Tensor], "_Found"], x: Tensor, y: Tensor, progress: Progress) -> "_Found":
    """The geodesics of some points at a time, reported."""
    parts: list[_Found] = []
    with reported(progress, len(x)) as report:
        for some in torch.arange(len(x), device=x.device).split(_PIECE):
            parts.append(search(x[some], y[some]))
            report(int(some[-1]) + 1)
    if len(parts) < 2:
        return parts[0] if parts else search(x, y)
    *tensors, said = zip(*parts, strict=True)
    return _Found(*map(torch.cat, tensors), next(filter(None, said), ""))


def _take(
    curves: "_Curves", size: Tensor, change: Tensor, lanes: Tensor, better: Tensor, relaxed: "_Curves", new: Tensor,
    turned: Tensor,
) -> None:  # fmt: skip
    """Writes curves that are better, with their sizes of the tension and last changes, over those known."""
    at = lanes[better]
    curves.bend[at] = relaxed.refined(curves.bend.shape[1] - 1).bend[better]
    size[at], change[at] = new[better], turned[better]


def _from_polygons(
    curves: "_Curves", line: Tensor, max_iterations: int, options: dict[str, Any]
) -> tuple["_Curves", Tensor, Tensor]:
    """`_relaxed` from polygons of lower energy, on nodes as many as their segments."""
    line = starts.lowered(curves.metric, line, curves.dtype)
    bend = line - starts.straight(curves.x, curves.y)
    nodes = min(starts.SEGMENTS, _grids(line.shape[-1])[-1])
    at = _nodes(nodes, line)[0] * starts.SEGMENTS
    low = at.floor().clamp(max=starts.SEGMENTS - 1).long()
    bend = torch.lerp(bend[:, low], bend[:, low + 1], (at - low)[:, None])
    return _relaxed(curves._replace(bend=bend), 1.0, 3.0, max_iterations, options)


def _conjugate_points(curves: "_Curves", v: Tensor, g: Tensor) -> Tensor:
    r"""The number of points conjugate to x along geodesics, by Morse's theorem: the index of the second variation.

    It counts the positive eigenvalues of $\nabla_{\dot\gamma}^2 + R(\cdot, \dot\gamma) \dot\gamma$, the change of the
    tension, on fields that vanish at both ends; a point that is conjugate in many directions counts as many.
    """
    count = torch.zeros(len(v), dtype=torch.long, device=v.device)
    n = v.shape[-1]
    definite = torch.linalg.cholesky_ex(g)[1] == 0
    on = (definite & v.isfinite().all(-1)).nonzero()[:, 0]
    if n > FULL_JETS or len(on) == 0:
        return count
    for nodes in _INDEX_NODES:  # what fewer nodes find is looked at with more, which resolve long geodesics
        for at in on.split(max(1, BUDGET // (32 * (nodes * n) ** 2))):
            fine = curves.of(at).refined(nodes)
            L = fine.operator()
            count[at], left = 0, ~fine.is_stable(L)
            at, L = at[left], L[left]
            bad = ~L.isfinite().flatten(1).all(1)
            values = torch.linalg.eigvals(torch.where(bad[:, None, None], 0.0, L)).real
            count[at] = (values > 0.1).sum(1)
        on = on[count[on] > 0]
    return count


def _said(names: set[str], v: Tensor, change: Tensor, spread: Tensor) -> str:
    """How accurate geodesics are that pass kinks."""
    lost = v.isnan().any(-1)
    text = ", ".join(sorted(names)) + ", and geodesics pass kinks of it"
    if not bool(lost.all()):
        velocity, length = float(change[~lost].max()), float(spread[~lost].max() ** 2)
        text += f": velocities are known to {velocity:.1g}, lengths to {length:.1g} of them, and derivatives are NaN"
    if bool(lost.any()):
        text += f", where it jumps: the speed along the best curve found varies by {float(spread[lost].max()):.1%}"
    return text


class _Found(NamedTuple):
    """Velocities, NaN where none was found, the least miss of y, lengths; which pass kinks, and what to say."""

    v: Tensor
    error: Tensor
    length: Tensor
    kinked: Tensor
    conjugate_points: Tensor
    said: str

    @classmethod
    def none(cls, x: Tensor) -> "_Found":
        """Where no geodesic begins."""
        nan, no = torch.full_like(x, torch.nan), torch.zeros_like(x[:, 0], dtype=torch.long)
        return cls(nan, nan[:, 0] + torch.inf, nan[:, 0], no > 0, no, "")

    def warn(self) -> None:
        """Says which kinks there are, if any."""
        if self.said:
            warn(f"the metric calls {self.said}. A smooth activation (tanh, softplus, silu) has all digits.")


def _goal(y: Tensor, options: dict[str, Any]) -> Tensor:
    """How far from y, in its largest coordinate, a geodesic may end."""
    return 5 * tolerance(options["rtol"], y) * y.abs().amax(-1).clamp(min=1.0)


def _known_lengths(curves: "_Curves", lanes: Tensor, options: dict[str, Any]) -> Tensor:
    """The lengths of geodesics next to relaxed curves, `(b,)`, NaN but where they are surely known to the tolerance.

    Where they are not, a Newton step on finer nodes follows.
    """
    found, at = torch.full_like(curves.x[:, 0], torch.nan), lanes.nonzero()[:, 0]
    goal = 5 * tolerance(options["rtol"], curves.x.to(curves.dtype))
    curves = curves.of(at)
    for more in (True, False):
        length, excess = curves.shortest_length()
        sure = excess <= goal
        found[at[sure]] = length[sure]
        at, curves = at[~sure], curves.of(~sure)
        if not more or len(at) == 0 or curves.x.shape[-1] > FULL_JETS:
            break
        curves = curves.refined(2 * (curves.bend.shape[1] - 1))
        curves = curves.changed(-curves.solve(curves.tension()[0], torch.zeros_like(curves.x[:, 0])))
    return found.to(curves.dtype)


def _polish(curves: "_Curves", x: Tensor, y: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Newton steps with the derivative at relaxed curves: the best first velocity of each, and its miss of y."""
    trial = curves.velocities()[:, 0].to(x.dtype)
    best, size = trial.clone(), torch.full_like(trial[:, 0], torch.inf)
    on = torch.isfinite(trial).all(-1).nonzero()[:, 0]
    while len(on):
        shot = exp_map(curves.metric, x[on], trial[on], throw=False, **options)
        miss = torch.where((shot.status == Status.SUCCESS)[:, None], shot.points[0] - y[on], torch.nan)
        new = miss.abs().amax(-1).nan_to_num(torch.inf)
        better, again = new < size[on], (new < 0.3 * size[on]) & (new > 0.2 * _goal(y[on], options))
        best[on[better]], size[on[better]] = trial[on[better]], new[better]
        on, miss = on[again], miss[again]
        if len(on):
            trial[on] = best[on] - curves.of(on).turned(miss.double()).to(x.dtype)
            on = on[torch.isfinite(trial[on]).all(-1)]
    return best, size


# ------------------------------------------------------------------------------------------------- relaxed curves


class _Curves(NamedTuple):
    r"""Curves from x to y by what they deviate from a straight line at the nodes of Chebyshev, `(b, N + 1, n)`.

    Algebra is in float64, whatever the metric computes in: second derivatives lose $N^4$ roundings.
    """

    metric: Metric
    dtype: torch.dtype
    x: Tensor
    y: Tensor
    bend: Tensor

    def of(self, lanes: Tensor) -> "_Curves":
        return self._replace(x=self.x[lanes], y=self.y[lanes], bend=self.bend[lanes])

    def refined(self, nodes: int) -> "_Curves":
        return self._replace(bend=_interpolation(self.bend.shape[1] - 1, nodes, self.bend) @ self.bend)

    def changed(self, inner: Tensor) -> "_Curves":
        return self._replace(bend=self.bend + _framed(inner))

    @property
    def D(self) -> Tensor:
        """The derivative of values at the nodes."""
        return _differentiation(self.bend.shape[1] - 1, self.bend)

    def velocities(self) -> Tensor:
        return _velocities(self.x, self.y, self.bend)

    def length(self) -> tuple[Tensor, Tensor]:
        """Lengths, and by how much the speed varies along the curve, relative, `(b,)`: 0 for a geodesic.

        A length is off by the square of that, for geodesics are stationary.
        """
        count = 1024
        s = _nodes(count, self.bend)[0]
        bend = _interpolation(self.bend.shape[1] - 1, count, self.bend)
        points = self.x[:, None] + s[:, None] * (self.y - self.x)[:, None] + bend @ self.bend
        velocities = bend @ self.velocities()
        (g,) = jets_of(self.metric, points.to(self.dtype), 0)
        speed = bilinear(g.double(), velocities, velocities).abs().sqrt()
        length, square = (torch.trapezoid(a, s, dim=1) for a in (speed, speed**2))
        return length, (square / length**2 - 1).clamp(min=0).sqrt()

    def shortest_length(self) -> tuple[Tensor, Tensor]:
        r"""The length of a geodesic nearby, and ten times what it may differ by, relative, `(b,)`; where g is positive.

        What the curve deviates from a geodesic, \delta, is seen in its tension between the nodes. Geodesics are
        stationary: the length is off by half of $|\dot\delta|^2 / |\dot\gamma|^2$, and more next to conjugate points.
        """
        fine = self.refined(3 * (self.bend.shape[1] - 1) // 2)
        second = fine.D @ fine.D
        change = fine.D @ _framed(torch.linalg.solve(second[1:-1, 1:-1], fine.tension()[0]))
        points, velocities = _points(fine.x, fine.y, fine.bend), fine.velocities()
        g = jets_of(self.metric, points.to(self.dtype), 0)[0].double()
        weights = _quadrature(fine.bend.shape[1] - 1, points)
        squares, changes = bilinear(g, velocities, velocities), bilinear(g, change, change)
        length, energy = squares.sqrt() @ weights, squares @ weights
        excess = 10 * torch.maximum((changes @ weights) / energy, (energy / length**2 - 1).abs())
        definite = (torch.linalg.cholesky_ex(g)[1] == 0).all(-1)
        return length, torch.where(definite, excess, torch.inf).nan_to_num(torch.inf, torch.inf)

    def _inner(self) -> list[Tensor]:
        """Points and velocities at the inner nodes."""
        points = _points(self.x, self.y, self.bend)
        return [a[:, 1:-1].to(self.dtype) for a in (points, self.velocities())]

    def tension(self) -> tuple[Tensor, Tensor]:
        r"""$\ddot \gamma - a(\gamma, \dot \gamma)$ at the inner nodes, and the length it stands for, `(b,)`."""
        good = self.bend.isfinite().flatten(1).all(1)
        curves = self._replace(bend=torch.where(good[:, None, None], self.bend, 0.0))
        second = self.D @ self.D
        tension = (second @ curves.bend)[:, 1:-1] - geodesic_acceleration(self.metric, *curves._inner()).double()
        size = torch.linalg.solve(second[1:-1, 1:-1], tension).abs().flatten(1).amax(1)
        return tension, torch.where(good, size, torch.inf).nan_to_num(torch.inf)

    def derivatives(self) -> tuple[Tensor, Tensor]:
        """Of the acceleration at the inner nodes, by the point and by the velocity, `(b, N - 1, n, n)` each."""
        x, v = self._inner()
        flat = zip(*(a.flatten(0, 1).split(_AT_ONCE) for a in (x, v)), strict=True)
        parts = zip(*(acceleration_derivatives(self.metric, *points) for points in flat), strict=True)
        A_x, A_v = (torch.cat(part).unflatten(0, x.shape[:2]).double() for part in parts)
        return A_x, A_v

    def change(self, W: Tensor, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Of the tension, by a change of the curve, `(b, N + 1, n)`: a difference quotient in high dimensions."""
        V = self.D @ W
        if W.shape[-1] <= FULL_JETS:
            A_x, A_v = known or self.derivatives()
            turned = (A_x @ W[:, 1:-1, :, None] + A_v @ V[:, 1:-1, :, None]).squeeze(-1)
        else:
            x, v = self._inner()
            h = torch.finfo(self.dtype).eps ** 0.5 / V.abs().flatten(1).amax(1).clamp(min=1e-30)[:, None, None]
            nearby = x + (h * W[:, 1:-1]).to(x), v + (h * V[:, 1:-1]).to(x)
            base, new = geodesic_acceleration(self.metric, torch.stack((x, nearby[0])), torch.stack((v, nearby[1])))
            turned = (new - base).double() / h
        return (self.D @ V)[:, 1:-1] - turned

    def solve(self, r: Tensor, shift: Tensor, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The w at the inner nodes for which the change of the tension, less `shift` w, is r."""
        _, m, n = r.shape
        D, one = self.D, torch.eye(m, dtype=r.dtype, device=r.device)
        second = (D @ D)[1:-1, 1:-1] - shift[:, None, None] * one
        if n > FULL_JETS:
            inverse = torch.linalg.inv_ex(second)[0]
            return _minimal_residual(
                lambda w: inverse @ (self.change(_framed(w)) - shift[:, None, None] * w), inverse @ r
            )
        room = max(1, BUDGET // (32 * (m * n) ** 2))
        pieces = torch.arange(len(r), device=r.device).split(room)
        A_x, A_v = known or self.derivatives()
        return torch.cat([self.of(at)._solve_at_once(r[at], second[at], (A_x[at], A_v[at])) for at in pieces])

    def operator(self, second: Tensor | None = None, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The change of the tension as a matrix on values at the inner nodes, `(b, m n, m n)`."""
        b, m, n = len(self.bend), self.bend.shape[1] - 2, self.bend.shape[2]
        if second is None:
            second = (self.D @ self.D)[1:-1, 1:-1].expand(b, m, m)
        A_x, A_v = known or self.derivatives()
        L = -A_v[:, :, :, None, :] * self.D[1:-1, None, 1:-1, None]
        L.diagonal(dim1=2, dim2=4).add_(second.unsqueeze(-1))
        L.diagonal(dim1=1, dim2=3).sub_(A_x.permute(0, 2, 3, 1))
        return L.reshape(-1, m * n, m * n)

    def is_stable(self, L: Tensor) -> Tensor:
        r"""Whether no eigenvalue of the operator has a positive real part: g L has a negative definite even part."""
        (g,) = jets_of(self.metric, self._inner()[0], 0)
        m, n = g.shape[1], g.shape[-1]
        weights = _quadrature(m + 1, L)[1:-1, None, None] * g.double()
        form = torch.einsum("bikl,biljm->bikjm", weights, L.unflatten(1, (m, n)).unflatten(3, (m, n))).reshape(L.shape)
        form = -form - form.mT
        return (torch.linalg.cholesky_ex(form)[1] == 0) & form.isfinite().flatten(1).all(1)

    def _solve_at_once(self, r: Tensor, second: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
        return torch.linalg.solve_ex(self.operator(second, known), r.flatten(1))[0].unflatten(1, r.shape[1:])

    def turned(self, end: Tensor, which: int = -1, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Change of the first velocity of a geodesic that moves its last node, or `which`, by `end`, `(b, n)`."""
        W = torch.zeros_like(self.bend)
        W[:, which] = end
        if known is None and W.shape[-1] <= FULL_JETS:
            known = self.derivatives()
        W[:, 1:-1] = self.solve(-self.change(W, known), torch.zeros_like(end[:, 0]), known)
        return self.D[0] @ W


def _straight(metric: Metric, x: Tensor, y: Tensor) -> _Curves:
    return _Curves(metric, x.dtype, x.double(), y.double(), x.new_zeros(len(x), 2, x.shape[1], dtype=torch.float64))


def _framed(inner: Tensor) -> Tensor:
    """Values at the inner nodes and zeros at the ends."""
    return torch.nn.functional.pad(inner, (0, 0, 1, 1))


def _relaxed(
    curves: _Curves, first: float, leeway: float, max_iterations: int, options: dict[str, Any]
) -> tuple[_Curves, Tensor, Tensor]:
    r"""Curves of vanishing tension with the same ends, by Newton's method, on finer and finer nodes.

    Also how far they are from that, and what the last refinement changed of the first velocity.

    With `shift` a step is one of the heat flow $\partial_t \gamma = \ddot \gamma - a$, implicit and 1 / `shift` long,
    which leads to a stable geodesic from afar; without it is Newton's.
    """
    goal = 0.2 * _goal(curves.y.to(curves.dtype), options).double()
    size, change = torch.full_like(goal, torch.inf), torch.zeros_like(goal)
    given, left = curves.bend.shape[1] - 1, torch.arange(len(goal), device=goal.device)
    shift = torch.full_like(goal, first)
    for nodes in [count for count in _grids(curves.x.shape[-1]) if count >= given]:
        before = curves.velocities()[:, 0]
        curves = curves.refined(nodes)
        tension, size[left] = curves.of(left).tension()
        open = size[left] > goal[left]
        change[left[~open]] = 0.0  # what finer nodes find, too, is found
        left, tension = left[open], tension[open]
        if len(left) == 0:
            break
        shift, on = shift[open], size[left].isfinite().nonzero()[:, 0]
        known: tuple[Tensor, Tensor] | None = None  # derivatives nearby, while a step with them gains much
        for _ in range(max_iterations if len(on) else 0):
            lanes = left[on]
            here = curves.of(lanes)
            if known is None and curves.x.shape[-1] <= FULL_JETS:
                known = here.derivatives()
            trial = here.changed(-here.solve(tension[on], shift[on], known))
            rest, new = trial.tension()
            better = new < leeway * size[lanes]
            gain, ratio = lanes[better], new / size[lanes]
            curves.bend[gain], size[gain], tension[on[better]] = trial.bend[better], new[better], rest[better]
            shift[on] = torch.where(better, shift[on] * ratio.clamp(0.1, 10), (10 * shift[on]).clamp(min=10.0))
            more = (size[lanes] > goal[lanes]) & (shift[on] < _LARGEST)
            if not bool(more.any()):
                break
            on, ratio = on[more], ratio[more]
            known = None if known is None or bool((ratio > _GAIN).any()) else (known[0][more], known[1][more])
        change[left] = (curves.velocities()[:, 0] - before)[left].abs().amax(-1)
    return curves, size, change


def _minimal_residual(operator: Callable[[Tensor], Tensor], r: Tensor) -> Tensor:
    """GMRES for each point of a batch: `operator(w) = r`, `(b, m, n)`, in a fixed number of steps."""
    shape, flat = r.shape, r.flatten(1)
    norm = flat.norm(dim=1)
    basis = [flat / norm.clamp(min=1e-300)[:, None]]
    images = []
    for _ in range(_KRYLOV):
        w = operator(basis[-1].reshape(shape)).flatten(1)
        images.append(w)
        B = torch.stack(basis, 1)
        coefficients = torch.linalg.lstsq(torch.stack(images, 2), flat.unsqueeze(-1)).solution
        rest = flat - (torch.stack(images, 2) @ coefficients).squeeze(-1)
        if bool((rest.norm(dim=1) <= 1e-3 * norm).all()):
            break
        for _ in range(2):
            w = w - matvec(B.mT, matvec(B, w))
        basis.append(w / w.norm(dim=1).clamp(min=1e-300)[:, None])
    solution = (torch.stack(basis[: len(images)], 2) @ coefficients).squeeze(-1)
    return solution.reshape(shape)


def _grids(n: int) -> tuple[int, ...]:
    """Numbers of intervals between nodes, coarse to fine."""
    return (16, 32, 64, 128) if n <= 4 else (8, 16, 32)


def _nodes(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes of Chebyshev on [0, 1], and the barycentric weights."""
    k = torch.arange(count + 1, dtype=like.dtype, device=like.device)
    weights = (1 - 2 * (k % 2)) * torch.where((k == 0) | (k == count), 0.5, 1.0)
    return torch.sin(torch.pi / 2 * k / count) ** 2, weights


def _quadrature(count: int, like: Tensor) -> Tensor:
    """Weights of Clenshaw and Curtis on [0, 1], `(count + 1,)`."""
    k = torch.arange(count + 1, dtype=like.dtype, device=like.device)
    even = k[: count + 1 : 2]
    moments = 1 / (1 - even**2)
    moments = torch.where((even == 0) | (even == count), 0.5 * moments, moments)
    weights = 2 / count * torch.cos(torch.pi * k[:, None] * even / count) @ moments
    return torch.where((k == 0) | (k == count), 0.5 * weights, weights)


def _differentiation(count: int, like: Tensor) -> Tensor:
    """Values at the nodes to those of the derivative."""
    return _derivative(count, like.dtype, like.device)


@functools.lru_cache(16)
def _derivative(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        one = torch.eye(count + 1, dtype=dtype, device=device)
        s, w = _nodes(count, one)
        D = (w / w[:, None]) / (s[:, None] - s + one) * (1 - one)
        return D - torch.diag(D.sum(1))


def _interpolation(count: int, finer: int, like: Tensor) -> Tensor:
    """Values at the nodes to values at other nodes."""
    (s, w), (t, _) = _nodes(count, like), _nodes(finer, like)
    gap = t[:, None] - s
    same = gap.abs() < 1e-14
    P = torch.where(same.any(1, keepdim=True), same.to(like), w / torch.where(same, 1.0, gap))
    return P / P.sum(1, keepdim=True)


@overload
def distance(
    metric: Metric, x: Tensor, y: Tensor, *, throw: Literal[True] = ..., **options: Unpack[SearchOptions]
) -> Tensor: ...


@overload
def distance(
    metric: Metric, x: Tensor, y: Tensor, *, throw: Literal[False], **options: Unpack[SearchOptions]
) -> Logarithm: ...


@door
def distance(
    metric: Metric, x: Float[Tensor, "*#batch n"], y: Float[Tensor, "*#batch n"], *, throw: bool = True, **options: Any
) -> Any:
    r"""Length of the geodesic that `log_map` finds, $\sqrt{|g_x(v, v)|}$ with $v = \log_x y$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        y: points, broadcast against `x`.
        throw: whether to raise where a point of the batch fails; otherwise the `Logarithm` is returned.
        **options: as for `log_map`.

    Returns:
        `(*batch,)`; the `Logarithm` if `throw` is false.

    Raises:
        TypeError, ValueError, RuntimeError: as `log_map`.

    Note:
        The Riemannian distance within the injectivity radius. Beyond it a shorter geodesic may exist: it is warned of
        where this one has passed a conjugate point, and looked for with `restarts`. Proper time or proper length, if g
        is Lorentzian. At x = y, where it has no derivative, and between points on one light ray, the derivative given
        is 0.

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> x, y = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
        >>> distance(half_plane, x, y).exp().round(decimals=6)
        tensor(2., dtype=torch.float64)
    """
    for name in options.keys() - SearchOptions.__annotations__.keys():
        raise TypeError(f"distance() got an unexpected keyword argument {name!r}")
    result = _logarithm(metric, x, y, throw=False, for_length=throw, **options)
    if not throw:
        return result
    x, y = alike(x, y=y)
    v = result.checked(fault_at(metric, x, ~result.error.isfinite()))
    (g,) = jets_of(metric, x, 0)
    squared = bilinear(g, v, v).abs()
    positive = squared > 0
    distance = torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
    return distance * torch.where(positive, result.length / distance.detach(), 1.0)
