"""Manifold layers among other modules: tensors in, tensors out, and the charts on request."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from riemann_nn._charts.chart import Chart
from riemann_nn._model.manifold import ManifoldLayer


class _NoMatrix:
    """What torch's blocks find for the weight and the bias of a `TensorLayer`.

    That it has a `__torch_function__` is what tells them to call the layer, and not to multiply in a fused kernel.
    """

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", str(function))
        raise TypeError(f"a `TensorLayer` is no matrix, which `{name}` wants: call the layer, or use torch.nn.Linear")


class TensorLayer(torch.nn.Module):
    r"""A `ManifoldLayer` for `torch.nn.Sequential` and transformer blocks: it returns the new coordinates alone.

    It stands where a `torch.nn.Linear` would, as in `TransformerEncoderLayer.linear1`, whose fused kernels are not used
    then. The metric changes no output of such a layer. `charts_of` hands out the charts of a whole model, for
    `EvolutionLoss` and heads that read them.

    Args:
        layer: map and metric.

    Raises:
        TypeError: a nested tensor; functions of torch that want the weight of a linear layer.

    Example:
        >>> import torch
        >>> from riemann_nn import CoordinateLayer, ManifoldLayer, MetricNet, TensorLayer, charts_of
        >>> layer = ManifoldLayer(CoordinateLayer(3), MetricNet(3))
        >>> model = torch.nn.Sequential(TensorLayer(layer), torch.nn.Linear(3, 2))
        >>> output, (chart,) = charts_of(model, torch.randn(5, 7, 3))
        >>> output.shape, chart.scalar_curvature().shape
        (torch.Size([5, 7, 2]), torch.Size([5, 7]))
    """

    layer: ManifoldLayer
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    def __init__(self, layer: ManifoldLayer):
        super().__init__()
        self.layer = layer

    @property
    def weight(self) -> Any:
        """None that could be multiplied with; torch's blocks look at it."""
        return _NoMatrix()

    bias = weight

    def forward(self, x: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch n"]:
        """The coordinates at points `(*batch, m)`."""
        if x.is_nested:
            raise TypeError(
                "`x` is a nested tensor; use x.to_padded_tensor(0.0) and a mask, or enable_nested_tensor=False"
            )
        return self.layer(x).coordinates

    def chart(self, x: Float[Tensor, "*batch m"]) -> Chart:
        """The chart at points `(*batch, m)`."""
        return self.layer(x)


def charts_of(model: torch.nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, list[Chart]]:
    """Calls a model, and collects the charts of all `ManifoldLayer`s in it, in the order in which they acted.

    Args:
        model: any module; bare, for under DistributedDataParallel the losses belong into the wrapped forward.
        *args: of the call.
        **kwargs: of the call.

    Returns:
        What the model returned, and the charts: those of padded sequences at the points that count are
        `chart._replace(coordinates=chart.coordinates[mask])`.

    Raises:
        ValueError: no manifold layer acted.
    """
    charts: list[Chart] = []

    def keep(module: torch.nn.Module, given: Any, chart: Chart) -> None:
        charts.append(chart)

    handles = [m.register_forward_hook(keep) for m in model.modules() if isinstance(m, ManifoldLayer)]
    try:
        output = model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    if not charts:
        raise ValueError(f"no `ManifoldLayer` acted in this call of {type(model).__name__}: it has {len(handles)}")
    return output, charts
