"""Whether the metrics of neighbouring charts are one metric: how far each map is from an isometry."""

from collections.abc import Sequence

import torch
from torch import Tensor

import riemann
from riemann_nn._charts.chart import Chart
from riemann_nn._charts.coordinate import kind_of
from riemann_nn._losses import reduce


def compatibility_loss(charts: Sequence[Chart] | torch.nn.Module, x: Tensor | None = None) -> Tensor:
    r"""Mean square of $\log$ stretch between the metrics of neighbouring charts, 0 where their maps are isometries.

    With J the derivative of the map from chart i to chart i + 1, in the affine-invariant distance
    $d^2(A, B) = \sum \log^2 \lambda(A^{-1} B)$ over the number k of eigenvalues $\lambda$:

    - transition or embedding: $d^2(g_i,\ J^T g_{i+1} J) / k$, an isometric immersion has 0;
    - submersion: $d^2(J g_i^{-1} J^T,\ g_{i+1}^{-1}) / k$, a Riemannian submersion has 0, since $J^T g_{i+1} J$ is
      singular there.

    Args:
        charts: as a `NeuralDifferentialManifold` returns them, with points `(*batch, n)`; or the model itself.
        x: with a model, its data, `(*batch, input_dim)`.

    Returns:
        The mean over points (of all ranks) and neighbours, a scalar. A root of 0.05 says that lengths squared differ
        by 5% along a direction.

    Raises:
        TypeError: a model without data, or charts with data.
        ValueError: fewer than two charts, or a map between them that is neither transition, embedding nor submersion.

    Note:
        Where J has not full rank, the distance is infinite.

    Example:
        >>> from riemann_nn import NeuralDifferentialManifold, compatibility_loss
        >>> _, charts = NeuralDifferentialManifold(2, [3, 3], 1)(torch.randn(5, 2))
        >>> compatibility_loss(charts)  # both are the identity, and so is the flow between them
        tensor(0., grad_fn=<DivBackward0>)
    """
    if isinstance(charts, torch.nn.Module) != (x is not None):
        raise TypeError("expected charts alone, or a model and its data `x`")
    if isinstance(charts, torch.nn.Module):
        charts = charts(x)[1]
    if len(charts) < 2:
        raise ValueError(f"there is {len(charts)} chart, expected two or more: the loss compares neighbours")
    residuals = [_residual(before, after) for before, after in zip(charts, charts[1:], strict=False)]
    return torch.stack([reduce.mean(r) for r in residuals]).sum() / len(residuals)


def _residual(before: Chart, after: Chart) -> Tensor:
    """d²/k at each point."""
    kind = kind_of(after.map)
    if kind == "map":
        raise ValueError(
            "a map between charts is neither transition, embedding nor submersion: its rank is not known; give it an "
            "attribute `kind`"
        )
    _, J = riemann.jet(after.map, before.coordinates, 1)
    if kind == "submersion":
        pushed = J @ before.inverse_metric() @ J.mT
        return _log_squares(pushed, torch.linalg.cholesky(after.g).mT)
    E = torch.linalg.inv(torch.linalg.cholesky(before.g))
    return _log_squares(J.mT @ after.g @ J, E)


def _log_squares(B: Tensor, E: Tensor) -> Tensor:
    r"""Mean of $\log^2$ of the eigenvalues of $E B E^T$."""
    S = E @ B @ E.mT
    return torch.linalg.eigvalsh(0.5 * (S + S.mT)).log().square().mean(-1)
