r"""The geodesic that passes nearest to points at times: least squares on a curved space."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets
from riemann._curves.geodesic import checked_times, tolerance
from riemann._curves.jacobi import varied_geodesics
from riemann._curves.logarithm import log_map, relaxed_log
from riemann._curves.ode import Status
from riemann._metric import jets_of
from riemann._points.checks import carry_derivatives, check_count, door
from riemann._statistics.mean import frechet_variance
from riemann._statistics.sets import checked_sets, loosened
from riemann._types import Metric

_SHORTEST = 1e-6  # part of a step that is still tried


class GeodesicRegression(NamedTuple):
    r"""Geodesics $\exp_p(t v)$ through sets of points of a batch.

    Attributes:
        point: $p$, at time 0, `(*batch, n)`; NaN where none was found.
        velocity: $v$, `(*batch, n)`.
        variance: the mean of squared distances of the points to the geodesic at their times, `(*batch,)`.
        status: what became of each set, `(*batch,)`, values of `riemann.Status`.
    """

    point: Tensor
    velocity: Tensor
    variance: Tensor
    status: Tensor

    def r_squared(self, metric: Metric, points: Tensor, weights: Tensor | None = None, **options: Any) -> Tensor:
        """The part of the points' Fréchet variance that the geodesic explains, `(*batch,)`."""
        return 1 - self.variance / frechet_variance(metric, points, weights, **options)


@door
def geodesic_regression(
    metric: Metric,
    t: Float[Tensor, "N"],
    points: Float[Tensor, "*batch N n"],
    weights: Float[Tensor, "*#batch N"] | None = None,
    *,
    max_iterations: int = 50,
    throw: bool = True,
    **options: Any,
) -> GeodesicRegression:
    r"""The geodesic $\gamma(t) = \exp_p(t v)$ with the least $\sum_i w_i\, d(\gamma(t_i), x_i)^2$: linear regression.

    Steps are those of Gauss and Newton: by Jacobi fields along the geodesic, from the straight line that fits the
    coordinates.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        t: times, of which at least two differ, `(N,)`, the same for all sets.
        points: sets of N points, `(*batch, N, n)`, in the order of the times.
        weights: as for `frechet_mean`.
        max_iterations: steps tried.
        throw: whether to raise where a set of the batch fails.
        **options: as for `log_map`.

    Returns:
        The record; `.point` is at time 0.

    Raises:
        TypeError, ValueError: as `frechet_mean`; times that are all the same.
        RuntimeError: no geodesic was found for some set (with `throw`).

    Note:
        First derivatives, to points, weights and parameters of the metric, are those of the implicit function.

    Reference:
        Fletcher, *Geodesic regression and the theory of least squares on Riemannian manifolds*, Int. J. Computer
        Vision 105 (2013).

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> t = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
        >>> points = torch.stack([0 * t, torch.exp(t)], -1)
        >>> geodesic_regression(half_plane, t, points).velocity.round(decimals=6) + 0.0
        tensor([0., 1.], dtype=torch.float64)
    """
    if points.ndim == 1 and isinstance(t, Tensor) and t.ndim > 1:
        raise ValueError(
            f"`t` has shape {tuple(t.shape)} and `points` {tuple(points.shape)}: they are swapped; write the times "
            "first, `geodesic_regression(metric, t, points)`"
        )
    points, weights = checked_sets(metric, points, weights, options)
    check_count("max_iterations", max_iterations, 1)
    t = checked_times(t, points, "points")
    if len(t) != points.shape[-2] or bool((t == t[0]).all()):
        raise ValueError(
            f"`t` has shape {tuple(t.shape)}, expected ({points.shape[-2]},): a time for each point, not all the same"
        )
    batch, n = points.shape[:-2], points.shape[-1]
    x, w = points.reshape(-1, *points.shape[-2:]), weights.reshape(-1, weights.shape[-1])
    fit = _Fit(metric, t, options)
    with torch.no_grad():
        z, height, good = _search(fit, x.detach(), w.detach(), max_iterations)
    found, variance = _implicit(fit, z, height, x, w, good)
    status = torch.where(good, Status.SUCCESS, Status.NOT_CONVERGED)
    point, velocity = (a.reshape(*batch, n) for a in found.split(n, -1))
    if throw and not bool(good.all()):
        raise RuntimeError(
            "no geodesic was found that is nearest to the points; they may be too far from each other, or from every "
            "geodesic. `throw=False` returns what was found, with a status for each set"
        )
    return GeodesicRegression(point, velocity, variance.reshape(batch), status.reshape(batch))


