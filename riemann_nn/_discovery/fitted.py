"""What a fit returns: the metric, how well it fits and what is identified, and how uncertain it is."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import riemann

_OF_NULL = 1e-6  # a derivative along what is not identified counts as 0, relative to the whole


@dataclass(frozen=True, eq=False)
class FitReport:
    r"""How well the metric fits the data, and what the data identify.

    Attributes:
        noise: deviation of the positions from the motions in each coordinate, `(n,)`, corrected for what was fitted; of
            distances one number, `(1,)`.
        smoothing_noise: what local polynomials leave, `(n,)`: less than `noise` where the family cannot fit the data.
            None for distances.
        numbers: of the data.
        parameters: of the metric (and the potential).
        identified: how many of them the data determine; with a prior a fraction each, as much as they do.
        states: numbers of the first states, fitted along; 0 for distances.
        scale_is_free: whether no data of the kind show the scale of the metric.
        precision: of the prior on parameters, or None.
        region: the range of the data in each coordinate, `(n, 2)`; elsewhere the metric is what its family makes it.
        substeps: of the solver between two samples; 0 for distances.
        converged: whether the iterations did.
    """

    noise: Tensor
    smoothing_noise: Tensor | None
    numbers: int
    parameters: int
    identified: float
    states: int
    scale_is_free: bool
    precision: float | None
    region: Tensor
    substeps: int
    converged: bool

    @property
    def words(self) -> str:
        """What these data identify."""
        text = (
            "Distances show the metric, its scale too, where geodesics between the pairs pass. "
            if self.smoothing_noise is None
            else "Trajectories show the connection, where they pass; a metric follows up to what parallel transport "
            "keeps, and its scale at least is free. "
        )
        if self.precision is not None:
            text += "What the data leave open is held near the start by the prior."
        elif round(self.identified) == self.parameters:
            text += "Within this family the data determine all parameters."
        else:
            what = (
                ": the rest leaves the motions as they are, as the scale of the metric does"
                if self.scale_is_free
                else ""
            )
            text += f"Within this family {round(self.identified)} of {self.parameters} parameters are identified{what}."
        return text

    def __str__(self) -> str:
        some = lambda a: ", ".join(f"{s:.3g}" for s in a.tolist())
        of_motions = (
            {}
            if self.smoothing_noise is None
            else {"noise of smoothing": some(self.smoothing_noise), "first states": f"{self.states} numbers"}
        )
        rows = {
            "noise": some(self.noise),
            "data": f"{self.numbers} numbers",
            **of_motions,
            "parameters": str(self.parameters),
            "identified": f"{self.identified:.4g}",
            "region": ", ".join(f"[{a:.3g}, {b:.3g}]" for a, b in self.region.tolist()),
            "converged": "yes" if self.converged else "NO",
        }
        width = max(map(len, rows))
        return "\n".join([*(f"{name:{width}}  {value}" for name, value in rows.items()), self.words])


@dataclass(frozen=True, eq=False)
class MetricUncertainty:
    r"""How far fitted parameters may be off: they are normal around the fit.

    Their covariance is the inverse of Gauss and Newton's matrix (Laplace's approximation), or that of refits to
    resampled data (bootstrap).

    Directions that the data do not show have no deviation: what depends on them is uncertain by infinity. Where the
    scale of the metric is one of them, functions are asked for metrics of one scale, that of the fit: the mean
    logarithm of the volume element at the data is kept.

    Attributes:
        names: of the parameters, number by number.
        mean: their values, `(P,)`.
        covariance: `(P, P)`, on what is identified.
        null: orthonormal directions that are not identified, `(P, k)`.
        scale_is_free: whether metrics are brought to one scale.
    """

    names: list[str]
    mean: Tensor
    covariance: Tensor
    null: Tensor
    scale_is_free: bool
    metric: torch.nn.Module = field(repr=False)
    sample: Tensor = field(repr=False)

    @property
    def parameters(self) -> Tensor:
        """Standard deviation of each parameter, `(P,)`; infinite where it is not identified."""
        lost = self.null.norm(dim=-1) > _OF_NULL
        return torch.where(lost, torch.inf, self.covariance.diagonal().clamp(min=0).sqrt())

    def standard_deviation(self, f: Callable[..., Tensor], *args: Any, **options: Any) -> Tensor:
        """Of a function of a metric: `standard_deviation(riemann.scalar_curvature, x)`, of the shape of its value.

        By its gradient; `draw` serves functions that have none, such as `killing_fields`.
        """
        parameters = [p for p in self.metric.parameters() if p.requires_grad]
        with torch.enable_grad():
            value = f(self._of_one_scale(self.metric), *args, **options)
            if not value.requires_grad:
                raise ValueError(
                    "the function's value has no gradient to the parameters of the metric; use `draw` and the "
                    "deviation of its values"
                )
            rows = [
                torch.cat([p.reshape(-1) for p in riemann.recorded_gradients(y, parameters)]) for y in value.reshape(-1)
            ]
        J = torch.stack(rows)
        variance = torch.einsum("ka,ab,kb->k", J, self.covariance, J).clamp(min=0)
        lost = (J @ self.null).norm(dim=-1) > _OF_NULL * J.norm(dim=-1)
        return torch.where(lost, torch.inf, variance.sqrt()).reshape(value.shape)

    def of_metric(self, x: Tensor) -> Tensor:
        """Standard deviation of each component of g at points, `(*batch, n, n)`."""
        return self.standard_deviation(lambda g, x: riemann.at(g, x, 0).g, x)

    def draw(self, count: int, generator: torch.Generator | None = None) -> list[torch.nn.Module]:
        """Other metrics that the data allow, drawn from the approximation."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root = vectors * values.clamp(min=0).sqrt()
        z = torch.randn(count, len(self.mean), dtype=self.mean.dtype, generator=generator).to(self.mean)
        metrics = []
        for theta in self.mean + z @ root.mT:
            metric = copy.deepcopy(self.metric)
            with torch.no_grad():
                parameters = [p for p in metric.parameters() if p.requires_grad]
                for p, part in zip(parameters, theta.split([p.numel() for p in parameters]), strict=True):
                    p.copy_(part.reshape(p.shape))
                metrics.append(self._of_one_scale(metric))
        return metrics

    def _of_one_scale(self, metric: torch.nn.Module) -> torch.nn.Module:
        if not self.scale_is_free:
            return metric
        with torch.no_grad():
            fitted = riemann.log_volume_element(self.metric, self.sample).mean()
        gap = fitted - riemann.log_volume_element(metric, self.sample).mean()
        return Scaled(metric, torch.exp(2 * gap / self.sample.shape[-1]))


