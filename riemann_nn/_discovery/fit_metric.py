"""A metric from trajectories: the one whose geodesics pass nearest to noisy positions."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import riemann
from riemann._shared import check_count, warn
from riemann_nn._discovery.fitted import FitReport, FittedMetric, InUnits, Jacobi, MetricUncertainty, scale_of
from riemann_nn._discovery.gauss_newton import NULL, Fit, Prior, minimise
from riemann_nn._discovery.motion import Motion, flow
from riemann_nn._discovery.pieces import Pieces, cut, smoothed
from riemann_nn._fields.metric_net import MetricNet

_MANY = 50  # parameters, of which so many are held by a prior
_MOST = 4000  # parameters, for which Gauss and Newton's method is
_MOST_NUMBERS = 2**29  # of the derivatives of all positions
_SHORT = (6, 15)  # intervals of the pieces that a net is fitted to first
_EXACT = 1e-7  # of the range of the data: noise that is less


def fit_metric(
    trajectories: Float[Tensor, "N T n"],
    times: Float[Tensor, "T"],
    metric: str | torch.nn.Module = "cholesky",
    *,
    potential: Callable[[Tensor], Tensor] | None = None,
    energy: float | int | None = None,
    prior: bool | None = None,
    longest: int | None = None,
    iterations: int = 50,
) -> FittedMetric:
    r"""The metric whose geodesics pass nearest to noisy positions of free motion.

    $\min \sum |\gamma_i(t) - y_i(t)|^2 / \sigma^2$ over the metric's parameters and the first states of all motions
    $\gamma_i$, over whole trajectories: multiple shooting from sample to sample, by Gauss and Newton's method. Data are
    smoothed to start from, and for nothing else; the noise $\sigma$ of each coordinate is estimated.

    Args:
        trajectories: positions, `(N, T, n)`, of N motions.
        times: of the positions, `(T,)`, increasing, the same for all motions.
        metric: a family of `MetricNet`, as in its table (a net with 16, 16 hidden units in standardised coordinates);
            or a module and metric with parameters, of which a copy is fitted, from the values that it has.
        potential: V of a motion $\ddot x = -\Gamma(\dot x, \dot x) - g^{-1} dV$, one point `(n,)` to a scalar; of a
            module the parameters are fitted along. None for free motion.
        energy: E, to return Jacobi's metric $2 (E - V) g$, whose geodesics are the paths of this energy $\tfrac12
            g(v, v) + V$, instead of g.
        prior: whether parameters are held near the start by a normal distribution, of the width that makes the data
            most likely; by default, of more than 50 parameters.
        longest: intervals after which a motion starts anew; for motions that are too unstable to be followed.
        iterations: at most.

    Returns:
        `.metric`, a metric and a module in float64, `.report`, `.uncertainty`, `.points`, `.velocities`, `.potential`.

    Raises:
        TypeError: no tensors, or no metric with parameters.
        ValueError: shapes, times that do not increase, positions that are not finite or do not move, fewer than 3 of
            them, more than 4000 parameters, a metric that is none at the data, an energy below the potential.
        RuntimeError: motions that cannot be followed.

    Warns:
        UserWarning: the iterations did not converge; no metric of the family fits, or a net stopped in a poor minimum.

    Note:
        Trajectories show the connection, where they pass. The scale of g is not seen, nor what parallel transport
        keeps: `print(fitted.report)`. Time and memory grow with the positions times the parameters.

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
    y, times = _checked(trajectories, times)
    check_count("iterations", iterations, 1)
    if longest is not None:
        check_count("longest", longest, 2)
    if energy is not None and potential is None:
        raise ValueError("`energy` is given without a `potential`: Jacobi's metric is 2 (energy - potential) g")
    motion = _motion(metric, potential, y)
    many = prior if prior is not None else len(motion.theta) > _MANY
    held = Prior(motion.theta, 1.0) if many else None
    states, rough = smoothed(y, times)
    least = _EXACT * y.std((0, 1)).clamp(min=1e-300)
    noise, fit = torch.maximum(rough, least), None
    whole = min(longest or y.shape[1], y.shape[1] - 1)
    for length in (*(length for length in _SHORT if length < whole and many), whole):
        pieces, rounds = cut(y, times, length), 4 if length == whole else 1
        nodes = pieces.of(states)
        for _ in range(rounds):
            enough = (1.0 if many else 1e-6) if length == whole else 10.0
            most = iterations if length == whole else min(iterations, 10)
            fit = minimise(motion, nodes, pieces.of(y), noise, pieces, held, most, enough)
            nodes, held, weighed = fit.nodes, fit.prior, noise
            if length < whole:
                break
            noise = torch.maximum(_noise(fit, y, pieces), least)
            if many or not bool(((noise / weighed).log().abs() > 0.1).any()):
                break
        states = pieces.joined(nodes, y)
    assert fit is not None
    uncertain = _uncertainty(motion, fit, weighed, noise, y, potential)
    final = motion.metric
    if energy is not None:
        final = _jacobi(motion, float(energy), y)
        uncertain = MetricUncertainty(**{**vars(uncertain), "metric": final})
    report = FitReport(
        noise=noise, smoothing_noise=rough, numbers=y.numel(), parameters=len(motion.theta), identified=fit.effective,
        states=len(pieces.trajectory) * 2 * y.shape[-1], scale_is_free=uncertain.scale_is_free,
        precision=None if fit.prior is None else fit.prior.precision,
        region=torch.stack((y.amin((0, 1)), y.amax((0, 1))), -1), substeps=fit.substeps, converged=fit.converged,
    )  # fmt: skip
    _warn(report, motion, fit, pieces)
    points, velocities = pieces.joined(fit.nodes, y).chunk(2, -1)
    return FittedMetric(final, report, uncertain, points, velocities, motion.potential)


