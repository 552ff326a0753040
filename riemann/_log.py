r"""The logarithm, the v with $\exp_x(v) = y$, by shooting, and the distance it gives."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets
from riemann._geodesic import exp_map, message, tolerance
from riemann._jacobi import varied_geodesics
from riemann._metric import jets_of, metric_jet
from riemann._ode import Status
from riemann._types import Field, Metric

_ROUGH = 1e-4  # the tolerance until a path is close to a solution
_LEAST_STEP = 4.0**-5  # of damping


class Logarithm(NamedTuple):
    r"""Velocities of geodesics between points of a batch.

    Attributes:
        velocities: the v with $\exp_x(v) = y$, `(*batch, n)`; NaN where none was found.
        error: $|\exp_x(v) - y|$, the largest of the coordinates, of the best v found, `(*batch,)`.
        status: what became of each point, `(*batch,)`, values of `riemann.Status`.
    """

    velocities: Tensor
    error: Tensor
    status: Tensor

    @property
    def message(self) -> str:
        """What happened, in a sentence, with the first point where something did."""
        text = message("geodesic between two points", self.status, self.error)
        bad = self.status != Status.SUCCESS
        if not bool(bad.any()):
            return text
        error = float(self.error[_jets.first(bad)] if bad.ndim else self.error)
        return f"{text}; the best one found misses `y` by {error:.3g} in a coordinate"


def log_map(
    metric: Metric,
    x: Float[Tensor, "*#batch n"],
    y: Float[Tensor, "*#batch n"],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 10_000,
    max_iterations: int = 30,
    chart: Field | None = None,
    throw: bool = True,
) -> Any:
    r"""Logarithm, the tangent vector v at x with $\exp_x(v) = y$ of the geodesic that continues the straight line.

    Newton's method on $v \mapsto \exp_x(v) - y$ from $v = y - x$, its derivative by Jacobi fields; where it fails, on
    the path cut into pieces that are shot separately.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        y: points, broadcast against `x`.
        rtol: as for `geodesic`; `y` is to be met to 5 times that, relative to the largest coordinate, if over 1.
        atol: as for `geodesic`.
        max_steps: as for `geodesic`.
        max_iterations: Newton steps of a round.
        chart: as for `geodesic`.
        throw: whether to raise where a point of the batch fails; otherwise the `Logarithm` is returned.

    Returns:
        `(*batch, n)`; the `Logarithm` if `throw` is false.

    Raises:
        TypeError, ValueError: as `at`.
        RuntimeError: no geodesic was found for some point (with `throw`); called under `vmap`.

    Note:
        A geodesic of the chart, the shortest one within the injectivity radius; there may be others beyond. First
        derivatives, to x, y and the parameters of the metric, are those of the implicit function; second ones raise.

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> x, y = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
        >>> log_map(half_plane, x, y)[1].exp().round(decimals=6)
        tensor(2., dtype=torch.float64)
    """
    x, y = _jets.broadcast_vectors(x, y=y)
    options = dict(rtol=rtol, atol=atol, max_steps=max_steps, chart=chart)
    _jets.check_unmapped(x, y)
    metric_jet(metric, torch.stack((x.detach(), y.detach())), 1)  # warns where it is no metric
    n, batch = x.shape[-1], x.shape[:-1]
    with torch.no_grad():
        flat = x.detach().reshape(-1, n), y.detach().reshape(-1, n)
        found, error = _search(metric, *flat, max_iterations, options)
    good = ~found.isnan().any(-1)
    v = _implicit(metric, x.reshape(-1, n), y.reshape(-1, n), found, good, options)
    status = torch.where(good, Status.SUCCESS, Status.NOT_CONVERGED)
    result = Logarithm(v.reshape(*batch, n), error.reshape(batch), status.reshape(batch))
    if not throw:
        return result
    if not bool(good.all()):
        raise RuntimeError(f"{result.message}. `throw=False` returns what was found, with a status for each point")
    return result.velocities


def _implicit(metric: Metric, x: Tensor, y: Tensor, v: Tensor, good: Tensor, options: dict[str, Any]) -> Tensor:
    r"""One Newton step from the solution, $v - (\partial \exp)^{-1} (\exp_x(v) - y)$: its derivatives are implicit."""
    if not bool(good.any()):
        return v
    miss = exp_map(metric, x[good], v[good], throw=False, **options).points[0] - y[good]
    if not _jets.carry_derivatives(miss):
        return v
    with torch.no_grad():
        _, flows = _flows(metric, torch.cat((x.detach(), v), -1)[good].unsqueeze(1), x.shape[-1], options)
        inverse = torch.linalg.inv_ex(flows[:, 0, : x.shape[-1]])[0]
    better = v[good] - (inverse @ miss.unsqueeze(-1)).squeeze(-1)
    return v.index_put((good.nonzero()[:, 0],), _jets.once(better, "log_map"))


def _search(
    metric: Metric, x: Tensor, y: Tensor, max_iterations: int, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Velocities, NaN where none was found, and the least miss of `y`."""
    found, error = torch.full_like(x, torch.nan), torch.full_like(x[:, 0], torch.inf)
    rough = options | {"rtol": max(tolerance(options["rtol"], x), _ROUGH), "atol": None}
    for pieces, precision in ((1, rough), (8, rough), (8, options)):
        left = found.isnan().any(-1).nonzero()[:, 0]
        if len(left) == 0:
            break
        v, J = _shoot(metric, x[left], y[left], y[left] - x[left], pieces, max_iterations, precision)
        v, miss = _polish(metric, x[left], y[left], v, torch.linalg.inv_ex(J)[0], options)
        met = miss <= _goal(y[left], options)
        found[left[met]] = v[met]
        error[left] = torch.minimum(error[left], miss)
    return found, error


