"""What `riemann.compile` takes of a `MetricNet`: that of the network underneath."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

import riemann
from riemann.metrics import MLPCholesky
from riemann_nn._fields.metric_net import MetricNet


@riemann.compile.register(MetricNet)
def plain_of_net(metric: MetricNet, quantity: str, **options: Any) -> Callable[[Tensor], Tensor] | None:
    """That of the network underneath, if it is an `MLPCholesky` that is evaluated as its type."""
    inner = metric.structure
    closed = isinstance(inner, MLPCholesky) and riemann.scalar_curvature.route(inner) != "generic"
    return riemann.compile.closed_form(inner, quantity, **options) if closed else None
