"""A chart of a neural manifold: points in its coordinates, and the metric there."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

import riemann
from riemann import LocalGeometry


def without_autocast(z: Tensor) -> Any:
    """A context for geometry: lengths and curvature lose their digits in half precision."""
    return torch.autocast(z.device.type, enabled=False)


class Chart(NamedTuple):
    """Where the data is in one layer's coordinates; geometry is computed when it is asked for.

    Attributes:
        coordinates: z, `(*batch, n)`.
        metric: g, a callable of such points.
        map: what led to these coordinates from those before.
    """

    coordinates: Tensor
    metric: torch.nn.Module
    map: torch.nn.Module

    @property
    def g(self) -> Tensor:
        """The metric at the points, `(*batch, n, n)`."""
        return self.metric(self.coordinates)

    def at(self, order: int = 2) -> LocalGeometry:
        """The snapshot `riemann.at` of the points."""
        return riemann.at(self.metric, self.coordinates, order)

    def inverse_metric(self) -> Tensor:
        """See `riemann.inverse_metric`."""
        return riemann.inverse_metric(self.metric, self.coordinates)

    def volume_element(self) -> Tensor:
        """See `riemann.volume_element`."""
        return riemann.volume_element(self.metric, self.coordinates)

    def log_volume_element(self) -> Tensor:
        """See `riemann.log_volume_element`."""
        return riemann.log_volume_element(self.metric, self.coordinates)

    def christoffel(self, kind: int = 2) -> Tensor:
        """See `riemann.christoffel`."""
        return riemann.christoffel(self.metric, self.coordinates, kind)

    def scalar_curvature(self) -> Tensor:
        """See `riemann.scalar_curvature`."""
        return riemann.scalar_curvature(self.metric, self.coordinates)

    def ricci_tensor(self, indices: str = "ll") -> Tensor:
        """See `riemann.ricci_tensor`."""
        return riemann.ricci_tensor(self.metric, self.coordinates, indices)

    def riemann_tensor(self, indices: str = "ulll") -> Tensor:
        """See `riemann.riemann_tensor`."""
        return riemann.riemann_tensor(self.metric, self.coordinates, indices)

    def sectional_curvature(self, u: Tensor, v: Tensor) -> Tensor:
        """See `riemann.sectional_curvature`."""
        return riemann.sectional_curvature(self.metric, self.coordinates, u, v)

    def squared_distance(self, point: Tensor) -> Tensor:
        r"""$(z - c)^T g(z)\, (z - c)$, the squared distance to points c `(*batch, n)` in the tangent space at z."""
        difference = self.coordinates - point
        return torch.einsum("...i,...ij,...j->...", difference, self.g, difference)