def _goal(y: Tensor, options: dict[str, Any]) -> Tensor:
    """How far from y, in its largest coordinate, a geodesic may end."""
    return 5 * tolerance(options["rtol"], y) * y.abs().amax(-1).clamp(min=1.0)


def _polish(
    metric: Metric, x: Tensor, y: Tensor, v: Tensor, inverse: Tensor, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Newton steps with the derivative of a rough solution: the best v of each point, and its miss."""
    best, size, trial = v.clone(), torch.full_like(v[:, 0], torch.inf), v.clone()
    on = torch.isfinite(v).all(-1).nonzero()[:, 0]
    while len(on):
        miss = exp_map(metric, x[on], trial[on], throw=False, **options).points[0] - y[on]
        new = miss.abs().amax(-1).nan_to_num(torch.inf)
        better, shrinks = new < size[on], new < 0.3 * size[on]
        best[on[better]], size[on[better]] = trial[on[better]], new[better]
        trial[on] = trial[on] - (inverse[on] @ miss.unsqueeze(-1)).squeeze(-1)
        on = on[shrinks & (size[on] > 0.2 * _goal(y[on], options))]
    return best, size


def _shoot(
    metric: Metric, x: Tensor, y: Tensor, v: Tensor, pieces: int, max_iterations: int, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    r"""Damped Newton steps for paths of `pieces` geodesics of equal length of parameter that shall fit together.

    Returns:
        v at x and the Jacobian of the end to it, of the best path of each point.
    """
    count, n = x.shape
    s = torch.arange(pieces, dtype=x.dtype, device=x.device)[:, None] / pieces
    path = torch.cat((x[:, None] + s * (y - x)[:, None], v[:, None].expand(-1, pieces, -1)), -1)
    goal = _goal(y, options)
    best, size = path.clone(), torch.full_like(x[:, 0], torch.inf)
    Jacobian, step = x.new_zeros(count, n, n), torch.zeros_like(path)
    damping = torch.ones_like(size)
    on = torch.arange(count, device=x.device)
    for _ in range(max_iterations):
        ends, flows = _flows(metric, path[on], n, options)
        misfit = torch.cat((ends[:, :-1] - path[on, 1:], ends[:, -1:] - _end(y[on], ends)), 1)
        new = misfit.abs().flatten(1).amax(-1).nan_to_num(torch.inf)
        better = new < size[on]
        gain = on[better]
        change, J = _newton(flows[better], misfit[better], n)
        best[gain], size[gain], step[gain], Jacobian[gain] = path[gain], new[better], change, J
        damping[on] = torch.where(better, (2 * damping[on]).clamp(max=1.0), damping[on] / 4)
        path[on] = best[on] + damping[on, None, None] * step[on]
        on = on[(size[on] > goal[on]) & (damping[on] >= _LEAST_STEP) & path[on].isfinite().flatten(1).all(-1)]
        if len(on) == 0:
            break
    return best[:, 0, n:], Jacobian


def _end(y: Tensor, ends: Tensor) -> Tensor:
    """The state wanted at the end of the path: y, at any velocity."""
    return torch.cat((y, ends[:, -1, y.shape[-1] :]), -1)[:, None]


def _flows(metric: Metric, path: Tensor, n: int, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Ends of the pieces, `(b, pieces, 2n)`, and their derivatives to the starts, `(b, pieces, 2n, 2n or n)`."""
    count, pieces = path.shape[:2]
    x, v = path.reshape(-1, 2 * n).split(n, -1)
    one = torch.eye(n, dtype=x.dtype, device=x.device).expand(len(x), n, n)
    zero = torch.zeros_like(one)
    X, V = (zero, one) if pieces == 1 else (torch.cat((one, zero), -1), torch.cat((zero, one), -1))
    _, states = varied_geodesics(metric, x, v, X, V, x.new_full((1,), 1 / pieces), **options)
    x, v, X, V = (a[0] for a in states)
    ends = torch.cat((x, v), -1).reshape(count, pieces, 2 * n)
    return ends, torch.cat((X, V), -2).reshape(count, pieces, 2 * n, -1)


def _newton(flows: Tensor, misfit: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Changes of all starts that let the pieces fit, to first order, and the derivative of the end to the first v."""
    count, pieces = flows.shape[:2]
    if pieces == 1:
        maps, rests = [], []
        J, miss = flows[:, 0, :n], misfit[:, 0, :n]
    else:
        first = torch.eye(2 * n, dtype=flows.dtype, device=flows.device)[:, n:].expand(count, -1, -1)
        maps, rests = [first], [torch.zeros_like(misfit[:, 0])]  # of each start: what the first v and the misfits do
        for k in range(pieces):
            maps.append(flows[:, k] @ maps[-1])
            rests.append((flows[:, k] @ rests[-1].unsqueeze(-1)).squeeze(-1) + misfit[:, k])
        J, miss = maps.pop()[:, :n], rests.pop()[:, :n]
    inverse, info = torch.linalg.inv_ex(J)
    change = -(inverse @ miss.unsqueeze(-1))
    change = torch.where((info == 0)[:, None, None], change, torch.nan)
    if pieces == 1:
        return torch.cat((torch.zeros_like(change), change), 1).mT, J
    return torch.stack([(M @ change).squeeze(-1) + r for M, r in zip(maps, rests, strict=True)], 1), J


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
        The Riemannian distance within the injectivity radius. Proper time or proper length, if g is Lorentzian. At
        x = y, where it has no derivative, and between points on one light ray, the derivative given is 0.

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> x, y = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
        >>> distance(half_plane, x, y).exp().round(decimals=6)
        tensor(2., dtype=torch.float64)
    """
    result = log_map(metric, x, y, throw=throw, **options)
    if not throw:
        return result
    (g,) = jets_of(metric, _jets.broadcast_vectors(x, y=y)[0], 0)
    squared = torch.einsum("...ij,...i,...j->...", g, result, result).abs()
    length = squared > 0
    return torch.where(length, torch.where(length, squared, 1.0).sqrt(), 0.0)
