"""What `compile` takes of an `MLPCholesky`: closed forms in plain tensor operations."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from riemann import formulas
from riemann._compiling.compile import closed_form
from riemann._curvature import QUANTITIES, LocalGeometry
from riemann.metrics import MLPCholesky, _moving_frame, _points_last
from riemann.metrics._mlp_routes import check_points, jets_at


@closed_form.register(MLPCholesky)
def plain(metric: MLPCholesky, quantity: str, **options: Any) -> Callable[[Tensor], Tensor] | None:
    """The quantity as a function for a compiler; None where third derivatives are needed."""
    if (needed := QUANTITIES[quantity].order) > 2:
        return None

    def scalar_curvature(x: Tensor) -> Tensor:
        if metric.dim <= _points_last.SMALL:
            return _points_last.scalar_curvature(metric, x)
        return _moving_frame.scalar_curvature(_moving_frame.moving_frame(metric, x))

    def ricci_tensor(x: Tensor) -> Tensor:
        frame = _moving_frame.moving_frame(metric, x)
        return formulas.change_indices(
            frame.here.L @ frame.here.L.mT, _moving_frame.ricci_tensor(frame), "ll", options.get("indices", "ll")
        )

    def from_jets(x: Tensor) -> Tensor:
        return getattr(LocalGeometry(x, jets_at(metric, x, needed)), quantity)(**options)

    chosen = {"scalar_curvature": scalar_curvature, "ricci_tensor": ricci_tensor}.get(quantity, from_jets)

    def checked(x: Tensor) -> Tensor:
        check_points(metric, x)
        return chosen(x)

    return checked
