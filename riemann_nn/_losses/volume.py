"""Distortion of volume as a loss."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from riemann._shared import door, warn
from riemann_nn._fields.factored import log_volumes
from riemann_nn._losses import reduce
from riemann_nn._losses.means import check_batch, weights_of


@door
def volume_loss(
    metric: Any,
    x: Float[Tensor, "*batch n"],
    log: bool = True,
    *,
    log_reference: Float[Tensor, "*batch"] | None = None,
    measure: str | Tensor = "points",
) -> Float[Tensor, ""]:
    r"""Variance of the logarithm of the volume element over points, $\mathrm{Var}(\log \sqrt{\det g} - \log \rho)$.

    The volume element is a density: under a change of chart it moves by $\log |\det J|$, and so does the logarithm of
    a reference density $\rho$ in the same coordinates. Without one the reference is Lebesgue's measure of the chart.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`, two or more.
        log: False for the paper's literal $\mathrm{Var}(\sqrt{\det g} / \rho)$.
        log_reference: $\log \rho$ at the points, `(*batch,)`.
        measure: what the variance is over, as for `curvature_loss`.

    Returns:
        A scalar, the same on every rank of `torch.distributed`.

    Raises:
        ValueError: fewer than two points.

    Warns:
        UserWarning: with `log=False`: g is driven to 0, where any curvature explodes.

    Example:
        >>> from riemann_nn import volume_loss
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> volume_loss(half_plane, torch.tensor([[0.0, 1.0], [0.0, 2.0]]))
        tensor(0.9609)
    """
    if not log:
        warn(
            "the variance of sqrt(det g) itself is least where g is 0: it shrinks the metric and inflates its "
            "curvature. `log=True` does not depend on the scale of g."
        )
    return _volume_loss(metric, x, log, log_reference, measure)


def _volume_loss(
    metric: Any,
    x: Tensor,
    log: bool,
    log_reference: Tensor | None = None,
    measure: str | Tensor = "points",
    least: int = 2,
) -> Tensor:
    """`volume_loss` without its warning."""
    check_batch(x, least)
    volume = log_volumes(metric, x)
    volume = volume if log_reference is None else volume - log_reference
    return reduce.variance(volume if log else volume.exp(), weights_of(metric, x, measure))


def volume_or_zero(metric: Any, x: Tensor, log: bool) -> Tensor:
    """The variance of `volume_loss` over all ranks; 0 where they have one point together, as a last batch may."""
    if x.shape[:-1].numel() * reduce.world_size() == 1:
        return 0 * log_volumes(metric, x).sum()
    return _volume_loss(metric, x, log, least=1)


class VolumeLoss(torch.nn.Module):
    """`volume_loss` of a metric as a module: the form that DistributedDataParallel and `functional_call` need.

    Args:
        metric: as for `volume_loss`; its parameters are those of the module.
        log: as for `volume_loss`.
        **options: further arguments of `volume_loss`.

    Example:
        >>> import torch
        >>> from riemann_nn import MetricNet, VolumeLoss
        >>> VolumeLoss(MetricNet(2))(torch.randn(8, 2)).item()
        0.0
    """

    metric: Any
    log: bool
    options: dict[str, Any]
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    def __init__(self, metric: Any, log: bool = True, **options: Any):
        super().__init__()
        self.metric, self.log, self.options = metric, log, options

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, ""]:
        """The loss at points `(*batch, n)`."""
        return volume_loss(self.metric, x, self.log, **self.options)
