r"""The mean of points of a curved space: where $\sum_i w_i \log_m(x_i) = 0$."""

from typing import Any, Literal, NamedTuple, overload

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _jets
from riemann._curvature.tensors import FULL_JETS
from riemann._curves import logarithm
from riemann._curves.geodesic import tolerance
from riemann._curves.logarithm import followed_log, known_log, log_map, moved_log
from riemann._curves.ode import Status
from riemann._indices import bilinear, matvec
from riemann._metric import jets_of
from riemann._points.checks import carry_derivatives, check_count, door
from riemann._points.faults import first
from riemann._statistics.sets import checked_sets, loosened, one_each
from riemann._types import Metric

_SHORTEST = 1e-7  # part of a step that is still tried
_LOST = 6  # steps that lose geodesics, in all, after which no more are tried


class FrechetMean(NamedTuple):
    r"""Means of sets of points of a batch.

    Attributes:
        point: the mean m, `(*batch, n)`; NaN where none was found.
        variance: $\sum_i w_i\, d(m, x_i)^2$ for weights that add up to 1, `(*batch,)`.
        error: the last step, the largest of the coordinates, of the best m found, `(*batch,)`.
        status: what became of each set, `(*batch,)`, values of `riemann.Status`.
    """

    point: Tensor
    variance: Tensor
    error: Tensor
    status: Tensor

    @property
    def message(self) -> str:
        """What happened, in a sentence, with the first set where something did."""
        bad = self.status != Status.SUCCESS
        if not bool(bad.any()):
            return "every mean was found" if bad.numel() != 1 else "the mean was found"
        where = first(bad) if bad.ndim else ()
        place = f" at {list(where)} of the batch" if where else ""
        error = float(self.error[where])
        if int(self.status[where]) == Status.SINGULAR:
            return (
                f"the mean{place} was not found: however short the steps to it, they lose the geodesics to some point, "
                "as at a pole of the coordinates or at an edge; write the metric in coordinates that are regular where "
                "the mean is, or give a `start=`"
            )
        if error == float("inf"):
            return (
                f"the mean{place} was not found: some point has no logarithm at the start; give a `start=` that "
                "geodesics reach all points from, or points that are closer together"
            )
        return (
            f"the mean{place} was not found: the last step was {error:.3g} in a coordinate; points that spread beyond "
            "a convex ball may have no mean, or many: give a `start=`, or raise `max_iterations`"
        )

    def checked(self) -> "FrechetMean":
        """Itself; raises where a mean was not found."""
        if bool((self.status != Status.SUCCESS).any()):
            raise RuntimeError(f"{self.message}. `throw=False` returns what was found, with a status for each set")
        return self


@overload
def frechet_mean(
    metric: Metric,
    points: Tensor,
    weights: Tensor | None = None,
    *,
    start: Tensor | None = None,
    max_iterations: int = 50,
    throw: Literal[True] = ...,
    **options: Any,
) -> Tensor: ...


@overload
def frechet_mean(
    metric: Metric,
    points: Tensor,
    weights: Tensor | None = None,
    *,
    start: Tensor | None = None,
    max_iterations: int = 50,
    throw: Literal[False],
    **options: Any,
) -> FrechetMean: ...


