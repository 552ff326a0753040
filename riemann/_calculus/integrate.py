"""The Riemannian volume on a coordinate box: integrals by quadrature, or at random in many dimensions, and samples."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._metric import checked_jet
from riemann._points.checks import check_count
from riemann._points.chunks import in_chunks
from riemann._points.faults import first
from riemann._precision import full_precision
from riemann._types import ChunkSize, Field, Metric, Progress


class Integral(NamedTuple):
    """An integral and its error: what further halvings would add, or the standard error of a random estimate."""

    value: Tensor
    error: Tensor


def integrate(
    metric: Metric,
    f: Field,
    box: Sequence[Sequence[int | float]],
    *,
    rtol: float = 1e-10,
    max_points: int = 2**20,
    num_samples: int | None = None,
    generator: torch.Generator | None = None,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Integral:
    r"""Integral of a scalar field over a coordinate box, $\int f \sqrt{|\det g|}\, dx^1 \dots dx^n$.

    Up to four dimensions by composite Gauss-Legendre quadrature; in more, or with `num_samples`, by randomised
    quasi-Monte Carlo: the mean over 32 random shifts of one set of Sobol points, which is unbiased.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        f: scalar field, one point `(n,)` to `()`.
        box: `((low, high), …)`, finite bounds of each coordinate. They may lie on a coordinate singularity (a pole):
            the nodes are inside.
        rtol: panels are halved until the error is less than `rtol` times the integral of |f|, twice in a row.
        max_points: the most points of one evaluation.
        num_samples: random points, 32 or more; by default 65,536 for n > 4 and none for less. `rtol` is not asked then.
        generator: source of their randomness, on `device`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.
        dtype: of the points, so of the result.
        device: of the points, so of the result.

    Returns:
        `.value` and `.error`, scalars. The error is an estimate: of what further halvings would add if changes shrink
        as they did (more than was asked for says that `max_points` came first); or the standard error of the 32 means.

    Raises:
        ValueError: bounds that are not finite or not in order, f that is not scalar, g that is not a metric at a node,
            fewer `max_points` than two evaluations need (4ⁿ).

    Note:
        Differentiable to the parameters of `metric` and `f`.

    Reference:
        L'Ecuyer, Lemieux, *Recent advances in randomized quasi-Monte Carlo methods* (2002).

    Example:
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> area = integrate(sphere, lambda x: torch.cos(x[0]) ** 2, ((0, torch.pi), (0, 2 * torch.pi))).value
        >>> abs(area - 4 * torch.pi / 3) < 1e-12
        tensor(True)
    """
    n = checked_dimension(box)

    def density(x: Tensor) -> Tensor:
        one_piece = functools.partial(_density, metric, f)
        light = _jets.weight_of(metric, f)
        return in_chunks(one_piece, x, rank=2, light=light, chunk_size=chunk_size, progress=progress)

    if num_samples is not None or n > QUADRATURE:
        count = min(2**16, max_points) if num_samples is None else num_samples
        return _at_random(density, box, count, generator, dtype, device)
    nodes = min(16, max(3, int(20_000 ** (1 / n))), int(max_points ** (1 / n) + 1e-9) // 2)  # of a panel
    if nodes < 2:
        raise ValueError(
            f"`max_points` is {max_points}, and {n} dimensions need {4**n} (two panels of two nodes an axis)"
        )
    values: list[Tensor] = []
    errors: list[Tensor] = []
    for panels in itertools.count():
        if (nodes * 2**panels) ** n > max_points:
            return Integral(values[-1], errors[-1])
        x, weights = _nodes(box, nodes, 2**panels, dtype, device)
        terms = weights * density(x)
        values.append(terms.sum())
        if panels:
            errors.append(_error(*(value.detach() for value in values[-3:])))
        if len(errors) > 1 and max(errors[-2:]) <= rtol * terms.detach().abs().sum():
            return Integral(values[-1], errors[-1])
    raise AssertionError("unreachable")


def checked_dimension(box: Sequence[Sequence[int | float]]) -> int:
    """The dimension of a box of coordinates; raises unless its bounds are finite and in order."""
    if not isinstance(box, Sequence) or isinstance(box, str):
        raise TypeError(f"`box` is a {type(box).__name__}, expected ((low, high), …), one pair a coordinate")
    if len(box) == 0:
        raise ValueError("`box` is empty, expected ((low, high), …), one pair a coordinate")
    for k, bounds in enumerate(box):
        pair = tuple(bounds) if isinstance(bounds, Sequence) else (bounds,)
        if len(pair) != 2 or not all(map(_is_finite, pair)) or not pair[0] < pair[1]:
            raise ValueError(f"`box[{k}]` is {bounds!r}, expected finite (low, high) with low < high")
    return len(box)


def _is_finite(number: object) -> bool:
    try:
        return math.isfinite(number)  # type: ignore[arg-type]
    except TypeError:
        return False


def _error(*values: Tensor) -> Tensor:
    """The rest of a geometric series of changes; the last change where there is but one."""
    changes = [(b - a).abs() for a, b in itertools.pairwise(values)]
    if len(changes) < 2 or changes[1] == 0:
        return changes[-1]
    shrinks = changes[1] / changes[0]
    return changes[1] * torch.clamp(shrinks / (1 - shrinks), min=1.0) if shrinks < 1 else changes[1] * math.inf


def volume(metric: Metric, box: Sequence[Sequence[int | float]], **options: object) -> Integral:
    r"""Riemannian volume of a coordinate box, $\int \sqrt{|\det g|}\, dx^1 \dots dx^n$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        box: `((low, high), …)`, finite bounds of each coordinate.
        **options: as for `integrate`.

    Returns:
        `.value` and `.error`, scalars.

    Raises:
        ValueError: as `integrate`.

    Example:
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> (volume(sphere, ((0, torch.pi), (0, 2 * torch.pi))).value / torch.pi).round(decimals=9)
        tensor(4., dtype=torch.float64)
    """
    return integrate(metric, lambda x: x.new_ones(()), box, **options)  # type: ignore[arg-type]


def random_uniform(
    metric: Metric,
    box: Sequence[Sequence[int | float]],
    num_samples: int,
    generator: torch.Generator | None = None,
    *,
    chunk_size: ChunkSize = "auto",
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Points of a coordinate box, uniform in the Riemannian volume: independent, of density $\propto \sqrt{|\det g|}$.

    By rejection under an empirical supremum: the bound is 1.1 times the largest volume element seen so far, and all
    points are drawn anew whenever a larger one is seen.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        box: `((low, high), …)`, finite bounds of each coordinate.
        num_samples: points to draw.
        generator: source of randomness, on `device`.
        chunk_size: points at a time, or memory as in `"2GB"`.
        dtype: of the points.
        device: of the points.

    Returns:
        `(num_samples, n)`.

    Raises:
        ValueError: as `integrate`; or fewer than one proposal in 10,000 is kept: the volume element has a peak that the
            rest of the box does not reach, or no bound.

    Note:
        Exact where the volume element keeps below the final bound. A peak above it, which none of the proposals (8,192
        at least) has met, is cut off at the bound. No derivatives.

    Reference:
        Caffo, Booth, Davis, *Empirical supremum rejection sampling*, Biometrika 89 (2002).

    Example:
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> x = random_uniform(sphere, ((0, torch.pi), (0, 2 * torch.pi)), 10_000, torch.Generator().manual_seed(0))
        >>> abs(torch.cos(x[:, 0]).mean()) < 0.02, abs(torch.cos(x[:, 0]).square().mean() - 1 / 3) < 0.01
        (tensor(True), tensor(True))
    """
    checked_dimension(box)
    check_count("num_samples", num_samples, 0)
    log_volume = lambda x: formulas.log_volume_element(_checked_metric(metric, x))
    bound, kept, tried = -math.inf, [], 0
    with torch.no_grad(), full_precision():
        while (found := sum(map(len, kept))) < num_samples:
            if tried > 20_000 and found * 10_000 < tried:
                raise ValueError(
                    f"{found} of {tried} points of `box` were kept: the volume element has a peak there, or no bound; "
                    "choose a box without it, or divide the box"
                )
            x = _affine(torch.rand(PROPOSALS, len(box), generator=generator, dtype=dtype, device=device), box)
            size = in_chunks(log_volume, x, rank=2, light=_jets.weight_of(metric), chunk_size=chunk_size)
            if (largest := float(size.max())) > bound:
                bound, kept, tried = largest + math.log(1.1), [], 0
                continue
            u = torch.rand(PROPOSALS, generator=generator, dtype=dtype, device=device)
            kept.append(x[u.log() < size - bound])
            tried += PROPOSALS
    return torch.cat(kept)[:num_samples] if kept else torch.empty(0, len(box), dtype=dtype, device=device)


