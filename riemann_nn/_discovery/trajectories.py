"""A metric whose geodesics pass nearest to motions: from short pieces to whole ones, and what is said of the end."""

from typing import NamedTuple

import torch
from torch import Tensor

import riemann
from riemann._shared import warn
from riemann_nn._discovery.fitted import FitReport, FittedMetric, Jacobi, MetricUncertainty
from riemann_nn._discovery.gauss_newton import Fit, Prior, minimise
from riemann_nn._discovery.motion import Motion, flow
from riemann_nn._discovery.pieces import Pieces, cut
from riemann_nn._discovery.uncertain import bootstrap, laplace

POOR = 1.5  # times the noise that smoothing leaves: no metric of the family fits, or a net stopped in a poor minimum
_WAYS = (((6, 15), 10), ((3, 6, 12), 20))  # intervals of the pieces that a net is fitted to first, and iterations
_EXACT = 1e-7  # of the range of the data: noise that is less


class Motions(NamedTuple):
    """A metric fitted to motions.

    Attributes:
        y: the data.
        motion: the metric, and the potential.
        fit: where the iterations ended.
        pieces: those of the end.
        rough: the noise that smoothing leaves.
        weighed: the noise in the last sum of squares.
        noise: the one estimated from it.
    """

    y: Tensor
    motion: Motion
    fit: Fit
    pieces: Pieces
    rough: Tensor
    weighed: Tensor
    noise: Tensor

    @property
    def excess(self) -> float:
        """The noise in units of that of smoothing, in the worst coordinate."""
        range_ = self.y.amax((0, 1)) - self.y.amin((0, 1))
        return float((self.noise / self.rough.clamp(min=1e-6 * range_)).max())

    def uncertainty(self, resamples: int) -> MetricUncertainty:
        """By Laplace's approximation, or by resampled trajectories."""
        fit, motion, y = self.fit, self.motion, self.y
        factor = float((self.noise / self.weighed).log().mean().exp()) ** 2  # the noise may be a little off
        x = y.reshape(-1, y.shape[-1])[:: max(1, y[..., 0].numel() // 100)]
        free = motion.potential is None or motion.learned_potential
        found = laplace(motion, fit.linear, fit.prior, factor, x, free)
        if not resamples:
            return found
        of = [(self.pieces.trajectory == k).nonzero()[:, 0] for k in range(len(y))]

        def refit(which: Tensor, prior: Prior | None) -> Fit:
            rows = torch.cat([of[k] for k in which.tolist()])
            some = Pieces(*(part[rows] for part in self.pieces))
            return minimise(motion, fit.nodes[rows], some.of(y), self.noise, some, prior, 20, 0.1)

        return bootstrap(found, motion, fit.prior, len(y), resamples, refit)

    def record(self, energy: float | None, resamples: int) -> FittedMetric:
        """What is returned; says what makes the fit doubtful."""
        y, motion, fit = self.y, self.motion, self.fit
        final, uncertain = motion.metric, self.uncertainty(resamples)
        if energy is not None:
            final = _jacobi(motion, energy, y)
            uncertain = MetricUncertainty(**{**vars(uncertain), "metric": final})
        report = FitReport(
            noise=self.noise, smoothing_noise=self.rough, numbers=y.numel(), parameters=len(motion.theta),
            identified=fit.effective, states=len(self.pieces.trajectory) * 2 * y.shape[-1],
            scale_is_free=uncertain.scale_is_free, precision=None if fit.prior is None else fit.prior.precision,
            region=torch.stack((y.amin((0, 1)), y.amax((0, 1))), -1), substeps=fit.substeps, converged=fit.converged,
        )  # fmt: skip
        self._warn()
        points, velocities = self.pieces.joined(fit.nodes, y).chunk(2, -1)
        return FittedMetric(final, report, uncertain, points, velocities, motion.potential)

    def _warn(self) -> None:
        fit, noise = self.fit, self.noise
        if not fit.converged:
            warn("the iterations did not converge; give more `iterations`, other parameters to start from, or a prior")
        elif self.excess > POOR:
            warn(
                f"no metric of this family fits the data: motions leave {self.excess:.2g} times what smoothing leaves. "
                "Are they free motions (or of this `potential`), is the family large enough? A net may have stopped in "
                "a poor minimum: more `restarts` or more data help"
            )
        start, steps = fit.nodes[:, :-1].flatten(0, 1), self.pieces.steps.reshape(-1)
        once, twice = (flow(self.motion, start, steps, k * fit.substeps)[:, : len(noise)] for k in (1, 2))
        error = float(((once - twice) / noise).square().mean().sqrt()) * fit.nodes.shape[1]
        if error > 0.5 and bool((noise > 1e-7 * (self.y.amax((0, 1)) - self.y.amin((0, 1)))).any()):
            warn(
                f"the solver's error is {error:.2g} times the noise: `times` are too far apart for these motions; give "
                "positions at closer times"
            )


def to_motions(
    motion: Motion,
    prior: Prior | None,
    y: Tensor,
    times: Tensor,
    smooth: tuple[Tensor, Tensor],
    longest: int | None,
    iterations: int,
    attempt: int,
) -> Motions:
    """Fits the motion's parameters, in place, from the states and the noise of smoothed data.

    Attempts differ in the pieces that a net sees first: where one way stops in a poor minimum another may not.
    """
    states, rough = smooth
    many = prior is not None
    least = _EXACT * y.std((0, 1)).clamp(min=1e-300)
    noise, fit = torch.maximum(rough, least), None
    whole = min(longest or y.shape[1], y.shape[1] - 1)
    lengths, some = _WAYS[attempt % len(_WAYS)]
    for length in (*(length for length in lengths if length < whole and many), whole):
        pieces, rounds = cut(y, times, length), 4 if length == whole else 1
        nodes = pieces.of(states)
        for _ in range(rounds):
            enough = (1.0 if many else 1e-6) if length == whole else 10.0
            most = iterations if length == whole else min(iterations, some)
            fit = minimise(motion, nodes, pieces.of(y), noise, pieces, prior, most, enough)
            nodes, prior, weighed = fit.nodes, fit.prior, noise
            if length < whole:
                break
            noise = torch.maximum(_noise(fit, y, pieces), least)
            if many or not bool(((noise / weighed).log().abs() > 0.1).any()):
                break
        states = pieces.joined(nodes, y)
    assert fit is not None
    return Motions(y, motion, fit, pieces, rough, weighed, noise)


def _noise(fit: Fit, y: Tensor, pieces: Pieces) -> Tensor:
    """Deviation of the data from the motions in each coordinate, corrected for the numbers fitted."""
    n = y.shape[-1]
    there = pieces.present.unsqueeze(-1)
    rest = (torch.where(there, fit.nodes[..., :n] - pieces.of(y), 0.0)).square().sum((0, 1))
    numbers = int(pieces.present.sum()) * n
    spare = max(numbers - len(pieces.trajectory) * 2 * n - fit.effective, 1.0) / numbers
    return (rest / (int(pieces.present.sum()) * spare)).sqrt()


def _jacobi(motion: Motion, energy: float, y: Tensor) -> Jacobi:
    jacobi = Jacobi(motion.metric, motion.potential, energy)
    x = y.reshape(-1, y.shape[-1])
    with torch.no_grad():
        room = energy - riemann.jet(motion.potential, x, 0)[0]
    if not bool((room > 0).all()):
        k = int((~(room > 0)).nonzero()[0, 0])
        raise ValueError(
            f"`energy` is {energy:g}, but the potential is {energy - float(room[k]):g} at {x[k].tolist()}, a position "
            "of the data: Jacobi's metric is one where the potential is less"
        )
    return jacobi
