"""The quantities that can be enclosed, or bounded, and what they need of g."""

from collections.abc import Callable, Iterable
from typing import Any

from riemann._curvature import QUANTITIES as CURVATURE
from riemann._curvature import Quantity

QUANTITIES = {"metric": Quantity(0, "ll"), **CURVATURE, "gauss_curvature": Quantity(2)}
"""The table of quantities, and what can be enclosed beside it."""
FORMS = {
    "sectional_curvature": Quantity(2, "ll", least=2),
    "ricci_eigenvalues": Quantity(2, "ll"),
    "metric_eigenvalues": Quantity(0, "ll"),
}
"""Pairs of quadratic forms, whose quotients can be bounded."""
WITHOUT_INVERSE = {"metric", "volume_element", "log_volume_element", "metric_eigenvalues"}
INJECTIVITY = (
    "the injectivity radius has no enclosure. It has a lower bound: `bound_injectivity_radius(metric, x, box)`, or "
    '`certify(metric, "injectivity_radius", box, above=c)`'
)
REMAINDER = 2  # degree of the Taylor form of a quantity over a box


def named(quantity: str | Callable[..., Any], known: Iterable[str]) -> str:
    """The name of a quantity, which may be given as the function of that name.

    Raises:
        ValueError: it is not known, or it is the injectivity radius, which has no enclosure.
    """
    name = quantity if isinstance(quantity, str) else getattr(quantity, "__name__", repr(quantity))
    if name == "injectivity_radius" and name not in known:
        raise ValueError(INJECTIVITY)
    if name not in known:
        raise ValueError(f"`quantity` is {name!r}, expected one of {', '.join(known)}")
    return name


def check_dimension(name: str, n: int) -> None:
    """Refuses a quantity that does not exist in n dimensions."""
    if name == "gauss_curvature" and n != 2:
        raise ValueError(f"`gauss_curvature` is that of a surface, and this metric has n = {n}")
    known = (QUANTITIES | FORMS).get(name, Quantity(2))  # injectivity radii, in any dimension
    if not known.least <= n <= (known.most or n):
        needs = f"n = {known.most}" if known.most else f"n >= {known.least}"
        raise ValueError(f"`{name}` needs {needs}, and this metric has n = {n}")
