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
    "the injectivity radius is not bounded by curvature on a box: it depends on short loops anywhere. Theorems "
    "bound it on a complete manifold, by `sectional_curvature` K certified on charts that cover it. It is "
    "infinite where K <= 0 and the manifold is simply connected (Cartan, Hadamard). It is at least pi / sqrt(D) "
    "where 0 < K <= D and the manifold is not compact (Gromoll, Meyer 1969), or compact, orientable and of even "
    "dimension (Klingenberg 1959); and where D / 4 < K <= D and it is compact and simply connected (Klingenberg "
    "1961). Certify with `above=0`, or D / 4, and `below=D`; what is said of the manifold is for you to know"
)
REMAINDER = 2  # degree of the Taylor form of a quantity over a box


def named(quantity: str | Callable[..., Any], known: Iterable[str]) -> str:
    """The name of a quantity, which may be given as the function of that name.

    Raises:
        ValueError: it is not known, or it is the injectivity radius, of which a box does not tell.
    """
    name = quantity if isinstance(quantity, str) else getattr(quantity, "__name__", repr(quantity))
    if name == "injectivity_radius":
        raise ValueError(INJECTIVITY)
    if name not in known:
        raise ValueError(f"`quantity` is {name!r}, expected one of {', '.join(known)}")
    return name


def check_dimension(name: str, n: int) -> None:
    """Refuses a quantity that does not exist in n dimensions."""
    if name == "gauss_curvature" and n != 2:
        raise ValueError(f"`gauss_curvature` is that of a surface, and this metric has n = {n}")
    known = (QUANTITIES | FORMS)[name]
    if not known.least <= n <= (known.most or n):
        needs = f"n = {known.most}" if known.most else f"n >= {known.least}"
        raise ValueError(f"`{name}` needs {needs}, and this metric has n = {n}")
