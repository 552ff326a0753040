"""The heads of version 0.1.0, whose outputs were others: models that were saved whole predict what they predicted."""

from collections.abc import Sequence

import torch
from torch import Tensor

from riemann_nn._charts.chart import Chart


class Distances(torch.nn.Module):
    """Squared distances to prototypes, in the tangent space at the data."""

    prototypes: torch.nn.ParameterList

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, k)`; charts before the last `len(charts)` are left out."""
        first = len(self.prototypes) - len(charts)
        pairs = zip(charts[max(0, -first) :], list(self.prototypes)[max(0, first) :], strict=True)
        differences = [(chart, chart.coordinates.unsqueeze(-2) - c) for chart, c in pairs]
        return torch.stack([((d @ chart.g) * d).sum(-1) for chart, d in differences]).sum(0)


class MahalanobisHead(torch.nn.Module):
    """Logits are minus squared distances."""

    distances: Distances
    output_dim: int

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        d = self.distances(charts)
        return d[..., :1] - d[..., 1:] if self.output_dim == 1 else -d


class KernelHead(torch.nn.Module):
    """Attention in the metric."""

    distances: Distances
    values: torch.nn.Linear

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        return self.values(torch.softmax(-0.5 * self.distances(charts), -1))


class LinearHead(torch.nn.Module):
    """A linear map of the last chart's coordinates."""

    linear: torch.nn.Linear

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        return self.linear(charts[-1].coordinates)