@door
def frechet_mean(
    metric: Metric,
    points: Float[Tensor, "*batch N n"],
    weights: Float[Tensor, "*#batch N"] | None = None,
    *,
    start: Float[Tensor, "*#batch n"] | None = None,
    max_iterations: int = 50,
    throw: bool = True,
    **options: Any,
) -> Any:
    r"""Fréchet mean (Karcher's), the m with the least $\sum_i w_i\, d(m, x_i)^2$ near where the search begins.

    Where $\sum_i w_i \log_m(x_i) = 0$; found by steps along it, which learn from each other (Broyden's method) and are
    shortened until the sum of squares falls.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        points: sets of N points, `(*batch, N, n)`.
        weights: not negative, `(*batch, N)` or what broadcasts; their sum does not matter. All the same by default.
        start: where to begin, broadcast against the batch; by default the mean of the coordinates, or the point of the
            set next to it where that has no geodesics to all of them.
        max_iterations: steps tried, each of which takes the logarithms of all points.
        throw: whether to raise where a set of the batch fails; otherwise the `FrechetMean` is returned.
        **options: as for `log_map`.

    Returns:
        `(*batch, n)`; the `FrechetMean` if `throw` is false.

    Raises:
        TypeError, ValueError: as `log_map`; weights that are not a tensor, or negative; a metric that is not
            positive definite.
        RuntimeError: no mean was found for some set (with `throw`).

    Note:
        Points inside a ball that is small enough for its curvature (of radius $\pi / 4$ on the unit sphere; any on a
        space of curvature $\le 0$) have one mean; others may have several, and one of them is found. First
        derivatives, to points, weights and parameters of the metric, are those of the implicit function; second ones
        raise. They take longer than the mean itself: where none are wanted of a network that is trained, call this
        under `torch.no_grad()`.

    Reference:
        Karcher, *Riemannian center of mass and mollifier smoothing*, Comm. Pure Appl. Math. 30 (1977).

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> frechet_mean(half_plane, torch.tensor([[0.0, 1.0], [0.0, 4.0]], dtype=torch.float64)).round(decimals=6)
        tensor([0., 2.], dtype=torch.float64)
    """
    points, weights = checked_sets(metric, points, weights, options)
    check_count("max_iterations", max_iterations, 1)
    batch, n = points.shape[:-2], points.shape[-1]
    x, w = points.reshape(-1, *points.shape[-2:]), weights.reshape(-1, weights.shape[-1])
    with torch.no_grad():
        given = None if start is None else one_each("start", start, points).detach().reshape(-1, n)
        found = _search(metric, x.detach(), w.detach(), given, max_iterations, options)
        good = (found.error <= _goal(found.m, options)) & ~found.lost
    point, variance = _implicit(metric, found, x, w, good, options)
    status = torch.where(good, Status.SUCCESS, torch.where(found.lost, Status.SINGULAR, Status.NOT_CONVERGED))
    result = FrechetMean(point.reshape(*batch, n), *(a.reshape(batch) for a in (variance, found.error, status)))
    return result.checked().point if throw else result


@door
def frechet_variance(
    metric: Metric,
    points: Float[Tensor, "*batch N n"],
    weights: Float[Tensor, "*#batch N"] | None = None,
    *,
    mean: Float[Tensor, "*#batch n"] | None = None,
    **options: Any,
) -> Float[Tensor, "*batch"]:
    r"""Fréchet variance, $\sum_i w_i\, d(m, x_i)^2$ about the mean m, for weights that add up to 1.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        points: sets of N points, `(*batch, N, n)`.
        weights: as for `frechet_mean`.
        mean: m, `(*batch, n)`, where it is known; `frechet_mean` by default.
        **options: as for `frechet_mean`; of `log_map` where the mean is given.

    Returns:
        `(*batch,)`. It divides by N, not by N - 1.

    Raises:
        TypeError, ValueError, RuntimeError: as `frechet_mean`.

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=torch.float64) / x[1] ** 2
        >>> x = torch.tensor([[0.0, 1.0], [0.0, 4.0]], dtype=torch.float64)
        >>> frechet_variance(half_plane, x).sqrt().exp().round(decimals=6)
        tensor(2., dtype=torch.float64)
    """
    if mean is None:
        return frechet_mean(metric, points, weights, throw=False, **options).checked().variance
    points, weights = checked_sets(metric, points, weights, options)
    mean = one_each("mean", mean, points)
    v = log_map(metric, mean.unsqueeze(-2), points, **options)
    (g,) = jets_of(metric, mean, 0)
    return torch.einsum("...N,...ij,...Ni,...Nj->...", weights, g, v, v)


# ------------------------------------------------------------------------------------------------------ the search


def _goal(m: Tensor, options: dict[str, Any]) -> Tensor:
    """How large the last step may be."""
    return 10 * tolerance(options.get("rtol"), m) * m.abs().amax(-1).clamp(min=1.0)


class _Pull(NamedTuple):
    """What the points of sets pull at m by: the mean of logarithms v, half the variance; NaN where one is missing."""

    force: Tensor
    height: Tensor
    g: Tensor
    v: Tensor


