"""Signs that learned metrics collapse: volume, conditioning, variation, curvature, watched while training."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import riemann
from riemann._shared import warn
from riemann_nn._charts.chart import Chart
from riemann_nn._fields.metric_net import MetricNet


class Health(NamedTuple):
    r"""What a metric is like over some points.

    Attributes:
        log_volume: mean of $\log \sqrt{\det g}$.
        condition: largest condition number of g.
        variation: how much $g / (\det g)^{1/n}$ varies over the points: root mean square over size.
        curvature: median of |S|.
        saturation: of a `MetricNet`, the share of its heads' values within a hundredth of their bounds; 0 of others.
    """

    log_volume: float
    condition: float
    variation: float
    curvature: float
    saturation: float = 0.0


def health(chart: Chart, points: int = 16) -> Health:
    """The health of a chart's metric at its first points.

    Args:
        chart: points `(*batch, n)` and the metric there.
        points: how many are looked at; in more than 16 dimensions curvature is estimated.

    Returns:
        Numbers; NaN where the metric is not finite at one of the points, or there is none.

    Example:
        >>> from riemann_nn import NeuralDifferentialManifold, health
        >>> health(NeuralDifferentialManifold(2, [3], 1)(torch.randn(9, 2))[1][0])
        Health(log_volume=0.0, condition=1.0, variation=0.0, curvature=0.0, saturation=0.0)
    """
    n = chart.coordinates.shape[-1]
    z = chart.coordinates.detach().reshape(-1, n)[:points]
    with torch.no_grad():
        g = chart.metric(z)
        if not len(z) or not bool(g.isfinite().all()):
            return Health(*[math.nan] * len(Health._fields))
        log_volume = riemann.log_volume_element(chart.metric, z)
        eigenvalues = torch.linalg.eigvalsh(g)
        unimodular = g * torch.exp(-2 / n * log_volume)[:, None, None]
        center = unimodular.mean(0)
        size, spread = center.square().sum(), (unimodular - center).square().sum((-2, -1)).mean()
        if n <= 16:
            S = riemann.scalar_curvature(chart.metric, z)
        else:
            generator = torch.Generator(z.device).manual_seed(0)
            S = riemann.estimate_scalar_curvature(chart.metric, z, 4, generator).value
        saturated = (
            (chart.metric.saturation(z) > 0.99).double() if isinstance(chart.metric, MetricNet) else g.new_zeros(1)
        )
    condition = eigenvalues[:, -1] / eigenvalues[:, 0]
    numbers: tuple[Tensor, ...] = (
        log_volume.mean(),
        condition.max(),
        (spread / size).sqrt(),
        S.abs().median(),
        saturated.mean(),
    )
    return Health(*(float(a) for a in numbers))


class CollapseMonitor(torch.nn.Module):
    """Warns, once for each sign and chart, when metrics shrink, grow, degenerate, curl up, stick at bounds or are lost.

    Args:
        volume: how far the mean of log sqrt(det g) may fall, in nats; of metrics whose `bounds` are less than 1e6
            apart, as far as these let it.
        growth: how far it may rise, likewise.
        condition: how large the condition number may be.
        curvature: how many times n(n-1), and how many times a tenth of that its median was at the start, |S| may be.
        saturation: what share of a network's heads may be at their bounds, where they have no gradient.
        points: how many points are looked at.

    Attributes:
        latest: the `Health` of each chart when last looked at.

    Example:
        >>> import torch
        >>> from riemann_nn import CollapseMonitor, NeuralDifferentialManifold
        >>> monitor = CollapseMonitor()
        >>> monitor(NeuralDifferentialManifold(2, [3, 3], 1)(torch.randn(9, 2))[1])
        >>> len(monitor.latest)
        2
    """

    volume: float
    growth: float
    condition: float
    curvature: float
    saturation: float
    points: int

    def __init__(
        self,
        volume: float = 2.0,
        condition: float = 1e5,
        curvature: float = 100.0,
        points: int = 16,
        *,
        growth: float = 6.0,
        saturation: float = 0.95,
    ):
        super().__init__()
        self.volume, self.condition, self.curvature, self.points = volume, condition, curvature, points
        self.growth, self.saturation = growth, saturation
        self.first: list[Health] = []
        self.latest: list[Health] = []
        self.said: set[tuple[int, str]] = set()

    def forward(self, charts: Sequence[Chart]) -> None:
        """Looks at the charts."""
        self.latest = [health(chart, self.points) for chart in charts]
        if not any(math.isnan(now.log_volume) for now in self.latest):
            self.first = self.first or self.latest
        for i, (chart, then, now) in enumerate(zip(charts, self.first or self.latest, self.latest, strict=True)):
            if math.isnan(now.log_volume):
                if chart.coordinates.numel():
                    self._say(i, "finite", "at the data it is not finite: these, or its parameters, are not")
                continue
            n = chart.coordinates.shape[-1]
            fallen = then.log_volume - now.log_volume
            free = not _is_held(chart.metric)
            if free and not fallen <= self.volume:
                self._say(i, "volume", f"its volume element fell by a factor of e^{fallen:.1f} since the start: g goes "
                          "to 0")  # fmt: skip
            if free and not -fallen <= self.growth:
                self._say(i, "growth", f"its volume element rose by a factor of e^{-fallen:.1f} since the start: g "
                          "grows without end")  # fmt: skip
            if not now.saturation <= self.saturation:
                self._say(i, "saturation", f"{now.saturation:.0%} of its heads are at their bounds, where they have no "
                          "gradient: a larger `log_range`, a smaller learning rate, or features scaled to deviation 1"
                          )  # fmt: skip
            if not now.condition <= self.condition:
                self._say(i, "condition", f"its condition number is {now.condition:.1e}: g degenerates")
            if not now.curvature <= self.curvature * max(n * (n - 1), 0.1 * then.curvature):
                self._say(i, "curvature", f"the median of its |S| is {now.curvature:.1e}, from {then.curvature:.1e}")

    def _say(self, i: int, sign: str, what: str) -> None:
        if (i, sign) not in self.said:
            self.said.add((i, sign))
            warn(
                f"the metric of chart {i} {_VERBS.get(sign, 'collapses')}: {what}."
                + ("" if sign in ("saturation", "finite") else _REMEDY)
                + " This is said once."
            )

    def get_extra_state(self) -> dict[str, Any]:
        """What was seen and said."""
        return {"first": [tuple(h) for h in self.first], "said": sorted(self.said)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """What was seen and said."""
        self.first = [Health(*h) for h in state["first"]]
        self.said = {(i, sign) for i, sign in state["said"]}


_VERBS = {"growth": "grows", "saturation": "sticks", "finite": "has no values"}
_REMEDY = " A scale-free preset, or a `MetricNet`, whose heads are bounded, does not."


def _is_held(metric: Any) -> bool:
    """Whether a metric states bounds that keep its scale."""
    bounds = getattr(metric, "bounds", None)
    return bounds is not None and bounds[1] / bounds[0] <= 1e6
