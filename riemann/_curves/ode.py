r"""Initial value problems in batches: each point of the batch has its own step size, its own status and its own end.

The pair of Dormand and Prince of order 8, with error estimates of orders 5 and 3 and dense output of order 7 (Hairer,
Nørsett, Wanner, *Solving Ordinary Differential Equations I*, 2nd ed., section II.5, the code DOP853). Steps are found
without a gradient. Where one is asked for, the accepted steps are taken once more with it, so that derivatives are
those of the numbers returned, to any order.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from riemann._curves import dop853 as pair
from riemann._curves.outputs import Flow, Outputs, Step, Tried, states
from riemann._curves.recorded import Recorded
from riemann._points.checks import carry_derivatives, surely_finite

Inside = Callable[[Tensor], Tensor]  # states (b, d) -> (b,), bool
Report = Callable[[int], object]


class Status(enum.IntEnum):
    r"""What became of one point of a batch.

    Attributes:
        SUCCESS: all parameters asked for were reached.
        MAX_STEPS: more steps were needed than allowed.
        SINGULAR: the step size fell below rounding: a singularity of the coordinates or of the metric, a horizon.
        NOT_FINITE: the right-hand side has no finite value at the start, or just beyond the last point.
        LEFT_CHART: the next step ends outside the chart.
        DRIFT: $g(\dot x, \dot x)$ is not conserved: a singularity was stepped over, or the accelerations are wrong.
        NOT_CONVERGED: no geodesic to the point was found.
    """

    SUCCESS = 0
    MAX_STEPS = 1
    SINGULAR = 2
    NOT_FINITE = 3
    LEFT_CHART = 4
    DRIFT = 5
    NOT_CONVERGED = 6


class Solution(NamedTuple):
    """States at the parameters asked for, NaN where they were not reached; what became of each point.

    Attributes:
        states: `(t, b, d)`.
        status: `(b,)`, values of `Status`.
        reached: `(b,)`, the parameter at which a point stopped.
        steps: `(b,)`, steps tried.
    """

    states: Tensor
    status: Tensor
    reached: Tensor
    steps: Tensor


def solve(
    flow: Flow,
    y: Tensor,
    t: Tensor,
    *,
    rtol: float,
    atol: float,
    max_steps: int,
    inside: Inside | None = None,
    report: Report = lambda done: None,
    record: bool = False,
) -> Solution:
    """States at parameters `t`, `(t,)`, of the curves that have states `y`, `(b, d)`, at parameter 0.

    `report` is told how many curves are done, in one direction and then in the other. With `record` the flow is always
    the same operations, and is found out once.
    """
    forward, backward = t >= 0, t < 0
    options = (rtol, atol, max_steps, inside, report, record)
    if not bool(backward.any()):
        return _one_way(flow, y, t, *options)
    past = _one_way(lambda s, y: -flow(-s, y), y, -t[backward], *options)
    if not bool(forward.any()):
        return past._replace(reached=-past.reached)
    future = _one_way(flow, y, t[forward], *options)
    rows = torch.cat((forward.nonzero()[:, 0], backward.nonzero()[:, 0]))
    stopped = future.status != Status.SUCCESS
    return Solution(
        torch.cat((future.states, past.states))[rows.argsort()],
        torch.where(stopped, future.status, past.status),
        torch.where(stopped | (past.status == Status.SUCCESS), future.reached, -past.reached),
        future.steps + past.steps,
    )


def _tried(flow: Flow) -> Flow:
    """The flow, NaN for states that are not finite: steps that are only tried lead there."""

    def at(t: Tensor, y: Tensor) -> Tensor:
        if surely_finite(y):
            return flow(t, y)
        some = torch.isfinite(y).all(-1).nonzero()[:, 0]
        return torch.full_like(y, torch.nan).index_put((some,), flow(t[some], y[some]))

    return at


def _one_way(
    flow: Flow,
    y: Tensor,
    t: Tensor,
    rtol: float,
    atol: float,
    max_steps: int,
    inside: Inside | None,
    report: Report,
    record: bool,
) -> Solution:
    times, back = torch.unique(t, return_inverse=True)  # sorted
    tried, flow = _tried(Recorded(flow) if record else flow), _tried(flow)
    slope = flow(torch.zeros_like(y[:, 0]), y)
    traced = carry_derivatives(y, slope)
    with torch.no_grad():
        steps, status, reached, count, values = _advance(
            tried, y.detach(), slope.detach(), times.detach(), rtol, atol, max_steps, inside, report, not traced
        )
    if traced:
        values = _replay(flow, y, slope, steps, times)
    return Solution(_assembled(steps, values, y, times)[back], status, reached, count)


def _assembled(steps: list[Step], values: list[Tensor], y: Tensor, times: Tensor) -> Tensor:
    """The values that the steps give, put at their rows and points: `(t, b, d)`."""
    out = y.new_full((len(times), *y.shape), torch.nan)
    if len(times) and times[0] == 0:
        out = torch.cat((y.unsqueeze(0), out[1:]))
    if not values:
        return out
    rows = torch.cat([rows for step in steps for rows in (step.inner[1], step.ends[1])])
    lanes = torch.cat([step.lanes[at] for step in steps for at in (step.inner[0], step.ends[0])])
    return out.index_put((rows, lanes), torch.cat(values))


def _advance(
    flow: Flow,
    y: Tensor,
    slope: Tensor,
    times: Tensor,
    rtol: float,
    atol: float,
    max_steps: int,
    inside: Inside | None,
    report: Report,
    together: bool,
) -> tuple[list[Step], Tensor, Tensor, Tensor, list[Tensor]]:
    """Finds the steps: those accepted, status, parameter reached and steps tried of each point, values of output.

    Those of several steps are made `together`, or else of each step by itself, as it is taken again with a gradient.
    """
    end = times[-1]
    bit = torch.finfo(y.dtype).eps
    status = torch.full_like(y[:, 0], Status.SUCCESS, dtype=torch.long)
    reached, tried = torch.zeros_like(y[:, 0]), torch.zeros_like(status)
    good = torch.isfinite(slope).all(-1) & torch.isfinite(y).all(-1)
    status[~good] = Status.NOT_FINITE
    if inside is not None:
        status[~inside(y) & good] = Status.LEFT_CHART
    lanes = ((status == Status.SUCCESS) & (end > 0)).nonzero()[:, 0]
    y, slope = _at(y, lanes), _at(slope, lanes)
    t = torch.zeros_like(y[:, 0])
    h = _first_step(flow, y, slope, end, rtol, atol)
    error_before, grow = torch.full_like(t, 1e-4), torch.full_like(t, _LARGEST)
    k = pair.Slopes(pair.table(y), slope)
    outputs = Outputs(flow, times, k, together)

    while len(lanes):
        last = t + h * (1 + 1e-6) >= end
        h = torch.where(last, end - t, h)
        t_new = torch.where(last, end, t + h)
        k.restart(slope)
        y_new = _step(flow, t, h, y, k)
        slope_new = flow(t_new, y_new)
        k.append(slope_new)
        error = _error(k, h, y, y_new, rtol, atol)
        finite = torch.isfinite(error)
        if not (surely_finite(slope_new) and surely_finite(y_new)):
            finite &= torch.isfinite(slope_new).all(-1) & torch.isfinite(y_new).all(-1)
        accepted = finite & (error <= 1)
        left = torch.zeros_like(accepted)
        if inside is not None:
            left = accepted & ~_stays(inside, h, y, k, y_new)
            accepted &= ~left
        tried[lanes] += 1

        if bool(accepted.any()):
            outputs.add(Tried(lanes, accepted, t, t_new, h, y, y_new), k)

        done = accepted & last
        error = torch.where(finite, error, torch.inf).clamp_(min=1e-20)
        factor = _SAFETY * error**-_EXPONENT
        factor = torch.where(accepted, torch.minimum(factor * error_before**_BETA, grow), factor)
        h = h * factor.clamp_(_SMALLEST, _LARGEST)
        t = torch.where(accepted, t_new, t)
        y = torch.where(accepted[:, None], y_new, y)
        slope = torch.where(accepted[:, None], slope_new, slope)
        error_before = torch.where(accepted, error.clamp_(min=1e-4), error_before)
        grow = torch.where(accepted, _LARGEST, 1.0)

        stuck = (h <= _NOISE * bit * t) | (h <= 8 * bit * end)  # accepted or not: at a singularity steps creep
        tired = tried[lanes] >= max_steps
        over = done | stuck | tired | left
        if bool(over.any()):
            fate = torch.where(finite, Status.SINGULAR, Status.NOT_FINITE)
            fate = torch.where(tired, Status.MAX_STEPS, fate)
            fate = torch.where(left, Status.LEFT_CHART, fate)
            fate = torch.where(done, Status.SUCCESS, fate)
            status[lanes[over]], reached[lanes[over]] = fate[over], t[over]
            on = (~over).nonzero()[:, 0]
            lanes, t, h, y, slope = lanes[on], t[on], h[on], _at(y, on), _at(slope, on)
            error_before, grow, k = error_before[on], grow[on], k.of(on)
            report(len(status) - len(lanes))
    outputs.finish()
    return outputs.steps, status, reached, tried, outputs.values


def _at(y: Tensor, lanes: Tensor) -> Tensor:
    """Some states `(b, d)`, each component of all points side by side."""
    return y.mT.index_select(1, lanes).mT


def _replay(flow: Flow, y: Tensor, slope: Tensor, steps: list[Step], times: Tensor) -> list[Tensor]:
    """The states of output once more, by the same steps, with a gradient."""
    values = []
    for step in steps:
        whole = len(step.lanes) == len(y)  # indices are in order
        y_old, k_old = (y, slope) if whole else (y[step.lanes], slope[step.lanes])
        k = pair.Terms([k_old])
        y_new = _step(flow, step.start, step.size, y_old, k)
        k.append(flow(step.start + step.size, y_new))
        position, _, fraction = step.inner
        values += states(flow, position, fraction, step.ends[0], step.start, step.size, y_old, k, y_new)
        y = y_new if whole else y.index_put((step.lanes,), y_new)
        slope = k[12] if whole else slope.index_put((step.lanes,), k[12])
    return values


# --------------------------------------------------------------------------------------------------- one step


def _step(flow: Flow, t: Tensor, h: Tensor, y: Tensor, k: pair.Slopes | pair.Terms) -> Tensor:
    """The state after one step; to the slope at its start are appended the eleven inside."""
    size = h[:, None]
    times = t + h.new_tensor(pair.NODES)[:, None] * h
    for row, at in enumerate(times.unbind(0)):
        k.append(flow(at, torch.addcmul(y, size, k.combined(row))))
    return torch.addcmul(y, size, k.combined(pair.WEIGHTS))


def _error(k: pair.Slopes, h: Tensor, y: Tensor, y_new: Tensor, rtol: float, atol: float) -> Tensor:
    """Estimate of the error of a step in units of the tolerance, `(b,)`."""
    scale = torch.maximum(y.abs(), y_new.abs()).mul_(rtol).add_(atol)
    errors = (k.combined(pair.ERRORS) / scale).square_()
    fifth, third = (errors @ errors.new_full((errors.shape[-1],), 1 / errors.shape[-1])).unbind(0)
    return h.abs() * fifth / (fifth + 0.01 * third).clamp(min=1e-300 if y.dtype == torch.float64 else 1e-37).sqrt()


def _stays(inside: Inside, h: Tensor, y: Tensor, k: pair.Slopes, y_new: Tensor) -> Tensor:
    """Whether a step stays inside, looked at in eighths of it on the cubic through its ends."""
    s = torch.arange(1, 9, dtype=y.dtype, device=y.device)[:, None, None] / 8
    change, start, end = y_new - y, h[:, None] * k[0], h[:, None] * k[12]
    states = y + s * (change + (1 - s) * (start - change + s * (2 * change - start - end)))
    return inside(states.flatten(0, 1)).unflatten(0, (8, -1)).all(0)


def _first_step(flow: Flow, y: Tensor, slope: Tensor, end: Tensor, rtol: float, atol: float) -> Tensor:
    """A step that one explicit Euler step finds harmless (Hairer, Nørsett, Wanner, section II.4)."""

    def norm(a: Tensor) -> Tensor:
        return (a / scale).square().mean(-1).sqrt()

    scale = atol + rtol * y.abs()
    size, speed = norm(y), norm(slope)
    h = torch.where((size < 1e-5) | (speed < 1e-5), 1e-6, 0.01 * size / speed).clamp(max=float(end))
    bend = norm(flow(h, y + h[:, None] * slope) - slope) / h
    most = torch.maximum(speed, bend)
    second = torch.where(most <= 1e-15, (h * 1e-3).clamp(min=1e-6), (0.01 / most) ** _EXPONENT)
    h = torch.minimum(100 * h, torch.where(second.isfinite(), second, h)).clamp(max=float(end))
    return torch.where(h > 0, h, end)


_SAFETY, _SMALLEST, _LARGEST = 0.9, 0.2, 6.0
_NOISE = 500  # roundings of the parameter, below which a step says nothing
_BETA = 0.04  # of the controller that remembers the error of the step before
_EXPONENT = 1 / 8 - 0.2 * _BETA
