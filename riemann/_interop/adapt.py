"""Objects that people bring, as metrics."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._interop import geomstats, geoopt, inner
from riemann._messages.foreign import package_of
from riemann._types import Metric
from riemann.metrics import Constant, Pullback


def adapt(
    object: Any,
    coordinates: Any = None,
    *,
    chart: Callable[[Tensor], Tensor] | None = None,
    **parameters: Any,
) -> Metric:
    r"""Another package's object as a metric: a callable of one point, differentiable, like any other here.

    Taken are geoopt's manifolds; geomstats' metrics and spaces, on its backend `pytorch`; transforms of
    `torch.distributions`; SymPy matrices, `SymbolicMetric` and EinsteinPy's `MetricTensor`; matrices of numbers; and
    anything with `metric_matrix(x)`, `inner(x, u, v)` or `inner_product(u, v, x)`, which is differentiated as it is.
    What is a callable of one point already is returned as it is.

    Args:
        object: one of these.
        coordinates: of a SymPy matrix, names as in `"r theta"` or symbols.
        chart: coordinates `(n,)` to a point of the manifold, where its points obey equations (a Stiefel manifold), or
            for other coordinates. Charts that are known: spheres from the south pole, hyperboloids over their spatial
            coordinates, SPD matrices (and Siegel spaces) by their upper triangle, row by row.
        **parameters: values of what an exact metric contains beside its coordinates, numbers or tensors.

    Returns:
        The metric; `.point(x)`, where it has one, gives the other package's point of coordinates `(n,)`.

    Raises:
        TypeError: nothing is known of such an object.
        ValueError: its points obey equations, and there is no chart; its backend cannot be differentiated.

    Note:
        Parameters of the object, such as a learnable curvature, are those of the metric. Signatures and units are the
        object's: EinsteinPy's spacetimes are (+, -, -, -), over c². geoopt keeps the curvature
        of its balls in single precision, to 1e-7.

    Example:
        >>> import sympy as sp
        >>> x, y, L = sp.symbols("x y L")
        >>> half_plane = adapt(sp.diag(L**2 / y**2, L**2 / y**2), "x y", L=2.0)
        >>> half_plane(torch.tensor([0.0, 2.0]))
        tensor([[1., 0.],
                [0., 1.]])
    """
    if isinstance(getattr(object, "manifold", None), torch.nn.Module) and isinstance(object, Tensor):
        raise TypeError("`object` is a point of a manifold, geoopt's parameter; give `riemann.adapt(object.manifold)`")
    known = package_of(object)
    if known == "sympy":
        return _exact(object, coordinates, parameters)
    if coordinates is not None or parameters:
        given = ", ".join(["coordinates"] * (coordinates is not None) + list(parameters))
        raise TypeError(f"{given}: these are for SymPy's and EinsteinPy's objects, not for a {type(object).__name__}")
    if known == "geoopt":
        return geoopt.metric_of(object, chart)
    if known == "geomstats":
        return geomstats.metric_of(object, chart)
    if known == "transform":
        return _transform(object, chart)
    if known == "numbers":
        return Constant(_numbers(object))
    if known == "inner":
        return _by_inner_product(object, chart)
    if callable(object) and not isinstance(object, type):
        return object
    raise TypeError(f"nothing is known of {_said(object)}")


def _said(object: Any) -> str:
    """What is no metric, and what would be one in its place."""
    name = getattr(object, "__name__", type(object).__name__)
    family = object if isinstance(object, type) else type(object)
    if issubclass(family, torch.distributions.Distribution):
        return f"{name}, a distribution, as a metric; that of a family is `riemann.metrics.Fisher(lambda x: {name}(…))`"
    if isinstance(object, type):
        return f"the class {name} as a metric; expected one of its objects, as in `riemann.adapt({name}(…))`"
    if isinstance(object, str):
        return (
            f"the text {object!r} as a metric; a space of the catalogue by its name is `riemann.spaces.get({object!r})`"
        )
    return (
        f"a {name} as a metric; expected an object of geoopt, geomstats, torch.distributions.transforms, SymPy or "
        "EinsteinPy, or one with a method `metric_matrix(x)` or `inner(x, u, v)`, or write a function of one point: "
        "`def metric(x): return …`, (n,) to (n, n)"
    )


def _numbers(given: Any) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"`object` is a {type(given).__name__} that is no matrix of numbers: {error}") from error


def _by_inner_product(given: Any, chart: Callable[[Tensor], Tensor] | None) -> Metric:
    if hasattr(given, "inner"):
        product = given.inner
    elif hasattr(given, "inner_product"):
        product = lambda p, u, v: given.inner_product(u, v, p)
    else:
        product = None
    if chart is not None:
        if product is None:
            return Pullback(chart, geomstats.Matrix(given))
        return inner.Charted(chart, given, product)
    return geomstats.Matrix(given) if hasattr(given, "metric_matrix") else inner.Inner(given, product)


def _transform(transform: Any, chart: Callable[[Tensor], Tensor] | None) -> Metric:
    """Of the transformed point; without the transform's memory of its last one."""
    plain = transform.with_cache(0) if transform._cache_size else transform
    if chart is None and plain.domain.event_dim > 1:
        raise ValueError(
            f"{inner.named(transform)} takes arrays, expected a transform of vectors or of numbers; give `chart=`, "
            "coordinates (n,) to one of them"
        )
    return inner.Charted(plain if chart is None else lambda x: plain(chart(x)))


def _exact(given: Any, coordinates: Any, parameters: dict[str, Any]) -> Metric:
    """Of a SymPy matrix, a `SymbolicMetric`, or what EinsteinPy makes."""
    import sympy as sp

    from riemann.bridge import to_torch
    from riemann.symbolic import SymbolicMetric

    if isinstance(given, SymbolicMetric):
        return to_torch(given, **parameters)
    if not isinstance(given, sp.MatrixBase | sp.NDimArray):  # EinsteinPy's
        if "MetricTensor" not in {base.__name__ for base in type(given).__mro__}:
            raise TypeError(f"nothing is known of a {type(given).__name__} as a metric; expected its `MetricTensor`")
        if given.config != "ll":
            given = given.lower_config()
        coordinates, given = given.symbols(), given.tensor()
    matrix = sp.Matrix(given.tolist())
    if coordinates is None:
        names = " ".join(sorted(map(str, matrix.free_symbols)))
        raise ValueError(
            f'which of the symbols {names} are coordinates, and in which order? Give `adapt(matrix, "x y")`, and '
            "values of the others, as in `M=1.0`"
        )
    return to_torch(SymbolicMetric(matrix, coordinates), **parameters)