class _Fit(NamedTuple):
    metric: Metric
    t: Tensor
    options: dict[str, Any]
    rough: bool = False

    def loosened(self) -> "_Fit":
        return self._replace(options=loosened(self.options, self.t), rough=True)

    def residuals(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """At (p, v), `(b, 2n)`: logarithms of the points, `(b, N, n)`, what they change by, `(b, N, n, 2n)`, and g."""
        n = x.shape[-1]
        p, v = z.split(n, -1)
        one = torch.eye(n, dtype=x.dtype, device=x.device).expand(len(z), n, n)
        X, V = torch.cat((one, 0 * one), -1), torch.cat((0 * one, one), -1)
        settings = {"rtol": None, "atol": None, "max_steps": 10_000, "chart": None} | {
            k: o for k, o in self.options.items() if k != "max_iterations"
        }
        _, (curve, _, J, _) = varied_geodesics(self.metric, p, v, X, V, self.t, **settings)
        curve, J = curve.transpose(0, 1), J.transpose(0, 1)
        reached = curve.isfinite().all(-1).all(-1)
        safe = torch.where(reached[:, None, None], curve, x)
        if self.rough:
            r = relaxed_log(self.metric, safe, x, **self.options)
        else:
            r = log_map(self.metric, safe, x, throw=False, **self.options).velocities
        r = torch.where(reached[:, None, None], r, torch.nan)
        return r, J, jets_of(self.metric, safe, 0)[0]

    def slope(self, z: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""$\sum w J^T g\, r$, of Gauss and Newton's matrix $\sum w J^T g J$ too, and $\sum w\, g(r, r)$."""
        r, J, g = self.residuals(z, x)
        lowered = torch.einsum("bN,bNij,bNj->bNi", w, g, r)
        matrix = torch.einsum("bN,bNij,bNik,bNjl->bkl", w, g, J, J)
        return torch.einsum("bNik,bNi->bk", J, lowered), matrix, torch.einsum("bNi,bNi->b", lowered, r)


def _search(fit: _Fit, x: Tensor, w: Tensor, max_iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """The (p, v) found for each set, their sums of squares, and whether the search ended: roughly at first."""
    A = torch.stack((torch.ones_like(fit.t), fit.t), -1)
    line = torch.linalg.pinv(w.sqrt()[..., None] * A) @ (w.sqrt()[..., None] * x)
    z = line.flatten(1)
    _, _, tried = _descend(fit.loosened(), z, x, w, max_iterations - 1)
    height, done, _ = _descend(fit, z, x, w, max_iterations - tried)
    return z, height, done


def _descend(fit: _Fit, z: Tensor, x: Tensor, w: Tensor, max_iterations: int) -> tuple[Tensor, Tensor, int]:
    """Steps, written over z: the sums of squares, which sets are done, and the number of steps."""
    b, _, height = here = fit.slope(z, x, w)
    done, size = torch.zeros_like(height, dtype=torch.bool), torch.ones_like(height)
    on = b.isfinite().all(-1).nonzero()[:, 0]
    goal = 20 * tolerance(fit.options.get("rtol"), x)
    for tried in range(max_iterations):
        if len(on) == 0:
            return here[2], done, tried
        force, matrix, height = (a[on] for a in here)
        step = torch.linalg.solve_ex(matrix, force)[0]
        ended = step.abs().amax(-1) <= goal * z[on].abs().amax(-1).clamp(min=1.0)
        z[on] = torch.where(ended[:, None], z[on] + step, z[on])
        done[on[ended]] = True
        on, step, height = on[~ended], step[~ended], height[~ended]
        if len(on) == 0:
            return here[2], done, tried
        new = fit.slope(z[on] + size[on, None] * step, x[on], w[on])
        better = (new[2] <= height * (1 + 1e-12) + 1e-30) & new[0].isfinite().all(-1)
        lanes = on[better]
        z[lanes] += size[lanes, None] * step[better]
        for old, changed in zip(here, new, strict=True):
            old[lanes] = changed[better]
        size[on] = torch.where(better, 1.0, size[on] / 4)
        on = on[size[on] > _SHORTEST]
    return here[2], done, max_iterations


def _implicit(fit: _Fit, z: Tensor, height: Tensor, x: Tensor, w: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    """The geodesics and variances, with the derivatives that the vanishing of the slope gives them."""
    lanes = good.nonzero()[:, 0]
    found, variance = torch.full_like(z, torch.nan), torch.full_like(z[:, 0], torch.nan)
    if len(lanes) == 0:
        return found, variance
    z, height, x, w = z[lanes], height[lanes], x[lanes], w[lanes]
    if torch.is_grad_enabled() and carry_derivatives(x, w, jets_of(fit.metric, x[:, 0], 0)[0]):

        def slope(z: Tensor) -> tuple[tuple[Tensor], list[Tensor]]:
            force, _, height = fit.slope(z, x, w)
            return (force,), [force, height]

        z, height = _jets.implicit(slope, z, "geodesic_regression")
    return found.index_put((lanes,), z), variance.index_put((lanes,), height)
