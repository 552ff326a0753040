"""Objects of other packages: which they are, without importing the packages."""

from typing import Any

import torch


def package_of(object: Any) -> str | None:
    """What `riemann.adapt` makes a metric of; None for a callable, and for what it knows nothing of."""
    if isinstance(object, type):
        return None
    homes = {base.__module__.split(".")[0] for base in type(object).__mro__}
    if "geoopt" in homes:
        return "geoopt"
    if "geomstats" in homes and (hasattr(object, "_space") or hasattr(object, "metric")):
        return "geomstats"
    if isinstance(object, torch.distributions.transforms.Transform):
        return "transform"
    if type(object).__name__ in ("MetricTensor", "SymbolicMetric") or "einsteinpy" in homes:
        return "sympy"
    if "sympy" in homes and hasattr(object, "tolist"):
        return "sympy"
    if isinstance(object, torch.Tensor | list | tuple) or "numpy" in homes:
        return "numbers"
    if _is_a_function(object):
        return None
    return "inner" if any(hasattr(object, name) for name in ("metric_matrix", "inner", "inner_product")) else None


def _is_a_function(object: Any) -> bool:
    """Whether it can be called with a point; a module without a `forward` cannot."""
    if isinstance(object, torch.nn.Module) and not isinstance(object, torch.jit.ScriptModule):
        return type(object).forward is not torch.nn.Module.forward
    return callable(object)


def check_adapted(object: Any) -> None:
    """Raises for an object that `riemann.adapt` makes a metric of, and that is none by itself."""
    known = package_of(object)
    if known is None:
        return
    if isinstance(object, torch.Tensor) and (object.ndim != 2 or object.shape[0] != object.shape[1]):
        raise TypeError(
            f"`metric` is a tensor of shape {tuple(object.shape)}, expected a callable: one point of shape (n,) to a "
            "matrix (n, n); the metric is the first argument, the points are the second"
        )
    whose = {"numbers": "a matrix of numbers", "transform": "a transform of torch.distributions"}
    what = whose.get(known, f"an object of {type(object).__module__.split('.')[0]}")
    arguments = "metric, coordinates" if known == "sympy" and hasattr(object, "tolist") else "metric"
    raise TypeError(
        f"`metric` is a {type(object).__name__}, {what}, expected a callable: one point of shape (n,) to a matrix "
        f"(n, n); give `riemann.adapt({arguments})`, which makes one of it"
    )
