r"""Geodesics, $\ddot x^k + \Gamma^k_{ij} \dot x^i \dot x^j = 0$, and the exponential map."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, Unpack, overload, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets, formulas
from riemann._curvature import christoffel_vector
from riemann._curvature.directional import connection_vector
from riemann._curvature.tensors import FULL_JETS
from riemann._curvature.variation import Accelerations, accelerations
from riemann._curves.ode import Report, Solution, Status, solve
from riemann._indices import bilinear
from riemann._metric import checked_jet, jets_of, metric_field, metric_jet
from riemann._open import open_function
from riemann._points.checks import alike, check_count, check_dense, check_unmapped, door, is_number, to_tensor
from riemann._points.chunks import reported
from riemann._points.faults import SLICE, Note, collected, first
from riemann._precision import full_precision
from riemann._types import Field, GeodesicOptions, Metric, Progress

Acceleration = Callable[[Tensor, Tensor], Tensor]


@runtime_checkable
class InLoops(Protocol):
    """An acceleration that does with less around it in a loop, which has looked at points and velocities itself."""

    def in_loops(self) -> Acceleration:
        """The acceleration at points and velocities `(points, n)`, for one loop."""


# -------------------------------------------------------------------------------------------------- accelerations


@open_function(rank=None)
def geodesic_acceleration(
    metric: Metric, x: Float[Tensor, "*#batch n"], v: Float[Tensor, "*#batch n"]
) -> Float[Tensor, "... n"]:
    r"""Acceleration of a geodesic in coordinates, $\ddot x^k = -\Gamma^k_{ij} v^i v^j$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        v: velocities, broadcast against `x`.

    Returns:
        `(*batch, n)`; not finite where the metric is singular, without a warning: solvers try such points.

    Raises:
        TypeError, ValueError: as `at`.

    Note:
        No array of n³ in more than 16 dimensions, nor on structured metrics: one derivative along v and one gradient.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> geodesic_acceleration(half_plane, torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]))
        tensor([ 0.0000, -0.5000])
    """
    x, v = alike(x, v=v)
    if christoffel_vector.route(metric) != "generic":
        with collected({}, x.shape[:-1], 0, x.shape[:-1].numel()):  # points that are no good are not warned of
            return -christoffel_vector(metric, x, v, v, chunk_size=None)
    if x.shape[-1] <= FULL_JETS:
        return formulas.geodesic_acceleration(*jets_of(metric, x, 1), v)

    (g,) = jets_of(metric, x, 0)
    return -connection_vector(metric_field(metric, x), x, formulas.inverse_metric(g), v, v)


# ------------------------------------------------------------------------------------------------------- geodesics


class Geodesic(NamedTuple):
    r"""Geodesics of a batch at parameters; NaN at parameters that were not reached.

    Attributes:
        t: parameters, `(t,)`.
        points: $\gamma(t)$, `(t, *batch, n)`.
        velocities: $\dot \gamma(t)$, `(t, *batch, n)`.
        status: what became of each point, `(*batch,)`, values of `riemann.Status`; 0 is success.
        reached: the parameter where each point stopped, `(*batch,)`.
        drift: change of $g(\dot \gamma, \dot \gamma)$ up to the last parameter reached of `t`, over the sum of
            $|g_{ij} \dot \gamma^i \dot \gamma^j|$, `(*batch,)`; a measure of the error.
        start: $\gamma(0)$ and $\dot \gamma(0)$.
    """

    t: Tensor
    points: Tensor
    velocities: Tensor
    status: Tensor
    reached: Tensor
    drift: Tensor
    start: tuple[Tensor, Tensor]

    @property
    def message(self) -> str:
        """What happened, in a sentence, with the first point where something did."""
        return message("geodesic", self.status, self.reached)


@door
def geodesic(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    t: Float[Tensor, "t"] | float | Sequence[float],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    chart: Field | None = None,
    acceleration: Acceleration | None = None,
    throw: bool = True,
    progress: Progress = False,
) -> Geodesic:
    r"""Geodesics, $\ddot x^k + \Gamma^k_{ij} \dot x^i \dot x^j = 0$ with $\gamma(0) = x$ and $\dot \gamma(0) = v$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        v: velocities at parameter 0, broadcast against `x`.
        t: parameters of output, `(t,)`, of either sign and in any order; the curve starts at 0 wherever they are. A
            number, or a list of numbers, is taken too, as one or more of them.
        rtol: relative tolerance of a step in each coordinate; 1e-10 by default, 1e-5 in float32.
        atol: absolute tolerance of a step; that of `rtol` by default.
        max_steps: steps that a point may try.
        chart: where the coordinates are valid, one point `(n,)` to a bool: a point that steps outside stops there. It
            is looked at eight times a step; a step may leap over what is thinner.
        acceleration: $(x, v) \mapsto -\Gamma(v, v)$ for `(points, n)` each, instead of `geodesic_acceleration(metric,
            x, v)`: compiled or written by hand. `drift` judges it.
        throw: whether to raise where a point of the batch fails; otherwise its status says so.
        progress: shows a bar (tqdm), or calls a function of the geodesics done and of all.

    Returns:
        `.points` and `.velocities`, `(t, *batch, n)`, `.status` and `.reached`, `(*batch,)`.

    Raises:
        TypeError, ValueError: as `at`; `t` is no such tensor.
        RuntimeError: a geodesic did not reach all parameters (with `throw`), or one is asked for under `vmap`.

    Note:
        Each point has its own step size (order 8, dense output), so that none disturbs the others. Derivatives to x,
        v and the parameters of the metric are those of the steps taken, of every order, by `backward` or `torch.func`;
        memory grows with the steps. Of pull-backs and `Fisher` metrics in many dimensions, where no derivatives are
        wanted (`torch.no_grad()`), conjugate gradients take the place of g. `vmap` cannot map a solver that looks at
        values: give it the batch.

    Reference:
        do Carmo, *Riemannian Geometry* (1992), chapter 3, section 2.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> up = geodesic(half_plane, torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
        >>> up.points[:, 1].log()
        tensor([1.0000, 2.0000])
    """
    x, v = alike(x, v=v)
    t = checked_times(t, x)
    own = accelerations(metric, x)
    speed, _ = _squared_speed(metric, own, x.detach(), v.detach(), 1)
    n = x.shape[-1]
    accelerate = acceleration or own or (lambda x, v: geodesic_acceleration(metric, x, v))
    accelerate = accelerate.in_loops() if isinstance(accelerate, InLoops) else accelerate

    def flow(_: Tensor, y: Tensor) -> Tensor:
        x, v = y.narrow(-1, 0, n), y.narrow(-1, n, n)
        return torch.cat((v.mT, accelerate(x, v).mT)).mT  # coordinates of all points side by side

    y = torch.cat((x, v), -1).reshape(-1, 2 * n)
    with reported(progress, len(y)) as report:
        solution = integrated(flow, y, t, rtol, atol, max_steps, chart, n, report, acceleration is None and own is None)
    states = solution.states.reshape(len(t), *x.shape[:-1], 2 * n)
    status, reached = (a.reshape(x.shape[:-1]) for a in (solution.status, solution.reached))
    points, velocities = states.split(n, -1)
    drift = _drift(metric, own, speed, points.detach(), velocities.detach())
    lost = (drift > tolerance(rtol, x) ** 0.5) & (status == Status.SUCCESS)
    status = torch.where(lost, Status.DRIFT, status)
    result = Geodesic(t, points, velocities, status, reached, drift, (x, v))
    if throw:
        raise_unless(status, result.message + fault_at(metric, x, (status == Status.NOT_FINITE) & (reached == 0)))
    return result


@overload
def exp_map(
    metric: Metric, x: Tensor, v: Tensor, *, throw: Literal[True] = ..., **options: Unpack[GeodesicOptions]
) -> Tensor: ...


@overload
def exp_map(
    metric: Metric, x: Tensor, v: Tensor, *, throw: Literal[False], **options: Unpack[GeodesicOptions]
) -> Geodesic: ...


@door
def exp_map(
    metric: Metric, x: Float[Tensor, "*#batch n"], v: Float[Tensor, "*#batch n"], *, throw: bool = True, **options: Any
) -> Any:
    r"""Exponential map, $\exp_x(v) = \gamma(1)$ of the geodesic with $\gamma(0) = x$, $\dot \gamma(0) = v$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        v: tangent vectors, broadcast against `x`.
        throw: whether to raise where a point of the batch fails; otherwise the `Geodesic` is returned.
        **options: as for `geodesic`.

    Returns:
        `(*batch, n)`; the `Geodesic` with `t = [1]` if `throw` is false.

    Raises:
        TypeError, ValueError, RuntimeError: as `geodesic`.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> exp_map(half_plane, torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
        tensor([0.0000, 2.7183])
    """
    result = geodesic(metric, x, v, x.new_ones(1), throw=throw, **options)
    return result.points[0] if throw else result


# ------------------------------------------------------------------------------------------- what all curves share


def integrated(
    flow: Callable[[Tensor, Tensor], Tensor],
    y: Tensor,
    t: Tensor,
    rtol: float | None,
    atol: float | None,
    max_steps: int,
    chart: Field | None,
    n: int,
    report: Report = lambda done: None,
    record: bool = True,
) -> Solution:
    """`solve` with tolerances by dtype, for states that begin with a point of `n` coordinates.

    Flows that call nothing but metrics may be recorded.
    """
    check_count("max_steps", max_steps, 1)
    rtol = tolerance(rtol, y)
    atol = rtol if atol is None else atol
    if not (rtol > 0 and atol >= 0):
        raise ValueError(f"`rtol` is {rtol} and `atol` is {atol}, expected positive numbers")

    def inside(y: Tensor) -> Tensor:
        return _jets.jet(lambda p: torch.as_tensor(chart(p)).to(p.dtype), y[:, :n], 0)[0] > 0  # type: ignore[misc]

    with full_precision(y.device.type), _quiet():
        within = inside if chart is not None else None
        return solve(flow, y, t, rtol=rtol, atol=atol, max_steps=max_steps, inside=within, report=report, record=record)


def tolerance(rtol: float | None, x: Tensor) -> float:
    """The relative tolerance given, or that of the dtype."""
    return (1e-10 if x.dtype == torch.float64 else 1e-5) if rtol is None else rtol


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of points that are only tried."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`metric` ")
        yield


def checked_times(t: Any, x: Tensor, like: str = "x") -> Tensor:
    """`t` as a tensor of parameters: numbers are taken; raises unless it is like `x`, and values can be looked at.

    The name of `x` for who calls is `like`.
    """
    if is_number(t):
        t = x.new_tensor([float(t)])
    elif isinstance(t, list | tuple | range) and t and all(map(is_number, t)):
        t = x.new_tensor([float(number) for number in t])
    if not isinstance(t, Tensor) or t.ndim != 1 or len(t) == 0:
        got = f"has shape {tuple(t.shape)}" if isinstance(t, Tensor) else f"is a {type(t).__name__}"
        line = "t.reshape(-1)" if isinstance(t, Tensor) and t.numel() else "torch.tensor([1.0])"
        line = to_tensor("t", t) if type(t).__module__ == "numpy" else line
        raise ValueError(f"`t` {got}, expected a tensor (t,) of one parameter or more; use `{line}`")
    check_dense("t", t)
    if t.dtype != x.dtype or t.device != x.device:
        raise ValueError(f"`t` is {t.dtype} on {t.device}, but points are {x.dtype} on {x.device}; use `t.to({like})`")
    if t.requires_grad:
        raise ValueError("`t` requires a gradient, and derivatives to it are not recorded: they are the velocities")
    check_unmapped(x, t)
    if not bool(torch.isfinite(t).all()):
        raise ValueError(f"`t` is not finite: {t.tolist()}")
    return t


def _squared_speed(
    metric: Metric, own: Accelerations | None, x: Tensor, v: Tensor, order: int = 0
) -> tuple[Tensor, Tensor]:
    r"""$g(v, v)$, `(*batch,)`, and the size of its terms; the metric is looked at, and warned of where it is none."""
    if own is not None:
        return own.squared_speed(x, v)
    g = metric_jet(metric, x, order)[0].detach()
    return bilinear(g, v, v), bilinear(g.abs(), v.abs(), v.abs())


def _drift(metric: Metric, own: Accelerations | None, speed: Tensor, points: Tensor, velocities: Tensor) -> Tensor:
    """Change of the squared speed at the last finite output of each point, over the size of its terms."""
    good = torch.isfinite(points).all(-1) & torch.isfinite(velocities).all(-1)
    last = (good * torch.arange(1, len(good) + 1, device=good.device).reshape(-1, *[1] * (good.ndim - 1))).argmax(0)
    index = last[None, ..., None].expand(1, *points.shape[1:])
    p, v = points.gather(0, index)[0], velocities.gather(0, index)[0]
    some = good.any(0)
    if not bool(some.any()):
        return torch.full_like(speed, torch.nan)
    p = torch.where(some[..., None], p, p[first(some)])
    with _quiet():
        now, size = _squared_speed(metric, own, p, v)
    drift = (now - speed).abs() / torch.where(size > 0, size, 1.0)
    return torch.where(some, drift, torch.nan)


_SAYS = {
    Status.MAX_STEPS: "needs more steps than `max_steps` beyond t = {t:.6g}; raise it, or loosen `rtol`",
    Status.SINGULAR: "stops at t = {t:.10g}, where steps fall below rounding: a singularity of the coordinates or of "
    "the metric, or a horizon; choose other coordinates there",
    Status.NOT_FINITE: "stops at t = {t:.10g}: its acceleration is not finite there or just beyond",
    Status.LEFT_CHART: "leaves the chart just beyond t = {t:.10g}",
    Status.DRIFT: "reaches t = {t:.6g}, but g(v, v) is not conserved on the way: it stepped over a singularity, or "
    "`acceleration` is not that of the metric",
    Status.NOT_CONVERGED: "was not found",
}


def message(what: str, status: Tensor, reached: Tensor) -> str:
    """What happened to a batch of curves, and where first."""
    bad = status != Status.SUCCESS
    if not bool(bad.any()):
        return f"every {what} reached its end" if status.numel() != 1 else f"the {what} reached its end"
    where = first(bad) if bad.ndim else ()
    place = f" at {list(where)} of the batch" if where else ""
    others = f" ({int(bad.sum()) - 1} more failed)" if int(bad.sum()) > 1 else ""
    return f"the {what}{place} {_SAYS[Status(int(status[where]))].format(t=float(reached[where]))}{others}"


def fault_at(metric: Metric, x: Tensor, stuck: Tensor) -> str:
    """What is wrong with the metric at the first point where a curve does not even begin, for the end of a message."""
    if not bool(stuck.any()):
        return ""
    faults = checked_jet(metric, x[first(stuck) if stuck.ndim else ()].detach(), 0)[1]
    found = [name for name, mask in faults.items() if bool(mask) and not isinstance(name, Note)]
    if not found:
        return ""
    use = f"; if it is so everywhere, use a slice: {SLICE}" if found[0].startswith("is singular") else ""
    return f": `metric` {found[0]} there{use}"


def raise_unless(status: Tensor, text: str) -> None:
    """Raises where a point of the batch has not succeeded."""
    if bool((status != Status.SUCCESS).any()):
        raise RuntimeError(f"{text}. `throw=False` returns what was reached, with a status for each point")
