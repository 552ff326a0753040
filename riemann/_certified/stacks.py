r"""Taylor forms over many boxes at once, in float64: coefficients as midpoints and radii, by degree, place and box.

The first place is the centre of a box, the second is all of it, as in `forms`. Rounding errors of sums of k products
are at most $k u \sum |t|$ to first order, in any order of summation (Rump, BIT 39, 1999; Higham, *Accuracy and
Stability of Numerical Algorithms*, 3.1).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from riemann._certified.forms import contributions
from riemann._certified.intervals import Interval, U, up
from riemann.symbolic._taylor import space


class Products(NamedTuple):
    """Places of the factors and of the products of coefficients, and the largest number of terms of one."""

    left: Tensor
    right: Tensor
    target: Tensor
    terms: int


@functools.cache
def _product_tables(n: int, order: int) -> tuple[np.ndarray, int]:
    factors = space(n, order).factors
    return np.array([(i, j, k) for k, pairs in enumerate(factors) for i, j in pairs]).T, max(map(len, factors))


def _products(n: int, order: int) -> Products:
    (left, right, target), terms = _product_tables(n, order)
    return Products(*map(torch.from_numpy, (left.copy(), right.copy(), target.copy())), terms)


class Tightening(NamedTuple):
    r"""The terms of Taylor forms: places, weights times midpoints and radii of $h^\beta$, `(terms, boxes)`."""

    target: Tensor
    source: Tensor
    mid: Tensor
    rad: Tensor
    terms: int


class Grid:
    """Distances from the centres of many boxes.

    Args:
        radii: `(n, boxes)`.
    """

    def __init__(self, radii: Tensor):
        self.radii = radii
        self._products: dict[int, Products] = {}
        self._tightenings: dict[int, Tightening] = {}
        self._repeated: dict[int, Grid] = {}

    @property
    def n(self) -> int:
        """The number of coordinates."""
        return len(self.radii)

    def products(self, order: int) -> Products:
        """How coefficients multiply."""
        if order not in self._products:
            self._products[order] = _products(self.n, order)
        return self._products[order]

    def repeated(self, times: int) -> "Grid":
        """The same boxes again and again."""
        if times == 1:
            return self
        if times not in self._repeated:
            self._repeated[times] = Grid(self.radii.repeat(1, times))
        return self._repeated[times]

    def tightening(self, order: int) -> Tightening:
        """The terms of the Taylor forms of coefficients below a degree."""
        if order not in self._tightenings:
            terms = contributions(self.n, order)
            mids, rads = [], []
            for term in terms:
                size = torch.full_like(self.radii[0], float(term.weight))
                for r, b in zip(self.radii, term.beta, strict=True):
                    for _ in range(b):
                        size = up(size * r)
                both = not any(term.beta)
                mids.append(size if both else size / 2 if term.even else torch.zeros_like(size))
                rads.append(torch.zeros_like(size) if both else size / 2 if term.even else size)
            target, source = (torch.tensor([term[k] for term in terms]) for k in (0, 1))
            count = int(target.bincount().max())
            self._tightenings[order] = Tightening(target, source, torch.stack(mids), torch.stack(rads), count)
        return self._tightenings[order]


class Stack:
    """A function on many boxes.

    Args:
        mid: midpoints of its Taylor coefficients, `(monomials, 2, boxes)`: at the centre, and over the box.
        rad: their radii.
        order: the degree up to which they are known.
        grid: the boxes.
        zero: whether it is 0 whatever the box, so that sums and products leave it out.
    """

    __slots__ = ("grid", "mid", "order", "rad", "zero")

    def __init__(self, mid: Tensor, rad: Tensor, order: int, grid: Grid, zero: bool = False):
        self.mid, self.rad, self.order, self.grid, self.zero = mid, rad, order, grid, zero

    def __bool__(self) -> bool:
        return not self.zero

    @property
    def value(self) -> Interval:
        """The values over the boxes."""
        return Interval(self.mid[0, 1], self.rad[0, 1])

    @property
    def both(self) -> Interval:
        """The values at the centres and over the boxes, `(2, boxes)`."""
        return Interval(self.mid[0], self.rad[0])

    def tightened(self) -> "Stack":
        """The same, what is over the boxes by its Taylor form where that is sharper; changes this one."""
        if self.order == 0:
            return self
        t = self.grid.tightening(self.order)
        low = space(self.grid.n, self.order).sizes[self.order - 1]
        mid, rad = (torch.cat([c[:low, 0], c[low:, 1]])[t.source] for c in (self.mid, self.rad))
        zeros = self.mid.new_zeros(low, self.mid.shape[-1])
        form = zeros.index_add(0, t.target, mid * t.mid)
        size = mid.abs()
        terms = size * (t.rad + (t.terms + 4) * U * t.mid) + rad * (t.mid + t.rad)
        radius = up(zeros.index_add(0, t.target, terms), t.terms + 30)
        sharper = torch.isfinite(form) & torch.isfinite(radius) & ~(radius >= self.rad[:low, 1])
        self.mid[:low, 1] = torch.where(sharper, form, self.mid[:low, 1])
        self.rad[:low, 1] = torch.where(sharper, radius, self.rad[:low, 1])
        return self

    def __neg__(self) -> "Stack":
        return Stack(-self.mid, self.rad, self.order, self.grid, self.zero)

    def __add__(self, other: Any) -> "Stack":
        if isinstance(other, Stack):
            return total([self, other])
        mid, rad = self.mid.clone(), self.rad.clone()
        first = self.both + floats(other)
        mid[0], rad[0] = first.mid, first.rad
        return Stack(mid, rad, self.order, self.grid)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Stack":
        return self + -other

    def __rsub__(self, other: Any) -> "Stack":
        return -self + other

    def __mul__(self, other: Any) -> "Stack":
        if isinstance(other, Stack):
            order = min(self.order, other.order)
            zero = next((x for x in (self, other) if x.zero), None)
            return zero.truncated(order) if zero is not None else self.product(other, order).tightened()
        c = Interval(self.mid, self.rad) * floats(other)
        return Stack(c.mid, c.rad, self.order, self.grid)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Stack":
        return self * (other.composed(reciprocals) if isinstance(other, Stack) else 1 / other)

    def __rtruediv__(self, other: Any) -> "Stack":
        return self.composed(reciprocals) * other

    def product(self, other: "Stack", order: int) -> "Stack":
        """The product up to a degree, as it comes."""
        p = self.grid.products(order)
        size = space(self.grid.n, order).sizes[order]
        a, b = (Interval(x.mid[:size].flatten(1), x.rad[:size].flatten(1)) for x in (self, other))
        left, right = p.left, p.right
        zeros = a.mid.new_zeros(size, a.mid.shape[-1])
        mid = zeros.index_add(0, p.target, a.mid[left] * b.mid[right])
        size_b = b.mid.abs()
        terms = a.mid.abs()[left] * (b.rad + (p.terms + 4) * U * size_b)[right]
        terms = terms.addcmul_(a.rad[left], (size_b + b.rad)[right])
        rad = up(zeros.index_add(0, p.target, terms), p.terms + 30)
        shape = (size, *self.mid.shape[1:])
        return Stack(mid.reshape(shape), rad.reshape(shape), order, self.grid)

    def composed(self, terms: Callable[[Interval, int], list[Interval]]) -> "Stack":
        """A function f of this one; `terms` gives f^(k) / k!, k = 0 … order."""
        u, order = self.both, self.order
        c = [Interval(*map(torch.clone, torch.broadcast_tensors(t.mid, t.rad, u.mid)[:2])) for t in terms(u, order)]
        distance = Interval(u.mid[1], u.rad[1]) - Interval(u.mid[0], u.rad[0])
        for k in reversed(range(order)):  # the Taylor form in one variable
            slope = Interval(c[k + 1].mid[1], c[k + 1].rad[1]).scaled(k + 1.0) * distance
            form = Interval(c[k].mid[0], c[k].rad[0]) + slope
            sharper = form.finite() & ~(form.rad >= c[k].rad[1])
            c[k].mid[1] = torch.where(sharper, form.mid, c[k].mid[1])
            c[k].rad[1] = torch.where(sharper, form.rad, c[k].rad[1])
        rest = Stack(self.mid.clone(), self.rad.clone(), order, self.grid)
        rest.mid[0], rest.rad[0] = 0.0, 0.0
        y = Stack(c[order].mid[None], c[order].rad[None], 0, self.grid)
        for k in reversed(range(order)):  # each step raises the degree by one
            degree = order - k
            y = _padded(y, degree).product(rest, degree)
            first = y.both + c[k]
            y.mid[0], y.rad[0] = first.mid, first.rad
        return y.tightened()

    def truncated(self, order: int) -> "Stack":
        """The same, known to an order that is no higher than its own."""
        size = space(self.grid.n, self.order).sizes[order]
        return Stack(self.mid[:size], self.rad[:size], order, self.grid, self.zero)

    def derivative(self, k: int) -> "Stack":
        """The derivative by coordinate k: one order less."""
        s = space(self.grid.n, self.order)
        size = s.sizes[self.order - 1]
        places = torch.tensor([i for i, _ in s.raised[k][:size]])
        factors = torch.tensor([float(f) for _, f in s.raised[k][:size]], dtype=torch.float64)[:, None, None]
        mid = self.mid[places] * factors
        rad = up(self.rad[places] * factors + U * mid.abs())
        return Stack(mid, rad, self.order - 1, self.grid, self.zero)


def reciprocals(x: Interval, order: int) -> list[Interval]:
    """The derivatives of 1 / x, over their factorials."""
    powers = [x.reciprocal()]
    for _ in range(order):
        powers.append(-powers[-1] * powers[0])
    return powers


def _padded(x: Stack, order: int) -> Stack:
    """The series to a higher order, with zeros."""
    missing = space(x.grid.n, order).sizes[order] - len(x.mid)
    zeros = x.mid.new_zeros(missing, *x.mid.shape[1:])
    return Stack(torch.cat([x.mid, zeros]), torch.cat([x.rad, zeros]), order, x.grid)


def total(xs: Sequence[Stack]) -> Stack:
    """The sum."""
    order = min(x.order for x in xs)
    size = space(xs[0].grid.n, order).sizes[order]
    some = [x for x in xs if not x.zero]
    if len(some) < 2:
        return (some or xs)[0].truncated(order)
    mid, rad, terms = 0, 0, 0
    for x in some:
        mid, rad, terms = mid + x.mid[:size], rad + x.rad[:size], terms + x.mid[:size].abs()
    return Stack(mid, up(rad + len(xs) * U * terms, len(xs) + 30), order, xs[0].grid).tightened()


def combined(A: Interval, xs: Sequence[Stack]) -> list[Stack]:
    """The products of a constant matrix `(m, k)` with k functions."""
    m, k = A.mid.shape
    mid, rad = (torch.stack([getattr(x, part) for x in xs]).reshape(k, -1) for part in ("mid", "rad"))
    size, x = mid.abs(), xs[0]
    rad = A.mid.abs() @ (rad + (k + 4) * U * size)
    if bool(A.rad.any()):
        rad = rad + A.rad @ (size + torch.stack([x.rad for x in xs]).reshape(k, -1))
    shape = (m, *x.mid.shape)
    both = ((A.mid @ mid).reshape(shape), up(rad, k + 30).reshape(shape))
    mid, rad = (t.permute(1, 2, 0, 3).flatten(2) for t in both)
    return split(Stack(mid, rad, x.order, x.grid.repeated(m)).tightened(), m, x.grid)


def merged(xs: Sequence[Stack]) -> Stack:
    """Functions on the same boxes as one, on these boxes again and again."""
    order = min(x.order for x in xs)
    size = space(xs[0].grid.n, order).sizes[order]
    mid, rad = (torch.cat([getattr(x, part)[:size] for x in xs], dim=-1) for part in ("mid", "rad"))
    return Stack(mid, rad, order, xs[0].grid.repeated(len(xs)))


def split(x: Stack, parts: int, grid: Grid) -> list[Stack]:
    """The opposite."""
    pieces = zip(x.mid.chunk(parts, -1), x.rad.chunk(parts, -1), strict=True)
    return [Stack(mid, rad, x.order, grid) for mid, rad in pieces]


def floats(ball: Any) -> Interval:
    """A ball of FLINT as an interval around it."""
    if isinstance(ball, int | float):
        return Interval(torch.tensor(float(ball), dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64))
    return Interval(*(torch.tensor(v, dtype=torch.float64) for v in midpoint(ball)))


def midpoint(ball: Any) -> tuple[float, float]:
    """A float near the middle of a ball, and a distance from it that holds the ball."""
    mid = float(ball)
    if not math.isfinite(mid):
        return math.nan, math.nan
    radius = (ball - type(ball)(mid)).abs_upper()
    rad = float(radius)
    return mid, 0.0 if radius.is_zero() else math.nextafter(rad, math.inf) * (1 + 4 * U)
