"""geoopt's manifolds as metrics."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._interop import inner
from riemann.metrics import Conformal, Constant, Product


def metric_of(manifold: Any, chart: Callable[[Tensor], Tensor] | None) -> Any:
    """The metric of a geoopt manifold: of the points themselves, or in a chart where they obey equations."""
    kind = {base.__name__ for base in type(manifold).__mro__}
    _check_measures_what_its_inner_product_says(manifold, kind)
    if "Scaled" in kind:  # it scales distances, and leaves the inner product of the base
        return Conformal(metric_of(manifold.base, chart), _Scale(manifold))
    if chart is not None:
        return inner.Charted(chart, manifold, manifold.inner)
    if "ProductManifold" in kind:
        return _product(manifold)
    if "Stereographic" in kind:
        return Conformal(None, _Stereographic(manifold))
    if "Euclidean" in kind and manifold.ndim <= 1:
        return Constant()
    if "Sphere" in kind and getattr(manifold, "projector", None) is None:
        return inner.Charted(inner.stereographic)
    if "Lorentz" in kind:
        return inner.Charted(lambda x: inner.upper_sheet(x, manifold.k.to(x)), manifold, inner.minkowski)
    if "SymmetricPositiveDefinite" in kind:
        return inner.Inner(manifold, manifold.inner, inner.symmetric)
    if "SiegelManifold" in kind:
        return inner.Inner(manifold, manifold.inner, inner.complex_symmetric)
    if "BirkhoffPolytope" in kind:
        return inner.Charted(inner.doubly_stochastic, manifold, manifold.inner)
    raise inner.needs_chart(manifold)


def _check_measures_what_its_inner_product_says(manifold: Any, kind: set[str]) -> None:
    metric = None
    if "SymmetricPositiveDefinite" in kind and manifold.default_metric.value != "AIM":
        metric = manifold.default_metric.value
    if "SiegelManifold" in kind and type(manifold.metric).__name__ != "RiemannianMetric":
        metric = type(manifold.metric).__name__
    if metric is not None:
        raise ValueError(
            f"{inner.named(manifold)} measures distances by {metric}, which its `inner` is not the metric of; adapt "
            "the one with its default metric"
        )


def _product(manifold: Any) -> Product:
    """Of vectors: the parts of a packed point are those of the coordinates."""
    parts = list(zip(manifold.manifolds, manifold.shapes, strict=True))
    for part, shape in parts:
        if len(shape) != 1:
            raise inner.needs_chart(part)
        if isinstance(metric_of(part, None), inner.Charted | inner.Inner):
            raise inner.needs_chart(part)
    return Product(*((metric_of(part, None), shape[0]) for part, shape in parts))


class _Stereographic(torch.nn.Module):
    r"""$\log \lambda$ of geoopt's $\lambda = 2 / (1 + k |x|^2)$."""

    def __init__(self, manifold: Any):
        super().__init__()
        self.manifold = manifold

    def forward(self, x: Tensor) -> Tensor:
        return math.log(2) - torch.log1p(self.manifold.k.to(x) * (x @ x))


class _Scale(torch.nn.Module):
    """The logarithm of the scale of a `geoopt.Scaled`."""

    def __init__(self, manifold: Any):
        super().__init__()
        self.manifold = manifold

    def forward(self, x: Tensor) -> Tensor:
        return self.manifold.log_scale.to(x) + 0 * x.sum()
