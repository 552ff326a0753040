"""A metric from data: the one whose geodesics pass nearest to noisy positions, or have measured lengths."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import riemann
from riemann._shared import check_count
from riemann_nn._discovery import distances as distances_
from riemann_nn._discovery.data import checked_pairs, checked_trajectories
from riemann_nn._discovery.fitted import FittedMetric, InUnits
from riemann_nn._discovery.gauss_newton import Prior
from riemann_nn._discovery.motion import Motion
from riemann_nn._discovery.pieces import smoothed
from riemann_nn._discovery.trajectories import POOR, to_motions
from riemann_nn._fields.metric_net import MetricNet

_MANY = 50  # parameters, of which so many are held by a prior
_MOST = 4000  # parameters, for which Gauss and Newton's method is
_MOST_NUMBERS = 2**29  # of the derivatives of all positions
_FEW = 6  # trajectories or pairs: too few to be resampled are fewer


def fit_metric(
    trajectories: Float[Tensor, "N T n"] | None = None,
    times: Float[Tensor, "T"] | None = None,
    metric: str | torch.nn.Module = "cholesky",
    *,
    pairs: Float[Tensor, "P 2 n"] | Sequence[Tensor] | None = None,
    distances: Float[Tensor, "P"] | None = None,
    potential: Callable[[Tensor], Tensor] | None = None,
    energy: float | int | None = None,
    prior: bool | None = None,
    longest: int | None = None,
    iterations: int = 50,
    restarts: int = 2,
    uncertainty: str = "laplace",
    resamples: int = 50,
) -> FittedMetric:
    r"""The metric whose geodesics pass nearest to noisy positions of free motion, or have measured lengths.

    Of trajectories: $\min \sum |\gamma_i(t) - y_i(t)|^2 / \sigma^2$ over the metric's parameters and the first states
    of all motions $\gamma_i$, over whole trajectories: multiple shooting from sample to sample, by Gauss and Newton's
    method. Data are smoothed to start from, and for nothing else; the noise $\sigma$ of each coordinate is estimated.

    Of distances between pairs: $\min \sum (d_g(x_i, y_i) - d_i)^2$, $d_g$ the length of the geodesic that continues the
    straight line, as `log_map` finds it.

    Args:
        trajectories: positions, `(N, T, n)`, of N motions.
        times: of the positions, `(T,)`, increasing, the same for all motions.
        metric: a family of `MetricNet`, as in its table (a net with 16, 16 hidden units in standardised coordinates);
            or a module and metric with parameters, of which a copy is fitted, from the values that it has.
        pairs: two points each, `(N, 2, n)`, or the first ones and the second ones, `(N, n)` each; instead of
            trajectories.
        distances: measured between them, `(N,)`.
        potential: V of a motion $\ddot x = -\Gamma(\dot x, \dot x) - g^{-1} dV$, one point `(n,)` to a scalar; of a
            module the parameters are fitted along. None for free motion.
        energy: E, to return Jacobi's metric $2 (E - V) g$, whose geodesics are the paths of this energy $\tfrac12
            g(v, v) + V$, instead of g.
        prior: whether parameters are held near the start by a normal distribution, of the width that makes the data
            most likely; by default, of more than 50 parameters.
        longest: intervals after which a motion starts anew; for motions that are too unstable to be followed.
        iterations: at most.
        restarts: further random starts of a family's net, tried while motions leave more than 1.5 times what smoothing
            leaves, every other one from shorter pieces; the best is kept.
        uncertainty: `"laplace"`: noise is independent and normal; `"bootstrap"`: from refits to trajectories, or pairs,
            drawn with replacement, for noise that is neither.
        resamples: refits; deviations are known to $1 / \sqrt{2 \cdot \text{resamples}}$ of them.

    Returns:
        `.metric`, a metric and a module in float64, `.report`, `.uncertainty`, `.points`, `.velocities`, `.potential`.

    Raises:
        TypeError: no tensors, or no metric with parameters.
        ValueError: shapes, times that do not increase, positions that are not finite or do not move, fewer than 3 of
            them, distances that are not positive, data of both kinds, more than 4000 parameters, fewer than 6
            trajectories or pairs to resample, a metric that is none at the data, an energy below the potential.
        RuntimeError: motions that cannot be followed, a pair without a geodesic.

    Warns:
        UserWarning: the iterations did not converge; no metric of the family fits, or a net stopped in a poor minimum;
            geodesics between pairs pass conjugate points.

    Note:
        Trajectories show the connection, where they pass. The scale of g is not seen, nor what parallel transport
        keeps: `print(fitted.report)`. Distances show the scale. Time and memory grow with the positions times the
        parameters; a refit costs a few iterations.

    Reference:
        Bock, *Recent advances in parameter identification techniques for O.D.E.*, in: Numerical Treatment of Inverse
        Problems in Differential and Integral Equations (1983). MacKay, *Bayesian interpolation*, Neural Comput. 4
        (1992) 415, for the prior.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> from riemann_nn import fit_metric
        >>> class Power(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.p = torch.nn.Parameter(torch.tensor(1.0))
        ...
        ...     def forward(self, x):
        ...         return torch.eye(2, dtype=x.dtype) / x[1] ** self.p
        >>> half_plane = lambda x: torch.eye(2, dtype=x.dtype) / x[1] ** 2
        >>> t = torch.linspace(0, 1, 11, dtype=torch.float64)
        >>> x = torch.tensor([[0.0, 1.0], [0.5, 1.5]], dtype=torch.float64)
        >>> y = rm.geodesic(half_plane, x, x.flip(-1), t).points.transpose(0, 1)
        >>> fitted = fit_metric(y, t, Power())
        >>> round(fitted.metric.p.item(), 4)
        2.0
    """
    check_count("iterations", iterations, 1)
    check_count("restarts", restarts, 0)
    check_count("resamples", resamples, 2)
    if uncertainty not in ("laplace", "bootstrap"):
        raise ValueError(f"`uncertainty` is {uncertainty!r}, expected 'laplace' or 'bootstrap'")
    draws = resamples if uncertainty == "bootstrap" else 0
    if pairs is not None or distances is not None:
        others = {"trajectories": trajectories, "times": times, "potential": potential, "energy": energy}
        if given := [name for name, value in {**others, "longest": longest}.items() if value is not None]:
            raise ValueError(f"`pairs` and `distances` are given beside `{given[0]}`, which is of motions: fit to one")
        ends, lengths = checked_pairs(pairs, distances)
        _are_enough(len(ends), draws, "pairs")
        motion = _motion(metric, None, ends, lengths)
        return distances_.record(motion, _prior(motion, prior), ends, lengths, iterations, draws)
    y, t = checked_trajectories(trajectories, times)
    _are_enough(len(y), draws, "trajectories")
    if longest is not None:
        check_count("longest", longest, 2)
    if energy is not None and potential is None:
        raise ValueError("`energy` is given without a `potential`: Jacobi's metric is 2 (energy - potential) g")
    smooth, best = smoothed(y, t), None
    for attempt in range(1 + (restarts if isinstance(metric, str) else 0)):
        motion = _motion(metric, potential, y)
        trial = to_motions(motion, _prior(motion, prior), y, t, smooth, longest, iterations, attempt)
        if best is None or trial.excess < best.excess:
            best = trial
        if best.excess <= POOR:
            break
    assert best is not None
    return best.record(None if energy is None else float(energy), draws)


def _prior(motion: Motion, wanted: bool | None) -> Prior | None:
    many = len(motion.theta) > _MANY if wanted is None else wanted
    return Prior(motion.theta, 1.0) if many else None


def _are_enough(count: int, resamples: int, name: str) -> None:
    if resamples and count < _FEW:
        raise ValueError(
            f"`{name}` are {count}, too few to resample: expected {_FEW} or more; uncertainty='laplace' takes any"
        )


def _motion(metric: Any, potential: Any, y: Tensor, distances: Tensor | None = None) -> Motion:
    """Copies of what is fitted, in float64; raises unless it is a metric at the data `(N, T, n)`."""
    N, T, n = y.shape
    if isinstance(metric, str):
        net = MetricNet(n, (16, 16), family=metric, log_range=1.5).to(y)
        metric = InUnits(net, y.mean((0, 1)), y.reshape(-1, n).std(0))
        if distances is not None:  # at once at their scale, for a net has bounds
            metric.size.fill_(float(distances.median() / _lengths(metric, y).median()))
    if not isinstance(metric, torch.nn.Module):
        raise TypeError(
            f"`metric` is a {type(metric).__name__}, expected the name of a family, or a torch.nn.Module that takes a "
            "point (n,) to (n, n), with parameters to fit"
        )
    if potential is not None and not callable(potential):
        raise TypeError(f"`potential` is a {type(potential).__name__}, expected a callable of one point of shape (n,)")
    motion = Motion(metric, potential)
    for part in (motion.metric, motion.potential):
        if isinstance(part, torch.nn.Module):
            part.to(y)
    if not motion.parameters:
        raise ValueError("`metric` has no parameters that require a gradient: there is nothing to fit")
    P = len(motion.theta)
    if distances is None and (P > _MOST or y.numel() * 2 * (P + 1) > _MOST_NUMBERS):
        raise ValueError(
            f"`metric` has {P} parameters and `trajectories` {N * T} positions: more than Gauss and Newton's method is "
            f"for ({_MOST} parameters, {_MOST_NUMBERS // (2 * n * (P + 1))} positions of so many); give a smaller net, "
            "or fewer trajectories or positions"
        )
    x = y.reshape(-1, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of points where it is none, which are looked for below
        riemann.at(motion.metric, x[:1], 1)  # says what is wrong with what it returns
    signs = motion.signature(x)
    if not bool((signs.abs() == 1).all()):
        where = x[(signs.abs() != 1).any(-1)][0].tolist()
        raise ValueError(f"`metric` is not a metric at {where}, a position of the data; start from other parameters")
    if not bool((signs == signs[0]).all()):
        where = x[(signs != signs[0]).any(-1)][0].tolist()
        raise ValueError(f"`metric` changes its signature among the data, at {where}; start from other parameters")
    if distances is not None and not bool((signs == 1).all()):
        raise ValueError("`metric` is indefinite, and distances are those of positive definite ones")
    return motion


def _lengths(metric: torch.nn.Module, pairs: Tensor) -> Tensor:
    """Of straight lines, in the metric at their middles."""
    step = pairs[:, 1] - pairs[:, 0]
    with torch.no_grad():
        g = riemann.at(metric, pairs.mean(1), 0).g
    return torch.einsum("zij,zi,zj->z", g, step, step).sqrt()
