"""What `riemann.compile` takes of an `MLPCholesky` or of its `MetricNet`: closed forms in plain tensor operations."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

import riemann
from riemann import LocalGeometry, formulas
from riemann_nn._fields import cartan, points_last
from riemann_nn._fields.metric_net import MetricNet
from riemann_nn._fields.mlp_cholesky import MLPCholesky
from riemann_nn._fields.routes import check_points, jets_at


@riemann.compile.register(MLPCholesky)
def plain(metric: MLPCholesky, quantity: str, **options: Any) -> Callable[[Tensor], Tensor] | None:
    """The quantity as a function for a compiler; None where third derivatives are needed."""
    if (needed := riemann.QUANTITIES[quantity].order) > 2:
        return None

    def scalar_curvature(x: Tensor) -> Tensor:
        if metric.dim <= points_last.SMALL:
            return points_last.scalar_curvature(metric, x)
        return cartan.scalar_curvature(cartan.moving_frame(metric, x))

    def ricci_tensor(x: Tensor) -> Tensor:
        frame = cartan.moving_frame(metric, x)
        return formulas.change_indices(
            frame.here.L @ frame.here.L.mT, cartan.ricci_tensor(frame), "ll", options.get("indices", "ll")
        )

    def from_jets(x: Tensor) -> Tensor:
        return getattr(LocalGeometry(x, jets_at(metric, x, needed)), quantity)(**options)

    chosen = {"scalar_curvature": scalar_curvature, "ricci_tensor": ricci_tensor}.get(quantity, from_jets)

    def checked(x: Tensor) -> Tensor:
        check_points(metric, x)
        return chosen(x)

    return checked


@riemann.compile.register(MetricNet)
def plain_of_net(metric: MetricNet, quantity: str, **options: Any) -> Callable[[Tensor], Tensor] | None:
    """That of the network underneath, if it is an `MLPCholesky` that is evaluated as its type."""
    inner = metric.structure
    closed = isinstance(inner, MLPCholesky) and riemann.scalar_curvature.route(inner) != "generic"
    return plain(inner, quantity, **options) if closed else None
