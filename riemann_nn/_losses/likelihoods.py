r"""Square factors of metrics, $g = S S^T$: of the Fisher metric that a likelihood gives an output, and of any metric.

A factor is what is pulled back column by column: $J^T g J = V V^T$ with $V = J^T S$.
"""

from collections.abc import Callable

import torch
from torch import Tensor

import riemann

Metric = Callable[[Tensor], Tensor]
Factor = Callable[[Tensor], Tensor]


def fisher_factor(likelihood: str | Metric) -> Factor:
    """The factor of the Fisher metric at outputs z, `(*batch, C)`.

    Args:
        likelihood: what z is: a name in `_FACTORS`, or any metric callable on z.

    Returns:
        A function of z, with values `(*batch, C, C)`.

    Raises:
        ValueError: an unknown likelihood; in the function, a categorical one of a single output.
    """
    if isinstance(likelihood, str) and likelihood in _FACTORS:
        return _FACTORS[likelihood]
    if not callable(likelihood):
        names = ", ".join(map(repr, _FACTORS))
        raise ValueError(f"`likelihood` is {likelihood!r}, expected {names}, or a metric callable on the output")
    return factor_of(likelihood, "the model's output")


def _categorical(z: Tensor) -> Tensor:
    r"""$\mathrm{diag}(p) - p p^T = S S^T$ with $S = \mathrm{diag}(\sqrt p) - p \sqrt p^T$, as $|\sqrt p| = 1$."""
    if z.shape[-1] < 2:
        raise ValueError(
            "`likelihood` is 'categorical' with one output, which has no Fisher information; use 'bernoulli'"
        )
    p = torch.softmax(z, -1)
    return torch.diag_embed(p.sqrt()) - p[..., :, None] * p.sqrt()[..., None, :]


def _bernoulli(z: Tensor) -> Tensor:
    r"""Of independent sigmoids: $\mathrm{diag}(p (1 - p))$."""
    return torch.diag_embed((torch.sigmoid(z) * torch.sigmoid(-z)).sqrt())


def _gaussian(z: Tensor) -> Tensor:
    """Of means with unit variance: the identity."""
    return torch.diag_embed(torch.ones_like(z))


_FACTORS: dict[str, Factor] = {"categorical": _categorical, "bernoulli": _bernoulli, "gaussian": _gaussian}


def factor_of(metric: Metric, where: str) -> Factor:
    r"""The factor $U \sqrt\Lambda$ of a metric $U \Lambda U^T$, which may be degenerate."""

    def factor(z: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(metric_at(metric, z, where))
        return vectors * values.clamp_min(0).sqrt().unsqueeze(-2)

    return factor


def metric_at(metric: Metric, s: Tensor, where: str) -> Tensor:
    """The metric at points `(*batch, m)`, checked; positive semidefinite is enough, as pull-backs are."""
    g = riemann.jet(metric, s, 0)[0]
    m = s.shape[-1]
    if g.shape != (*s.shape, m):
        raise ValueError(
            f"the metric on {where} returned shape {tuple(g.shape[s.ndim - 1 :])} at one point, expected ({m}, {m})"
        )
    asymmetry = (g - g.mT).abs().sum()
    if not bool(asymmetry <= 1e-3 * g.abs().sum()):  # NaN, too
        raise ValueError(
            f"the metric on {where} is not finite or not symmetric on this batch; `riemann.check_metric` says where"
        )
    return 0.5 * (g + g.mT)
