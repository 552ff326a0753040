r"""Taylor forms: a function on a box by its power series at the centre and enclosures of its derivatives on the box.

For each coefficient of a power series there are two balls: of its value at the centre, and of its values over the box.
Operations are those of power series, on both. Then what is over the box is tightened: by Taylor's theorem the
coefficient $c_\alpha$ of degree below the order N is, at $m + h$,

$$\sum_{|\alpha + \beta| < N} \binom{\alpha + \beta}{\alpha} c_{\alpha + \beta}(m) h^\beta
+ \sum_{|\alpha + \beta| = N} \binom{\alpha + \beta}{\alpha} c_{\alpha + \beta}(\xi) h^\beta$$

(Rall, *Mean value and Taylor forms in interval analysis*, SIAM J. Math. Anal. 14, 1983; Neumaier, *Interval Methods for
Systems of Equations*, 2.3), whose dependence on h interval arithmetic would forget.
"""

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from riemann.symbolic._taylor import Taylor, space


class Contribution(NamedTuple):
    r"""A term of the Taylor form of coefficient `target`: `weight` times coefficient `source` times $h^\beta$."""

    target: int
    source: int
    weight: int
    beta: tuple[int, ...]

    @property
    def even(self) -> bool:
        r"""Whether $h^\beta$ is not negative."""
        return all(b % 2 == 0 for b in self.beta)


@functools.cache
def contributions(n: int, order: int) -> tuple[Contribution, ...]:
    """The terms of the Taylor forms of all coefficients of degree below `order`."""
    exponents = space(n, order).exponents
    found = []
    for (i, a), (k, c) in itertools.product(enumerate(exponents), repeat=2):
        if sum(a) < order and all(p <= q for p, q in zip(a, c, strict=True)):
            weight = math.prod(math.comb(q, p) for p, q in zip(a, c, strict=True))
            found.append(Contribution(i, k, weight, tuple(q - p for p, q in zip(a, c, strict=True))))
    return tuple(found)


class Box:
    """Distances from a centre.

    Args:
        radii: one ball a coordinate, whose upper ends count.
    """

    def __init__(self, radii: list[Any]):
        self.radii = radii
        self._powers: dict[tuple[int, ...], Any] = {}

    def power(self, beta: tuple[int, ...]) -> Any:
        r"""The ball of $h^\beta$."""
        if beta not in self._powers:
            self._powers[beta] = math.prod(
                (self._of_one(r, b) for r, b in zip(self.radii, beta, strict=True) if b), start=1
            )
        return self._powers[beta]

    def _of_one(self, r: Any, b: int) -> Any:
        size = r**b
        return (0 * size).union(size) if b % 2 == 0 else (-size).union(size)

    def tightened(self, at: Taylor, over: Taylor) -> Taylor:
        """`over`, each coefficient by its Taylor form where that is the sharper ball."""
        n, order = len(self.radii), over.order
        low = over.space.sizes[order - 1] if order else 0
        forms: list[Any] = [0] * low
        for term in contributions(n, order):
            source = at if term.source < low else over
            if coefficient := source.c[term.source]:
                forms[term.target] = forms[term.target] + coefficient * self.power(term.beta) * term.weight
        pairs = zip(forms, over.c, strict=False)
        return Taylor([*map(_sharper, pairs), *over.c[low:]], order, over.space)


def _sharper(pair: tuple[Any, Any]) -> Any:
    form, naive = pair
    if isinstance(form, int) or isinstance(naive, int):  # a zero that nothing has touched
        return form if isinstance(form, int) else naive
    return form if form.is_finite() and not form.rad() >= naive.rad() else naive


class Form:
    """A function on a box, or at a point, where both parts are the same series.

    Args:
        at: the series at the centre.
        over: enclosures of the coefficients over the box.
        box: None at a point.
    """

    __slots__ = ("at", "box", "over")

    def __init__(self, at: Taylor, over: Taylor, box: Box | None):
        self.at, self.over, self.box = at, over, box

    def each(self, f: Callable[..., Taylor], *others: Any) -> "Form":
        """A function of series, of this one and of others, and of numbers."""
        at = f(self.at, *(y.at if isinstance(y, Form) else y for y in others))
        if self.box is None:
            return Form(at, at, None)
        over = f(self.over, *(y.over if isinstance(y, Form) else y for y in others))
        return Form(at, self.box.tightened(at, over), self.box)

    @property
    def order(self) -> int:
        """The degree up to which coefficients are known."""
        return self.over.order

    @property
    def value(self) -> Any:
        """The ball of the values."""
        return self.over.c[0]

    def __bool__(self) -> bool:
        return bool(self.over) or bool(self.at)

    def __neg__(self) -> "Form":
        return self.each(operator.neg)

    def __add__(self, other: Any) -> "Form":
        return self.each(operator.add, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Form":
        return self.each(operator.sub, other)

    def __rsub__(self, other: Any) -> "Form":
        return -self + other

    def __mul__(self, other: Any) -> "Form":
        return self.each(operator.mul, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Form":
        return self.each(operator.truediv, other)

    def __rtruediv__(self, other: Any) -> "Form":
        return self.each(lambda x: x.reciprocal() * other)

    def composed(self, terms: Callable[[Any, int], list[Any]]) -> "Form":
        """A function f of this one; `terms` gives f^(k) / k!, k = 0 … order, at a ball."""
        at = terms(self.at.c[0], self.order)
        if self.box is None:
            series = self.at.composed(at)
            return Form(series, series, None)
        over = terms(self.over.c[0], self.order)
        distance = self.over.c[0] - self.at.c[0]
        for k in reversed(range(self.order)):  # the Taylor form in one variable
            over[k] = _sharper((at[k] + over[k + 1] * distance * (k + 1), over[k]))
        series = self.at.composed(at)
        return Form(series, self.box.tightened(series, self.over.composed(over)), self.box)

    def truncated(self, order: int) -> "Form":
        """The same, known to an order that is no higher than its own."""
        return Form(self.at.truncated(order), self.over.truncated(order), self.box)

    def derivative(self, k: int) -> "Form":
        """The derivative by coordinate k: one order less."""
        return Form(self.at.derivative(k), self.over.derivative(k), self.box)
