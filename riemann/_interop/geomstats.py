"""geomstats' metrics and spaces as metrics, and metrics as geomstats'."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann import conventions
from riemann._curvature.tensors import christoffel, riemann_tensor
from riemann._curves.geodesic import exp_map
from riemann._curves.logarithm import log_map
from riemann._interop import inner
from riemann._jets import jet
from riemann._metric import check_metric_callable
from riemann._points.checks import check_count
from riemann._types import Metric


def metric_of(given: Any, chart: Callable[[Tensor], Tensor] | None) -> Any:
    """The metric of a geomstats metric, or of a space that is equipped with one."""
    metric = given if hasattr(given, "_space") else given.metric
    space = metric._space
    backend = sys.modules["geomstats.backend"].__name__
    if backend != "geomstats.pytorch":
        raise ValueError(
            f"geomstats computes in {backend.split('.')[-1]}, which torch cannot differentiate: set "
            "`os.environ['GEOMSTATS_BACKEND'] = 'pytorch'` before geomstats is imported"
        )

    def product(p: Tensor, u: Tensor, v: Tensor) -> Any:
        return metric.inner_product(u, v, p)

    kind = {base.__name__ for base in type(space).__mro__}
    if chart is not None:
        return inner.Charted(chart, metric, product)
    if hasattr(space, "embedding_space") and space.intrinsic and "VectorSpaceOpenSet" not in kind:
        return inner.Charted(space.intrinsic_to_extrinsic_coords, metric, product)
    if "_Hypersphere" in kind:
        return inner.Charted(inner.stereographic, metric, product)
    if "Hyperboloid" in kind:
        return inner.Charted(inner.upper_sheet, metric, inner.minkowski)
    if "SPDMatrices" in kind or "SymmetricMatrices" in kind:
        return inner.Inner(metric, product, inner.symmetric)
    if len(space.shape) == 1 and space.shape[0] == space.dim:
        return Matrix(metric)
    if "MatrixVectorSpace" in kind or "VectorSpace" in kind:
        return inner.Inner(metric, product, lambda n: torch.as_tensor(space.basis))
    raise inner.needs_chart(space)


class Matrix(torch.nn.Module):
    """The metric of an object with a `metric_matrix`, in the coordinates of its own."""

    def __init__(self, owner: Any):
        super().__init__()
        self.owner = owner

    def forward(self, x: Tensor) -> Tensor:
        """`(n, n)` at one point `(n,)`."""
        try:
            g = self.owner.metric_matrix(x)
        except NotImplementedError:  # of some, only products of vectors are known
            return inner.Inner(self.owner, lambda p, u, v: self.owner.inner_product(u, v, p))(x)
        if not isinstance(g, Tensor):
            raise TypeError(
                f"`metric_matrix` of {inner.named(self.owner)} returned {type(g).__name__}, expected a torch.Tensor: "
                "what is not computed by torch has no derivatives"
            )
        return g


# ------------------------------------------------------------------------------------------------------ and back


def to_geomstats(metric: Metric, dim: int) -> Any:
    r"""A metric as geomstats' `RiemannianMetric`, on a space of its own, for geomstats' learning algorithms.

    Its matrix, Christoffel symbols, curvature (in geomstats' order of indices), exponential and logarithm are those of
    this package; what geomstats makes of them (norms, distances, geodesics, means, ladders) is geomstats'.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`, positive definite.
        dim: the dimension n.

    Returns:
        The metric; `._space` is the coordinate space that it is on, and what geomstats' estimators take. Arrays are
        those of geomstats' backend: on `numpy` they come without derivatives.

    Raises:
        ImportError: geomstats is not installed, or does not import: 2.8 needs NumPy before 2.4.
        TypeError, ValueError: `metric` is no callable, `dim` no whole number.

    Note:
        On the backend `pytorch`, geomstats 2.8 drops derivatives of derivatives, so that the curvature of a metric
        that it is given by a matrix is wrong there; that of this one is not.

    Example:
        >>> half_plane = lambda x: torch.eye(2, dtype=x.dtype) / x[1] ** 2
        >>> to_geomstats(half_plane, 2).sectional_curvature(u, v, x)  # doctest: +SKIP
        tensor(-1.)
    """
    check_metric_callable(metric)
    check_count("dim", dim, 1)
    try:
        from geomstats.geometry.euclidean import Euclidean
    except ModuleNotFoundError as error:
        raise ImportError("`to_geomstats` needs geomstats: `pip install 'riemann-torch[interop]'`") from error
    except ImportError as error:  # 2.8 asks for `numpy.trapz`
        raise ImportError(
            f"geomstats is installed, and does not import ({error}); geomstats 2.8 needs an older NumPy: "
            "`pip install 'numpy<2.4'`"
        ) from error
    space = Euclidean(dim, equip=False)
    space.equip_with_metric(_class(), metric=metric)
    return space.metric


@functools.cache
def _class() -> Any:
    import geomstats.backend as gs  # pyright: ignore[reportMissingImports]
    from geomstats.geometry.riemannian_metric import RiemannianMetric

    def tensors(*arrays: Any) -> list[Tensor]:
        return [a if isinstance(a, Tensor) else torch.as_tensor(gs.to_numpy(a)).double() for a in arrays]

    def array(y: Tensor) -> Any:
        return y if gs.__name__.endswith("pytorch") else gs.array(y.detach().numpy())

    class Metric(RiemannianMetric):
        """A metric of riemann."""

        def __init__(self, space: Any, metric: Any):
            super().__init__(space)
            self.original = metric

        def metric_matrix(self, base_point: Any = None) -> Any:
            return array(jet(self.original, *tensors(base_point), 0)[0])

        def inner_product_derivative_matrix(self, base_point: Any = None) -> Any:
            return array(jet(self.original, *tensors(base_point), 1)[1])

        def christoffels(self, base_point: Any = None) -> Any:
            return array(christoffel(self.original, *tensors(base_point)))

        def riemann_tensor(self, base_point: Any = None) -> Any:
            R = riemann_tensor(self.original, *tensors(base_point))
            return array(conventions.convert(R, "riemann_tensor", to="geomstats"))

        def exp(self, tangent_vec: Any, base_point: Any, **_: Any) -> Any:
            v, x = tensors(tangent_vec, base_point)
            return array(exp_map(self.original, x, v))

        def log(self, point: Any, base_point: Any, **_: Any) -> Any:
            y, x = tensors(point, base_point)
            return array(log_map(self.original, x, y))

    return Metric