QUADRATURE = 4  # dimensions in which nodes**n is still few
SHIFTS = 32  # independent estimates, whose spread is the error
PROPOSALS = 2**12  # at a time


def _at_random(
    density: Field,
    box: Sequence[Sequence[int | float]],
    num_samples: int,
    generator: torch.Generator | None,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> Integral:
    """The mean over random shifts of Sobol points, and its standard error."""
    check_count("num_samples", num_samples, SHIFTS)
    points = torch.quasirandom.SobolEngine(len(box)).draw(num_samples // SHIFTS, dtype=dtype).to(device)
    shifts = torch.rand(SHIFTS, 1, len(box), generator=generator, dtype=dtype, device=device)
    x = _affine((points + shifts) % 1, box)
    means = density(x).mean(-1) * math.prod(high - low for low, high in box)
    return Integral(means.mean(), means.detach().std() / SHIFTS**0.5)


def _affine(u: Tensor, box: Sequence[Sequence[int | float]]) -> Tensor:
    """Points of the unit cube in the box."""
    low, high = torch.tensor(box, dtype=u.dtype, device=u.device).unbind(-1)
    return low + (high - low) * u


def _density(metric: Metric, f: Field, x: Tensor) -> Tensor:
    g = _checked_metric(metric, x)
    (values,) = _jets.jet(f, x, 0)
    if values.shape != x.shape[:-1]:
        got = tuple(values.shape[x.ndim - 1 :])
        raise ValueError(f"`f` returned shape {got} at one point, expected (): a scalar field")
    return values * formulas.volume_element(g)


def _checked_metric(metric: Metric, x: Tensor) -> Tensor:
    (g,), faults = checked_jet(metric, x, 0)
    for fault, mask in faults.items():
        if bool(mask.any()):
            where = x[first(mask)].tolist()
            raise ValueError(f"`metric` {fault} at {where}, a point of the box; choose a box inside the chart")
    return g


def _nodes(
    box: Sequence[Sequence[int | float]], nodes: int, panels: int, dtype: torch.dtype, device: torch.device | str | None
) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes `(points, n)` and weights `(points,)` of `panels` equal panels along each axis."""
    from numpy.polynomial.legendre import leggauss

    t, w = (torch.from_numpy(a).to(device=device, dtype=dtype) for a in leggauss(nodes))
    axes, weights = [], []
    for low, high in box:
        width = (high - low) / panels
        starts = low + width * torch.arange(panels, dtype=dtype, device=device)
        axes.append((starts[:, None] + 0.5 * width * (1 + t)).reshape(-1))
        weights.append((0.5 * width * w).repeat(panels))
    x = torch.cartesian_prod(*axes).reshape(-1, len(box))
    return x, torch.cartesian_prod(*weights).reshape(-1, len(box)).prod(-1)
