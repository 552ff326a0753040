r"""Curves to begin a search for geodesics from: of low path energy, $\int g(\dot\gamma, \dot\gamma)\, ds$."""

import math
import random

import torch
from torch import Tensor

from riemann._indices import matvec
from riemann._metric import jets_of
from riemann._types import Metric

SEGMENTS = 64
_STEPS = 60
_WAVES = 3  # of a random start


def straight(x: Tensor, y: Tensor) -> Tensor:
    """Points of straight lines, `(b, SEGMENTS + 1, n)`."""
    s = torch.linspace(0, 1, SEGMENTS + 1, dtype=x.dtype, device=x.device)[:, None]
    return x[:, None] + s * (y - x)[:, None]


def waved(x: Tensor, y: Tensor, count: int) -> Tensor:
    """Lines from x to y that are bent by chance, always the same, `(count, b, SEGMENTS + 1, n)`."""
    draw = random.Random(0).gauss  # torch's own refuses inside transforms
    s = torch.linspace(0, 1, SEGMENTS + 1, dtype=x.dtype)
    k = torch.arange(1, _WAVES + 1, dtype=x.dtype)
    waves = torch.sin(torch.pi * s[:, None] * k) / k
    shape = (count, len(x), _WAVES, x.shape[1])
    heights = torch.tensor([draw(0, 1) for _ in range(math.prod(shape))], dtype=x.dtype, device=x.device).reshape(shape)
    size = (y - x).norm(dim=-1)[:, None, None]
    return straight(x, y) + 0.7 * size * torch.einsum("sk,cbkn->cbsn", waves.to(x.device), heights)


def lowered(metric: Metric, points: Tensor, dtype: torch.dtype) -> Tensor:
    """Polygons `(b, SEGMENTS + 1, n)` between the same ends with less energy, by descent along the smooth gradient."""
    points = points.clone()
    energy, gradient, weight = _energy(metric, points, dtype)
    size = torch.ones_like(energy)
    for _ in range(_STEPS):
        on = (energy.isfinite() & (size > 1e-4)).nonzero()[:, 0]
        if len(on) == 0:
            break
        step = torch.linalg.solve_ex(_laplacian(weight[on]), gradient[on])[0]
        trial = points[on]
        trial[:, 1:-1] -= size[on, None, None] * step
        new, slope, heavy = _energy(metric, trial, dtype)
        better = new < energy[on]
        lanes = on[better]
        points[lanes], energy[lanes] = trial[better], new[better]
        gradient[lanes], weight[lanes] = slope[better], heavy[better]
        size[on] = torch.where(better, (1.5 * size[on]).clamp(max=1.0), size[on] / 3)
    return points


def _energy(metric: Metric, points: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The energy, its gradient at the inner points, and the mean of g's diagonal at the middles of segments."""
    step, middle = points.diff(dim=1), (points[:, 1:] + points[:, :-1]) / 2
    g, dg = (a.double() for a in jets_of(metric, middle.to(dtype), 1))
    lowered = matvec(g, step)
    each = (lowered * step).sum(-1)
    pull = 0.5 * torch.einsum("bsijk,bsi,bsj->bsk", dg, step, step)
    gradient = 2 * (lowered[:, :-1] - lowered[:, 1:]) + pull[:, :-1] + pull[:, 1:]
    energy = torch.where((each > 0).all(1), each.sum(1), torch.inf).nan_to_num(torch.inf)
    return energy, gradient.nan_to_num(0.0), g.diagonal(dim1=-2, dim2=-1).mean(-1).nan_to_num(1.0)


def _laplacian(weight: Tensor) -> Tensor:
    """The second derivative of the energy for a metric that stands still, `(b, m, m)`."""
    inner = 2 * (weight[:, 1:] + weight[:, :-1])
    beside = -2 * weight[:, 1:-1]
    return torch.diag_embed(inner) + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
