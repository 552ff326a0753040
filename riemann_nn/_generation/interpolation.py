"""Curves between points: straight ones, geodesics, and polygons of least energy."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import riemann
from riemann_nn._charts.induced import InducedMetric
from riemann_nn._fields.metric_net import MetricNet
from riemann_nn._generation.flow import DensityMetric


def straight(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points of straight lines between a and b, `(*batch, n)`, at parameters `(t,)`: `(t, *batch, n)`."""
    return torch.lerp(a, b, t.reshape(-1, *[1] * a.ndim))


def geodesics(metric: Any, a: Tensor, b: Tensor, t: Tensor, throw: bool, options: dict[str, Any]) -> Tensor:
    """Points of geodesics; NaN where none is found, unless that is an error."""
    found = riemann.log_map(metric, a, b, throw=False, **options)
    v = found.checked() if throw else found.velocities
    lost = v.isnan().any(-1, keepdim=True)
    shared = {key: options[key] for key in ("rtol", "atol", "max_steps", "chart") if key in options}
    curve = riemann.geodesic(metric, a, torch.where(lost, 0.0, v), t, throw=throw, **shared).points
    return torch.where(lost, torch.nan, curve)


def polygons(
    metric: Any,
    ends: tuple[Tensor, Tensor],
    others: tuple[Tensor, Tensor],
    back: Callable[[Tensor], Tensor],
    sides: int,
    t: Tensor,
) -> Tensor:
    """Points of polygons of least energy, near the straight line or the image by `back` of that between `others`."""
    if not isinstance(sides, int) or sides < 2:
        raise ValueError(f"`sides` is {sides!r}, expected a whole number, 2 or more")
    if not bool(((t >= 0) & (t <= 1)).all()):
        raise ValueError("`t` is not between 0 and 1: a polygon ends at `a` and `b`; leave `sides` out to go on")
    s = torch.linspace(0, 1, sides + 1, dtype=t.dtype, device=t.device)
    line, other = straight(*ends, s), back(straight(*others, s)).clone()
    other[0], other[-1] = ends
    polygon = least_energy(metric, torch.stack((line, other)).reshape(2, sides + 1, -1, line.shape[-1]))
    polygon = polygon.reshape(line.shape)
    at = t * sides
    k = at.floor().clamp(0, sides - 1)
    return torch.lerp(polygon[k.long()], polygon[k.long() + 1], (at - k).reshape(-1, *[1] * (line.ndim - 1)))


def least_energy(metric: Any, lines: Tensor, max_iterations: int = 100) -> Tensor:
    r"""The polygon of least $\sum_k g(m_k)(d_k, d_k)$, of sides d with midpoints m, found from one of several starts.

    By L-BFGS in coordinates of the inner nodes in which the energy of a flat metric is the square of their length. It
    is never more than at the start.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        lines: starts that share their ends, `(starts, sides + 1, pairs, n)`.
        max_iterations: of L-BFGS, for all pairs at once.

    Returns:
        `(sides + 1, pairs, n)`, without derivatives.
    """
    lines = lines.detach()
    inner = lines.shape[1] - 2
    beside = torch.ones(inner - 1).diag(1)
    bend = 2 * torch.eye(inner) - beside - beside.mT
    R = torch.linalg.cholesky(bend.to(lines), upper=True)
    size = _energy(metric, lines).detach()
    size = torch.where(size > 0, size, torch.ones_like(size))
    c = torch.einsum("kl,slpi->skpi", R, lines[:, 1:-1]).contiguous().requires_grad_()

    def nodes() -> Tensor:
        between = torch.linalg.solve_triangular(R, c.movedim(1, 0).flatten(1), upper=True)
        between = between.unflatten(1, (len(lines), *lines.shape[2:])).movedim(0, 1)
        return torch.cat((lines[:, :1], between, lines[:, -1:]), 1)

    optimizer = torch.optim.LBFGS(
        [c], max_iter=max_iterations, history_size=20, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        total = (_energy(metric, nodes()) / size).sum()
        c.grad = riemann.recorded_gradients(total, [c])[0].contiguous()
        return total.detach()

    with torch.enable_grad():
        optimizer.step(closure)
    with torch.no_grad():
        found = torch.cat((nodes(), lines))
        energy = _energy(metric, found)
        best = torch.where(energy.isnan(), math.inf, energy).argmin(0)
        return found[best, :, torch.arange(len(best), device=best.device)].movedim(0, 1)


def _energy(metric: Any, nodes: Tensor) -> Tensor:
    """Of each polygon, `(starts, pairs)`."""
    d, middle = nodes.diff(dim=1), (nodes[:, 1:] + nodes[:, :-1]) / 2
    if isinstance(metric, DensityMetric):
        return len(d[0]) * metric.squared_lengths(middle, d).sum(1)
    batches = isinstance(metric, MetricNet | InducedMetric)
    g = metric(middle) if batches else riemann.at(metric, middle, 0).g
    return len(d[0]) * torch.einsum("skpi,skpij,skpj->skp", d, g, d).sum(1)
