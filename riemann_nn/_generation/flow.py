"""From data to a chart, with what the map does to volumes; and the metric that a density makes."""

import torch
from torch import Tensor

from riemann.metrics import Conformal
from riemann_nn._charts.coordinate import CoordinateLayer


class Flow(torch.nn.Module):
    """From data to a chart: each coordinate in its own unit, then a `CoordinateLayer`."""

    offset: Tensor
    unit: Tensor

    kind = "transition"

    def __init__(self, layer: CoordinateLayer):
        super().__init__()
        self.layer = layer
        self.register_buffer("offset", torch.zeros(layer.dim))
        self.register_buffer("unit", torch.ones(layer.dim))

    def forward(self, x: Tensor) -> Tensor:
        """Coordinates in the chart, `(*batch, n)`."""
        return self.layer((x - self.offset) / self.unit)

    def inverse(self, z: Tensor) -> Tensor:
        """The data with these coordinates, `(*batch, n)`."""
        return self.offset + self.unit * self.layer.inverse(z)

    def with_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Coordinates, and $\log |\det \partial z / \partial x|$, `(*batch,)`."""
        z, log_det = self.layer.with_log_det((x - self.offset) / self.unit)
        return z, log_det - self.unit.log().sum()


class DensityMetric(Conformal):
    """A metric conformal to the flat one whose log factor takes batches."""

    inherits_routes = True  # the values are those of a `Conformal`

    def squared_lengths(self, x: Tensor, v: Tensor) -> Tensor:
        """Of vectors v at points x, `(*batch,)`."""
        return torch.exp(2 * self.log_factor(x)) * v.square().sum(-1)
