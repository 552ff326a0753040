"""The Fisher metric pulled back to charts, and the loss that fits learned metrics to it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import riemann
from riemann_nn._charts.chart import Chart
from riemann_nn._losses import reduce
from riemann_nn._losses.likelihoods import Metric, fisher_factor


def fisher_metrics(model: Any, charts: Sequence[Chart], likelihood: str | Metric = "categorical") -> list[Tensor]:
    r"""Fisher information of the prediction, pulled back to each chart: $F_i = J_i^T F J_i$.

    $J_i$ is the derivative of the output by the coordinates of chart i, and F that of the output. For linear layers
    it is the recursion $F_i = D W^T F_{i+1} W D$, the output side of K-FAC. On the outputs of linear layers of any
    network: `pulled_back_fisher`.

    Args:
        model: a `NeuralDifferentialManifold`.
        charts: what it returned.
        likelihood: F, by what the output z is: `"categorical"`, logits, $\mathrm{diag}(p) - p p^T$; `"bernoulli"`,
            independent logits, $\mathrm{diag}(p (1 - p))$; `"gaussian"`, means, 1; or any metric callable on z.

    Returns:
        `(*batch, n_i, n_i)` for each chart: symmetric, positive semidefinite, of rank at most that of F; constants.

    Raises:
        ValueError: an unknown likelihood, or a categorical one of a single output.
    """
    factor, results = fisher_factor(likelihood), []
    for i, chart in enumerate(charts):
        z = chart.coordinates.detach()
        output, J = riemann.jet(lambda y, i=i: model.output_from(i, y), z, 1)
        V = J.mT @ factor(output)
        results.append((V @ V.mT).detach())
    return results


def fisher_loss(
    model: Any, charts: Sequence[Chart], likelihood: str | Metric = "categorical", *, damping: float = 0.1
) -> Tensor:
    r"""Relative square error of the metrics against the pulled-back Fisher metrics, $g_i \approx F_i + \epsilon 1$.

    $E |g_i - F_i - \epsilon 1|^2 / E |F_i + \epsilon 1|^2$ (Frobenius), the mean over charts.

    Args:
        model: a `NeuralDifferentialManifold`.
        charts: what it returned. Metrics get gradients, coordinates and targets do not.
        likelihood: what the output is, as for `fisher_metrics`.
        damping: $\epsilon$: F has no more rank than the output, and g is definite.

    Returns:
        A scalar, the same on every rank.

    Note:
        A `MetricNet` reaches $F + \epsilon 1$ only within its `bounds`; `start` and `log_range` move them.

    Reference:
        Amari, *Natural gradient works efficiently in learning* (1998).

    Example:
        >>> from riemann_nn import NeuralDifferentialManifold, fisher_loss
        >>> model = NeuralDifferentialManifold(2, [3], 4, head="linear", coupling="fisher")
        >>> fisher_loss(model, model(torch.randn(5, 2))[1]).backward()
    """
    errors = []
    for chart, F in zip(charts, fisher_metrics(model, charts, likelihood), strict=True):
        target = F + damping * torch.eye(F.shape[-1], dtype=F.dtype, device=F.device)
        g = chart.metric(chart.coordinates.detach())
        square, size = ((a * a).sum((-2, -1)) for a in (g - target, target))
        errors.append(reduce.mean(square) / reduce.mean(size))
    return torch.stack(errors).mean()
