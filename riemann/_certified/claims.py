r"""What is claimed of a metric on a box: bounds of a number, or of all quotients of two quadratic forms.

A bound of numbers q is the sign of $c - q$. A bound of $Q(v) / G(v)$ for all v (eigenvalues of Ricci relative to g,
sectional curvatures, eigenvalues of g) is that $cG - Q$ is positive definite: that its pivots are positive (Sylvester).
In two and three dimensions every bivector is that of a plane, so the bound of sectional curvature is that of the
curvature operator. From four on a four-form is added, which is 0 on planes: in four dimensions the best one loses
nothing (Thorpe, *Math. Ann.* 194, 1971), from five on it is sufficient only. One a box, the best at its centre.
"""

from dataclasses import dataclass
from typing import Any

from riemann._certified.geometry import Enclosed
from riemann._certified.quantities import FORMS, QUANTITIES

Sides = tuple[tuple[float, float], ...]
NUMBERS = tuple(name for name, quantity in QUANTITIES.items() if quantity.rank == 0)
RADIUS = "injectivity_radius"
CLAIMS = (*NUMBERS, *FORMS, RADIUS)


@dataclass(frozen=True)
class Claim:
    """A statement: above < quantity < below, strictly, where None is no bound.

    Attributes:
        within: the chart, of a claim of injectivity radii.
    """

    name: str
    above: float | None
    below: float | None
    within: Sides | None = None

    @property
    def order(self) -> int:
        """The highest derivative of g in it."""
        return (QUANTITIES | FORMS)[self.name].order

    def number(self, here: Enclosed) -> Any:
        """The quantity itself, where it is a number."""
        return getattr(here, "gauss_curvature" if self.name == "sectional_curvature" else self.name)()

    def is_number(self, n: int) -> bool:
        """Whether it is one: a surface has one sectional curvature."""
        return self.name in NUMBERS or self.name == "sectional_curvature" and n == 2

    def is_exact(self, n: int) -> bool:
        """Whether small boxes are decided by the quadratic forms wherever the claim holds, or fails, strictly."""
        return self.name != "sectional_curvature" or n < 5

    def forms(self, here: Enclosed) -> tuple[list[list[Any]], list[list[Any]]]:
        """Q and G, whose quotients are bounded."""
        return {
            "sectional_curvature": here.sectional_forms,
            "ricci_eigenvalues": here.ricci_forms,
            "metric_eigenvalues": here.metric_forms,
        }[self.name]()

    def positive(self, here: Enclosed) -> list[Any]:
        """What is positive exactly where the claim holds (sufficient only where it is not `is_exact`)."""
        sides = [(sign, c) for sign, c in ((-1, self.below), (1, self.above)) if c is not None]
        if self.is_number(here.dim):
            q = self.number(here)
            return [(q - here.ball(c)) * here.ball(sign) for sign, c in sides]
        Q, G = self.forms(here)
        found = here.pivots(G) if self.name != "metric_eigenvalues" else []
        for sign, c in sides:
            M = [[(a - b * here.ball(c)) * here.ball(sign) for a, b in zip(*rows, strict=True)]
                 for rows in zip(Q, G, strict=True)]  # fmt: skip
            of_planes = self.name == "sectional_curvature" and here.dim > 3
            found += here.pivots(here.with_four_form(M, G) if of_planes else M)
        return found

    def violated(self, ball: Any) -> bool:
        """Whether a value of the quantity contradicts the claim for certain."""
        return bool(self.below is not None and ball >= self.below or self.above is not None and ball <= self.above)

    def __str__(self) -> str:
        """The statement."""
        left = f"{self.above!r} < " if self.above is not None else ""
        chart = f" within the chart {self.within}" if self.within else ""
        return left + self.name + (f" < {self.below!r}" if self.below is not None else "") + chart
