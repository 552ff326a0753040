"""Integrals over a coordinate box with the Riemannian volume, by composite Gauss-Legendre quadrature."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._chunks import in_chunks
from riemann._metric import metric_jet
from riemann._types import ChunkSize, Field, Metric, Progress


class Integral(NamedTuple):
    """An integral and the estimate of its error: what further halvings would add if changes shrink as they did."""

    value: Tensor
    error: Tensor


def integrate(
    metric: Metric,
    f: Field,
    box: Sequence[Sequence[int | float]],
    *,
    rtol: float = 1e-10,
    max_points: int = 2**20,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Integral:
    r"""Integral of a scalar field over a coordinate box, $\int f \sqrt{|\det g|}\, dx^1 \dots dx^n$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        f: scalar field, one point `(n,)` to `()`.
        box: `((low, high), …)`, finite bounds of each coordinate. They may lie on a coordinate singularity (a pole):
            the nodes are inside.
        rtol: panels are halved until the error is less than `rtol` times the integral of |f|, twice in a row.
        max_points: the most points of one evaluation.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.
        dtype: of the points, so of the result.
        device: of the points, so of the result.

    Returns:
        `.value` and `.error`, scalars. A larger error than asked for says that `max_points` came first.

    Raises:
        ValueError: bounds that are not finite or not in order, f that is not scalar, g that is no metric at a node,
            fewer `max_points` than two evaluations need (4ⁿ).

    Note:
        Differentiable to the parameters of `metric` and `f`. Cost grows as nodes**n: for n > 4 take few digits.

    Example:
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> area = integrate(sphere, lambda x: torch.cos(x[0]) ** 2, ((0, torch.pi), (0, 2 * torch.pi))).value
        >>> abs(area - 4 * torch.pi / 3) < 1e-12
        tensor(True)
    """
    n = checked_dimension(box)
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
        terms = weights * in_chunks(
            functools.partial(_density, metric, f), x, rank=2, chunk_size=chunk_size, progress=progress
        )
        values.append(terms.sum())
        if panels:
            errors.append(_error(*(value.detach() for value in values[-3:])))
        if len(errors) > 1 and max(errors[-2:]) <= rtol * terms.detach().abs().sum():
            return Integral(values[-1], errors[-1])
    raise AssertionError("unreachable")


def checked_dimension(box: Sequence[Sequence[int | float]]) -> int:
    """The dimension of a box of coordinates; raises unless its bounds are finite and in order."""
    if len(box) == 0:
        raise ValueError("`box` is empty, expected ((low, high), …), one pair a coordinate")
    for k, bounds in enumerate(box):
        pair = tuple(bounds) if isinstance(bounds, Sequence) else (bounds,)
        if len(pair) != 2 or not all(math.isfinite(b) for b in pair) or not pair[0] < pair[1]:
            raise ValueError(f"`box[{k}]` is {bounds!r}, expected finite (low, high) with low < high")
    return len(box)


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


def _density(metric: Metric, f: Field, x: Tensor) -> Tensor:
    (g,) = metric_jet(metric, x, 0)
    (values,) = _jets.jet(f, x, 0)
    if values.shape != x.shape[:-1]:
        raise ValueError(f"`f` returned shape {tuple(values.shape[1:])} at one point, expected (): a scalar field")
    if bool(g.isnan().any()):
        where = x[_jets.first(g.isnan().any(-1).any(-1))].tolist()
        raise ValueError(f"`metric` is no metric at {where}, a point of the box; choose a box inside the chart")
    return values * formulas.volume_element(g)


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
