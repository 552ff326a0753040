"""Integrals over a coordinate box with the Riemannian volume, by composite Gauss-Legendre quadrature."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._metric import metric_jet
from riemann._types import Field, Metric


class Integral(NamedTuple):
    """An integral and the estimate of its error: the change when the panels were halved last."""

    value: Tensor
    error: Tensor


def integrate(
    metric: Metric,
    f: Field,
    box: Sequence[Sequence[int | float]],
    *,
    rtol: float = 1e-10,
    max_points: int = 2**20,
    chunk_size: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Integral:
    r"""Integral of a scalar field over a coordinate box, $\int f \sqrt{|\det g|}\, dx^1 \dots dx^n$.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        f: scalar field, one point `(n,)` to `()`.
        box: `((low, high), …)`, finite bounds of each coordinate. They may lie on a coordinate singularity (a pole):
            the nodes are inside.
        rtol: panels are halved until the value changes by less than `rtol` times itself.
        max_points: … or until this many points would be exceeded.
        chunk_size: points at a time; bounds memory.
        dtype: of the points, so of the result.
        device: of the points, so of the result.

    Returns:
        `.value` and `.error`, scalars. An error above `rtol * |value|` says that `max_points` came first.

    Raises:
        ValueError: bounds that are not finite or not in order, f that is not scalar, g that is no metric at a node.

    Note:
        Differentiable to the parameters of `metric` and `f`. Cost grows as nodes**n: for n > 4 take few digits.

    Example:
        >>> sphere = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> area = integrate(sphere, lambda x: torch.cos(x[0]) ** 2, ((0, torch.pi), (0, 2 * torch.pi))).value
        >>> abs(area - 4 * torch.pi / 3) < 1e-12
        tensor(True)
    """
    n = len(box)
    for k, bounds in enumerate(box):
        if len(bounds) != 2 or not all(math.isfinite(b) for b in bounds) or not bounds[0] < bounds[1]:
            raise ValueError(f"`box[{k}]` is {tuple(bounds)}, expected finite (low, high) with low < high")
    nodes = min(16, max(3, int(20_000 ** (1 / n))))  # of a panel; a panel more costs 2**n times as much
    previous = None
    for panels in itertools.count():
        x, weights = _nodes(box, nodes, 2**panels, dtype, device)
        value = (weights * _density(metric, f, x, chunk_size)).sum()
        if previous is not None:
            error = (value - previous).detach().abs()
            if error <= rtol * value.detach().abs() or (nodes * 2 ** (panels + 1)) ** n > max_points:
                return Integral(value, error)
        previous = value
    raise AssertionError("unreachable")


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
        >>> volume(sphere, ((0, torch.pi), (0, 2 * torch.pi))).value / torch.pi
        tensor(4.0000, dtype=torch.float64)
    """
    return integrate(metric, lambda x: x.new_ones(()), box, **options)  # type: ignore[arg-type]


def _density(metric: Metric, f: Field, x: Tensor, chunk_size: int | None) -> Tensor:
    (g,) = metric_jet(metric, x, 0, chunk_size=chunk_size)
    (values,) = _jets.jet(f, x, 0, chunk_size=chunk_size)
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