# --------------------------------------------------------------------------------------------------------- arguments


def _checked(trajectories: Any, times: Any) -> tuple[Tensor, Tensor]:
    """Trajectories and times in float64; raises unless they are such."""
    for name, value in (("trajectories", trajectories), ("times", times)):
        if not isinstance(value, Tensor):
            raise TypeError(f"`{name}` is a {type(value).__name__}, expected a torch.Tensor; use `torch.as_tensor`")
        if not value.is_floating_point():
            raise TypeError(f"`{name}` has dtype {value.dtype}, expected float64 (or float32)")
    if trajectories.ndim != 3 or trajectories.numel() == 0:
        raise ValueError(
            f"`trajectories` has shape {tuple(trajectories.shape)}, expected (N, T, n): motions, times, coordinates"
        )
    T = trajectories.shape[1]
    if times.shape != (T,):
        raise ValueError(f"`times` has shape {tuple(times.shape)}, expected ({T},): a time for each position")
    if T < 3:
        raise ValueError(f"`trajectories` have {T} positions each, too few: expected 3 or more")
    y, t = trajectories.detach().double(), times.detach().to(trajectories.device).double()
    if not bool(t.isfinite().all()):
        raise ValueError(f"`times` is not finite: {t.tolist()}")
    if not bool((t.diff() > 0).all()):
        k = int((~(t.diff() > 0)).nonzero()[0, 0])
        raise ValueError(
            f"`times` do not increase: {t[k].item():g} is followed by {t[k + 1].item():g} at {k + 1}; sort the "
            "positions by time, and leave out repetitions"
        )
    if not bool(y.isfinite().all()):
        where = (~y.isfinite().all(-1)).nonzero()[0].tolist()
        raise ValueError(f"`trajectories` is not finite at {where}; leave such trajectories out, or cut them before")
    if bool((y == y[:, :1]).all()):
        raise ValueError("`trajectories` do not move: points at rest say nothing of a metric")
    still = (y == y[:1, :1]).all(0).all(0)
    if bool(still.any()):
        k = int(still.nonzero()[0, 0])
        raise ValueError(f"`trajectories` have the same coordinate {k} throughout; leave it out")
    return y, t