@dataclass(frozen=True, eq=False)
class FittedMetric:
    """A metric found in trajectories, or in distances.

    Attributes:
        metric: a metric and a module.
        report: how well it fits, and what is identified; prints as a table.
        uncertainty: how far it may be off.
        points: positions on the fitted motions at the times, `(N, T, n)`; on the geodesics between pairs at parameters
            from 0 to 1, closer to each other at the ends.
        velocities: likewise.
        potential: the one that was fitted along, or given, or None.
    """

    metric: torch.nn.Module
    report: FitReport
    uncertainty: MetricUncertainty
    points: Tensor = field(repr=False)
    velocities: Tensor = field(repr=False)
    potential: Any = field(repr=False, default=None)


# --------------------------------------------------------------------------------------------- metrics made of metrics


class Scaled(torch.nn.Module):
    """A metric times a constant."""

    def __init__(self, metric: torch.nn.Module, factor: Tensor):
        super().__init__()
        self.metric, self.factor = metric, factor

    def forward(self, x: Tensor) -> Tensor:
        """At one point."""
        return self.factor * self.metric(x)


class InUnits(torch.nn.Module):
    """A metric of standardised coordinates, $(x - middle) / unit$, in those of the data, times the square of `size`."""

    def __init__(self, metric: torch.nn.Module, middle: Tensor, unit: Tensor):
        super().__init__()
        self.metric = metric
        self.register_buffer("middle", middle)
        self.register_buffer("unit", unit)
        self.register_buffer("size", torch.ones_like(unit[0]))

    def forward(self, x: Tensor) -> Tensor:
        """At points `(*batch, n)`; in units of the data, of which the geometric mean is 1."""
        scale = self.unit / torch.exp(self.unit.log().mean()) / self.size
        return self.metric((x - self.middle) / self.unit) / (scale.unsqueeze(-1) * scale)


class Jacobi(torch.nn.Module):
    r"""$2 (E - V) g$: motions of energy $E = \tfrac12 g(v, v) + V$ are its geodesics, of another parameter."""

    def __init__(self, metric: torch.nn.Module, potential: Any, energy: float):
        super().__init__()
        self.metric, self.potential, self.energy = metric, potential, energy

    def forward(self, x: Tensor) -> Tensor:
        """At one point."""
        return 2 * (self.energy - self.potential(x)) * self.metric(x)


def scale_of(metric: torch.nn.Module, null: Tensor, x: Tensor) -> bool:
    """Whether a metric of another scale at points x is among those that directions `null` of the parameters lead to."""
    if null.shape[1] == 0:
        return False
    parameters = [p for p in metric.parameters() if p.requires_grad]
    with torch.enable_grad():
        g = riemann.at(metric, x, 0).g.reshape(-1)
        if not g.requires_grad:
            return False
        rows = [torch.cat([p.reshape(-1) for p in riemann.recorded_gradients(y, parameters)]) for y in g]
    changes, g = torch.stack(rows) @ null, g.detach()
    left = g - changes @ torch.linalg.lstsq(changes, g, driver="gelsd").solution
    return float(left.norm()) < math.sqrt(_OF_NULL) * float(g.norm())
