r"""Least squares of distances between pairs, by Gauss and Newton's method.

A geodesic is stationary, so the derivative of its length to parameters of g is that at a curve that stands still,
$\partial d = \frac{1}{2 d} \int \partial g(\dot\gamma, \dot\gamma)\, ds$: no derivative of the geodesic is needed.
"""

from typing import NamedTuple

import torch
from torch import Tensor

import riemann
from riemann._shared import along, followed_log, warn
from riemann_nn._discovery.fitted import FitReport, FittedMetric
from riemann_nn._discovery.gauss_newton import NUMBERS_AT_ONCE, Linear, Prior, likelier, penalty
from riemann_nn._discovery.motion import Motion
from riemann_nn._discovery.uncertain import bootstrap, laplace

_EXACT = 1e-9  # of the largest distance: noise that is less


class Fit(NamedTuple):
    """Where the iterations ended: `noise` is the deviation of the data from the distances found."""

    bend: Tensor
    linear: Linear
    prior: Prior | None
    noise: float
    effective: float
    converged: bool


def lengths(motion: Motion, x: Tensor, y: Tensor, bend: Tensor) -> tuple[Tensor, Tensor]:
    """Of curves that bend so, `(N,)`, and their derivatives to theta, `(N, P)`."""
    points, velocities, weights = along(x, y, bend)
    at_once = max(1, NUMBERS_AT_ONCE // (len(motion.theta) * len(weights)))
    parts = []
    for some in torch.arange(len(x), device=x.device).split(at_once):
        square, rows = motion.squares(points[some].flatten(0, 1), velocities[some].flatten(0, 1))
        length = (square.unflatten(0, (len(some), -1)) @ weights).sqrt()
        slopes = torch.einsum("bsp,s->bp", rows.unflatten(0, (len(some), -1)), weights)
        parts.append((length, slopes / (2 * length.unsqueeze(-1))))
    length, slopes = (torch.cat(part) for part in zip(*parts, strict=True))
    return length, slopes


def geodesics(motion: Motion, x: Tensor, y: Tensor, near: Tensor | None) -> tuple[Tensor, Tensor]:
    """How they bend, and which were found."""
    with torch.no_grad():
        v, bend = followed_log(motion.metric, x, y, near)
    return bend, v.isfinite().all(-1)


def minimise(
    motion: Motion, x: Tensor, y: Tensor, distances: Tensor, least: float, prior: Prior | None, iterations: int,
    near: Tensor | None = None, enough: float = 1e-6,
) -> Fit:  # fmt: skip
    """Fits the metric's parameters, in place; the noise, not less than `least`, is estimated along."""
    bend, found = geodesics(motion, x, y, near)
    if not bool(found.all()):
        k = int((~found).nonzero()[0, 0])
        raise RuntimeError(
            f"no geodesic was found between {x[k].tolist()} and {y[k].tolist()}, pair {k}, in the metric to start "
            "from; start from other parameters, or leave the pair out"
        )
    damping, converged, settled = 1e-3, False, False
    length, J = lengths(motion, x, y, bend)
    noise = max(float((length - distances).square().mean().sqrt()), least)
    for iteration in range(iterations):
        theta, e = motion.theta, (length - distances) / noise
        linear = Linear.of(J / noise, e, theta, prior is not None)
        prior = prior and likelier(linear, prior, theta, iteration > 0)
        effective = linear.effective(prior)
        now = float(e.square().sum()) + penalty(prior, theta)
        converged = now - linear.solved(0.0, prior, theta)[1] <= enough + 1e-9 * now and settled
        if converged:
            break
        for attempt in range(20):
            delta, _ = linear.solved(damping, prior, theta)
            motion.set(theta + delta)
            curves, found = geodesics(motion, x, y, bend) if _positive(motion, x, y) else (bend, found & False)
            then = torch.nan
            if bool(found.all()):
                trial, slopes = lengths(motion, x, y, curves)
                then = float(((trial - distances) / noise).square().sum()) + penalty(prior, motion.theta)
            if then <= now:  # NaN is not
                bend, length, J, damping = curves, trial, slopes, damping / (10 if attempt == 0 else 1)
                break
            motion.set(theta)
            damping = max(damping * 10, 1e-6)
        else:
            converged = damping > 1e6  # rounding is all that is left
            break
        spare = max(len(x) - effective, 1.0)
        new = max(float((length - distances).square().sum() / spare) ** 0.5, least)
        settled, noise = abs(new / noise - 1) < 0.02, new
    return Fit(bend, linear, prior, noise, effective, converged)


def _positive(motion: Motion, x: Tensor, y: Tensor) -> bool:
    return bool((motion.signature(torch.cat((x, y))) == 1).all())


def record(
    motion: Motion, prior: Prior | None, pairs: Tensor, distances: Tensor, iterations: int, resamples: int
) -> FittedMetric:
    """The metric fitted to distances between pairs `(N, 2, n)`; says what makes it doubtful."""
    x, y = pairs.unbind(1)
    least = _EXACT * float(distances.max())
    enough = 1e-6 if prior is None else 1e-2
    fit = minimise(motion, x, y, distances, least, prior, iterations, enough=enough)
    points, velocities, _ = along(x, y, fit.bend)
    sample = points.flatten(0, 1)[:: max(1, len(points) * points.shape[1] // 100)]
    uncertain = laplace(motion, fit.linear, fit.prior, 1.0, sample, False)
    if resamples:

        def refit(which: Tensor, held: Prior | None) -> Fit:
            return minimise(motion, x[which], y[which], distances[which], least, held, 20, fit.bend[which], 0.1)

        uncertain = bootstrap(uncertain, motion, fit.prior, len(x), resamples, refit)
    if not fit.converged:
        warn("the iterations did not converge; give more `iterations`, other parameters to start from, or a prior")
    with torch.no_grad():
        passed = int((riemann.log_map(motion.metric, x, y, throw=False).conjugate_points > 0).sum())
    if passed:
        warn(
            f"{passed} geodesics pass a point conjugate to their start in the metric found, so they are not the "
            "shortest ones: leave out pairs so far apart if the distances are shortest ones"
        )
    ends = pairs.flatten(0, 1)
    report = FitReport(
        noise=distances.new_tensor([fit.noise]), smoothing_noise=None, numbers=len(x), parameters=len(motion.theta),
        identified=fit.effective, states=0, scale_is_free=uncertain.scale_is_free,
        precision=None if fit.prior is None else fit.prior.precision,
        region=torch.stack((ends.amin(0), ends.amax(0)), -1), substeps=0, converged=fit.converged,
    )  # fmt: skip
    return FittedMetric(motion.metric, report, uncertain, points, velocities)