def _motion(metric: Any, potential: Any, y: Tensor) -> Motion:
    """Copies of what is fitted, in float64; raises unless it is a metric at the data."""
    N, T, n = y.shape
    if isinstance(metric, str):
        net = MetricNet(n, (16, 16), family=metric, log_range=1.5).to(y)
        metric = InUnits(net, y.mean((0, 1)), y.reshape(-1, n).std(0))
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
    if P > _MOST or y.numel() * 2 * (P + 1) > _MOST_NUMBERS:
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
    return motion


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


# ----------------------------------------------------------------------------------------------------------- results


def _noise(fit: Fit, y: Tensor, pieces: Pieces) -> Tensor:
    """Deviation of the data from the motions in each coordinate, corrected for the numbers fitted."""
    n = y.shape[-1]
    there = pieces.present.unsqueeze(-1)
    rest = (torch.where(there, fit.nodes[..., :n] - pieces.of(y), 0.0)).square().sum((0, 1))
    numbers = int(pieces.present.sum()) * n
    spare = max(numbers - len(pieces.trajectory) * 2 * n - fit.effective, 1.0) / numbers
    return (rest / (int(pieces.present.sum()) * spare)).sqrt()


def _uncertainty(
    motion: Motion, fit: Fit, weighed: Tensor, noise: Tensor, y: Tensor, potential: Any
) -> MetricUncertainty:
    """From the last Jacobian, whose noise may be a little off."""
    linear, P = fit.linear, len(motion.theta)
    factor = float((noise / weighed).log().mean().exp()) ** 2
    s, directions = linear.values, linear.unit.unsqueeze(-1) * linear.right
    x = y.reshape(-1, y.shape[-1])[:: max(1, y[..., 0].numel() // 100)]
    if fit.prior is None:
        seen = s > NULL * s.max()
        root = directions[:, seen] / s[seen]
        null = torch.linalg.qr(directions[:, ~seen])[0]
        scale = scale_of(motion.metric, null, x[:: max(1, len(x) // 20)])
    else:
        root = directions / (s.square() + fit.prior.precision * float(linear.unit[0]) ** 2).sqrt()
        null = root.new_zeros(P, 0)
        scale = potential is None or motion.learned_potential
    away = torch.eye(P).to(root) - null @ null.mT
    return MetricUncertainty(
        motion.names, motion.theta, factor * (away @ root) @ (away @ root).mT, null, scale, motion.metric, x
    )


def _warn(report: FitReport, motion: Motion, fit: Fit, pieces: Pieces) -> None:
    """Says what makes the fit doubtful."""
    if not report.converged:
        warn("the iterations did not converge; give more `iterations`, other parameters to start from, or a prior")
    elif bool((report.noise > 1.5 * report.smoothing_noise.clamp(min=1e-6 * report.region.diff(dim=-1)[:, 0])).any()):
        worst = float((report.noise / report.smoothing_noise).max())
        warn(
            f"no metric of this family fits the data: motions leave {worst:.2g} times what smoothing leaves. Are they "
            "free motions (or of this `potential`), is the family large enough? A "
            "net may have stopped in a poor minimum: another `torch.manual_seed` or more data help"
        )
    start, steps = fit.nodes[:, :-1].flatten(0, 1), pieces.steps.reshape(-1)
    once, twice = (flow(motion, start, steps, k * fit.substeps)[:, : len(report.noise)] for k in (1, 2))
    error = float(((once - twice) / report.noise).square().mean().sqrt()) * fit.nodes.shape[1]
    if error > 0.5 and bool((report.noise > 1e-7 * report.region.diff(dim=-1)[:, 0]).any()):
        warn(
            f"the solver's error is {error:.2g} times the noise: `times` are too far apart for these motions; give "
            "positions at closer times"
        )
