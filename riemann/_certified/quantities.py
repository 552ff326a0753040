"""The quantities that can be enclosed, and the derivatives of g that they need."""

from collections.abc import Callable
from typing import Any

ORDERS = {
    "metric": 0,
    "inverse_metric": 0,
    "volume_element": 0,
    "log_volume_element": 0,
    "christoffel": 1,
    "riemann_tensor": 2,
    "ricci_tensor": 2,
    "scalar_curvature": 2,
    "gauss_curvature": 2,
    "einstein_tensor": 2,
    "schouten_tensor": 2,
    "weyl_tensor": 2,
    "kretschmann_scalar": 2,
    "cotton_tensor": 3,
    "nabla_riemann": 3,
}
REMAINDER = 2  # degrees of the Taylor form over a box


def named(quantity: str | Callable[..., Any], known: Any) -> str:
    """The name of a quantity, which may be given as the function of that name.

    Raises:
        ValueError: it is not known.
    """
    name = quantity if isinstance(quantity, str) else getattr(quantity, "__name__", repr(quantity))
    if name not in known:
        raise ValueError(f"`quantity` is {name!r}, expected one of {', '.join(known)}")
    return name


def check_dimension(name: str, n: int) -> None:
    """Refuses a quantity that does not exist in n dimensions."""
    if name == "gauss_curvature" and n != 2:
        raise ValueError(f"`gauss_curvature` is that of a surface, and this metric has n = {n}")
    if name in ("schouten_tensor", "cotton_tensor") and n < 3:
        raise ValueError(f"`{name}` needs n >= 3, and this metric has n = {n}")
    if n < 2 and name == "sectional_curvature":
        raise ValueError("`sectional_curvature` needs n >= 2, and this metric has n = 1")