def _pull(metric: Metric, m: Tensor, v: Tensor, w: Tensor) -> _Pull:
    """Of the logarithms v, `(b, N, n)`."""
    (g,) = jets_of(metric, m, 0)
    force = torch.einsum("bN,bNi->bi", w, v)
    return _Pull(force, 0.5 * torch.einsum("bN,bij,bNi,bNj->b", w, g, v, v), g, v)


def _weighty(m: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """The points, but for those without a weight, which need not be reached."""
    return torch.where(w[..., None] > 0, x, m.detach()[:, None])


class _Sets:
    """Sets of points x `(b, N, n)`, and the geodesics to them, which are followed as the means move."""

    def __init__(self, metric: Metric, x: Tensor, w: Tensor, options: dict[str, Any]):
        self.metric, self.x, self.w = metric, x, w
        self.options = {True: options, False: loosened(options, x)}  # of exact pulls, and of others
        self.bend: Tensor | None = None

    def pull(self, m: Tensor, lanes: Tensor, exact: bool, afar: bool = True) -> _Pull:
        """At m, of some of the sets; of geodesics near those known only, if they are not looked for `afar`."""
        w = self.w[lanes]
        x = _weighty(m, self.x[lanes], w)
        near = None if self.bend is None else self.bend[lanes]
        v, bend = followed_log(self.metric, m[:, None], x, near, exact=exact, afar=afar, **self.options[exact])
        if self.bend is None:
            self.bend = bend.new_zeros(len(self.x), *bend.shape[1:])
        self.bend[lanes] = bend.nan_to_num(0.0)
        return _pull(self.metric, m, v, w)

    def rounding(self, here: _Pull, m: Tensor, exact: bool) -> Tensor:
        """How well half the variance is known: logarithms end within 5 times the tolerance, of whatever length."""
        rtol = tolerance(self.options[exact].get("rtol"), m)
        miss = 5 * rtol * m.abs().amax(-1).clamp(min=1.0) * here.g.abs().sum((-1, -2)).sqrt()
        return max(1e-6, 10 * rtol) * here.height + 2 * miss * (2 * here.height).sqrt()

    def sensitivity(self, m: Tensor) -> Tensor:
        """Roughly, how far the means are moved by a change of the force, `(b, n, n)`: in flat space, as far."""
        b, N, n = self.x.shape
        unit = torch.eye(n, dtype=m.dtype, device=m.device).expand(b, n, n)
        if n > FULL_JETS or self.bend is None:
            return unit.clone()
        ends = m[:, None].expand_as(self.x).flatten(0, 1), _weighty(m, self.x, self.w).flatten(0, 1)
        moved = moved_log(self.metric, *ends, self.bend.flatten(0, 1)).to(m).unflatten(0, (b, N))
        B = torch.linalg.inv_ex(-torch.einsum("bN,bNki->bki", self.w, moved))[0]
        return torch.where(B.isfinite().all(-1, keepdim=True).all(-2, keepdim=True), B, unit)


class _Found(NamedTuple):
    """The m found for each set, its last step, infinite where there was none, the pull there; where steps get lost."""

    m: Tensor
    error: Tensor
    here: _Pull
    lost: Tensor


def _search(
    metric: Metric, x: Tensor, w: Tensor, start: Tensor | None, max_iterations: int, options: dict[str, Any]
) -> _Found:
    """By logarithms as relaxed, to where one or two of those that are exact are enough."""
    first = torch.einsum("bN,bNi->bi", w, x) if start is None else start
    m = first.clone()
    sets = _Sets(logarithm.for_one_call(metric, x.flatten(0, 1)), x, w, options)
    every = torch.arange(len(x), device=x.device)
    here = sets.pull(m, every, exact=False)
    B = sets.sensitivity(m)
    losses = torch.zeros_like(every)
    _, tried = _descend(sets, here, m, B, losses, max_iterations - 1, exact=False)

    here, B = sets.pull(m, every, exact=True), sets.sensitivity(m)
    gap = torch.where(w > 0, (x - first[:, None]).square().sum(-1), torch.inf)
    nearest = x.gather(1, gap.argmin(-1)[:, None, None].expand(-1, 1, x.shape[-1]))[:, 0]
    for other in (first,) if start is not None else (first, nearest):
        lost = (here.force.isnan().any(-1) & (m != other).any(-1)).nonzero()[:, 0]
        if len(lost):
            m[lost] = other[lost]
            for old, new in zip(here, sets.pull(m[lost], lost, exact=True), strict=True):
                old[lost] = new
    error, _ = _descend(sets, here, m, B, losses, max_iterations - tried, exact=True)
    return _Found(m, error, here, losses >= _LOST)


def _descend(
    sets: _Sets, here: _Pull, m: Tensor, B: Tensor, losses: Tensor, max_iterations: int, exact: bool
) -> tuple[Tensor, int]:
    """Steps, written over m, the pull there, and the inverse derivatives B of forces: the last ones, and how many.

    Those that lose geodesics are added to `losses`.
    """
    size, error = torch.ones_like(m[:, 0]), torch.full_like(m[:, 0], torch.inf)
    shortest = _SHORTEST if exact else 1e-2
    on = here.force.isfinite().all(-1).nonzero()[:, 0]
    for tried in range(max_iterations):
        step = _downhill(here, B)
        error[on] = step[on].abs().amax(-1)
        done = error[on] <= _goal(m[on], sets.options[exact])
        m[on[done]] += step[on[done]]
        on = on[~done & (size[on] > shortest) & (losses[on] < _LOST)]
        if len(on) == 0:
            return error, tried
        s = size[on, None] * step[on]
        new = sets.pull(m[on] + s, on, exact, afar=False)
        losses[on] += new.force.isnan().any(-1)
        old = _Pull(*(a[on] for a in here))
        better = _is_better(old, s, new, sets.rounding(old, m[on], exact))
        size[on] = torch.where(better, 1.0, size[on] / 4)
        lanes = on[better]
        B[lanes] = _learned(B[lanes], s[better], here.force[lanes] - new.force[better])
        m[lanes] += s[better]
        for known, changed in zip(here, new, strict=True):
            known[lanes] = changed[better]
    return error, max_iterations


def _downhill(here: _Pull, B: Tensor) -> Tensor:
    """The step that B makes of the force, where it leads down; the force itself elsewhere."""
    step = matvec(B, here.force)
    down, full = (bilinear(here.g, here.force, v) for v in (step, here.force))
    return torch.where((down > 0.1 * full)[:, None], step, here.force)


def _is_better(here: _Pull, s: Tensor, new: _Pull, rounding: Tensor) -> Tensor:
    """Whether the sum of squares falls as its slope promises, or, near the mean, where it rounds, the force does."""
    slope = bilinear(here.g, here.force, s)
    falls = new.height <= here.height - 1e-4 * slope
    weaker = new.force.abs().amax(-1) <= 0.5 * here.force.abs().amax(-1)
    weaker &= new.height <= here.height + rounding
    return (falls | weaker) & new.force.isfinite().all(-1)


def _learned(B: Tensor, s: Tensor, change: Tensor) -> Tensor:
    """Broyden's update of the inverse derivative of the force, by the change of the force that a step s made."""
    By = matvec(B, change)
    sB = torch.einsum("bi,bij->bj", s, B)
    scale = torch.einsum("bi,bi->b", s, By)[:, None, None]
    update = (s - By)[:, :, None] * sB[:, None, :] / torch.where(scale.abs() > 1e-30, scale, torch.inf)
    return B + update


def _implicit(
    metric: Metric, found: _Found, x: Tensor, w: Tensor, good: Tensor, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """The means, and their variances, with the derivatives that the vanishing of the force gives them."""
    lanes = good.nonzero()[:, 0]
    point, variance = torch.full_like(found.m, torch.nan), torch.full_like(found.error, torch.nan)
    if len(lanes) == 0:
        return point, variance
    m, x, w = found.m[lanes], x[lanes], w[lanes]
    v, height = found.here.v[lanes], found.here.height[lanes]

    if torch.is_grad_enabled() and carry_derivatives(x, w, jets_of(metric, m, 0)[0]):

        def force(m: Tensor) -> tuple[tuple[Tensor], list[Tensor]]:
            here = _pull(metric, m, known_log(metric, m[:, None], _weighty(m, x, w), v, **options), w)
            return (here.force,), [here.force, here.height]

        m, height = _jets.implicit(force, m, "frechet_mean")
    return point.index_put((lanes,), m), variance.index_put((lanes,), 2 * height)
