"""Points where a metric can be looked at, when the user names none."""

import warnings

import torch
from torch import Tensor

from riemann._metric import is_asymmetric, jets_of, metric_jet
from riemann._types import Metric

_INTERVALS = ((0.1, 0.9), (1.1, 2.1), (2.1, 3.0), (2.5, 4.0), (5.0, 8.0), (0.01, 0.1), (-3.0, -2.0))
_EVEN = 1e4  # a box in which g varies and leans by less is a good place to look
_SINGULAR = 1e10


def sample_points(metric: Metric, n: int, count: int | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
    """Points of a box in which the metric is finite, of one signature and far from singular.

    The origin and points on the axes come first, where they are in the box and g is such a metric there, too.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        n: dimension.
        count: points inside the box; 8 by default, fewer in more than 4 dimensions.
        dtype: of the points.

    Returns:
        `(points, n)`.

    Raises:
        ValueError: there is not such a box among those tried.
    """
    count = max(2, min(8, 32 // n)) if count is None else count
    generator = torch.Generator().manual_seed(0)
    unit = torch.rand(64, n, generator=generator, dtype=torch.float64)
    best, least = None, _SINGULAR
    ball = 0.9 / n**0.5  # a cube inside the unit ball
    for low, high in ((-ball, ball), *_INTERVALS):
        inside = (low + (high - low) * unit).to(dtype)
        signature, spread = _look(metric, inside)
        if bool((signature == signature[0]).all()) and float(spread.amax()) < least:
            best, least = (low, high, inside, signature[0]), float(spread.amax())
        if least < _EVEN:
            break
    if best is None:
        g = jets_of(metric, unit.to(dtype), 0)
        use = (
            "write it so that g_ij = g_ji"
            if bool(is_asymmetric(g, 1e-3).all())
            else "pass points of its domain as `x=`"
        )
        raise ValueError(
            f"no box was found in which `metric` is finite, symmetric, invertible and of one signature (n = {n}); {use}"
        )
    low, high, inside, signature = best
    middle, quarter = 0.5 * (low + high), 0.25 * (high - low)
    special = torch.cat((torch.zeros(1, n), torch.diag(torch.full((n,), middle + quarter)))).to(dtype)
    special = special[: 1 + min(n, 4, count)]
    signatures, spread = _look(metric, special)
    kept = (signatures == signature) & (spread < _SINGULAR) if low <= 0 <= high else torch.zeros(len(special)) > 0
    return torch.cat((special[kept], inside[:count]))


def _look(metric: Metric, x: Tensor) -> tuple[Tensor, Tensor]:
    """Minus signs of g at each point, and the largest |eigenvalue| of all over the least there; -1, inf for none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (g,) = metric_jet(metric, x, 0)
    good = torch.isfinite(g).all(-1).all(-1)
    eigenvalues = torch.linalg.eigvalsh(torch.where(good[:, None, None], g, torch.eye(x.shape[-1]).to(g)))
    sizes = eigenvalues.abs()
    spread = torch.where(good, sizes[good].amax(-1).amax(-1) / sizes.amin(-1) if bool(good.any()) else 0.0, torch.inf)
    return torch.where(good, (eigenvalues < 0).sum(-1), -1), spread
