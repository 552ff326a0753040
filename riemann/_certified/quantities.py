"""The quantities that can be enclosed, and what they need of g."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Quantity(NamedTuple):
    """What a quantity is.

    Attributes:
        order: the highest derivative of g in it.
        rank: the number of its indices.
        inverse: whether it needs the inverse of g.
    """

    order: int
    rank: int
    inverse: bool = True


QUANTITIES = {
    "metric": Quantity(0, 2, inverse=False),
    "inverse_metric": Quantity(0, 2),
    "volume_element": Quantity(0, 0, inverse=False),
    "log_volume_element": Quantity(0, 0, inverse=False),
    "christoffel": Quantity(1, 3),
    "riemann_tensor": Quantity(2, 4),
    "ricci_tensor": Quantity(2, 2),
    "scalar_curvature": Quantity(2, 0),
    "gauss_curvature": Quantity(2, 0),
    "einstein_tensor": Quantity(2, 2),
    "schouten_tensor": Quantity(2, 2),
    "weyl_tensor": Quantity(2, 4),
    "kretschmann_scalar": Quantity(2, 0),
    "cotton_tensor": Quantity(3, 3),
    "nabla_riemann": Quantity(3, 5),
    "cotton_york_tensor": Quantity(3, 2),
    "bach_tensor": Quantity(4, 2),
}
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
    if name in ("schouten_tensor", "cotton_tensor") and n < 3:
        raise ValueError(f"`{name}` needs n >= 3, and this metric has n = {n}")
    only = {"cotton_york_tensor": 3, "bach_tensor": 4}.get(name, n)
    if n != only:
        raise ValueError(f"`{name}` needs n = {only}, and this metric has n = {n}")
    if name == "sectional_curvature" and n < 2:
        raise ValueError("`sectional_curvature` needs n >= 2, and this metric has n = 1")
