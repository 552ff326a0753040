"""Taylor forms over many boxes as the numbers over which a traced function runs."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from riemann._certified import stacks
from riemann._certified.balls import ARB, Balls, Choice
from riemann._certified.functions import Numbers, series
from riemann._certified.intervals import Interval, exactly
from riemann._certified.library import flint
from riemann._certified.stacks import Grid, Stack
from riemann.bridge._functions import matrix


class Intervals(Numbers):
    """Tensors of intervals, for SymPy's expressions; what they do not have FLINT computes, one by one."""

    def rational(self, p: int, q: int) -> Interval:
        """The interval of p / q."""
        return stacks.floats(ARB.rational(p, q))

    def pi(self) -> Interval:
        """The interval of pi."""
        return stacks.floats(ARB.pi())

    def euler(self) -> Interval:
        """The interval of Euler's constant."""
        return stacks.floats(ARB.euler())

    def power(self, x: Interval, k: int) -> Interval:
        """x^k."""
        return x.whole_power(k)

    def function(self, name: str, x: Interval, order: int | None = None) -> Interval:
        """A function by SymPy's name."""
        if name in ("exp", "log", "sqrt", "tanh", "sin", "cos", "atan"):
            return getattr(x, name)()
        if name == "tan":
            return x.sin() * x.cos().reciprocal()
        if name in ("sinh", "cosh"):
            up, down = x.exp(), (-x).exp()
            return (up - down if name == "sinh" else up + down).scaled(0.5)
        arb, shape = flint().arb, x.mid.shape
        balls = (arb(m, r) for m, r in zip(x.mid.flatten().tolist(), x.rad.flatten().tolist(), strict=True))
        ends = [stacks.midpoint(ARB.function(name, ball, order)) for ball in balls]
        mid, rad = torch.tensor(ends, dtype=torch.float64).unbind(-1)
        return Interval(mid.reshape(shape), rad.reshape(shape))


INTERVALS = Intervals()


class Boxes(Balls):
    """Many boxes in float64; constants are balls of FLINT.

    Args:
        centre: `(n, boxes)`.
        radii: `(n, boxes)`.
        order: highest derivative that is known.
    """

    def __init__(self, centre: Tensor, radii: Tensor, order: int):
        super().__init__(len(centre), order)
        self.centre, self.grid = centre, Grid(radii)

    @property
    def count(self) -> int:
        """The number of boxes."""
        return self.centre.shape[-1]

    def varies(self, x: Any) -> bool:
        """Whether an element depends on the point."""
        return isinstance(x, Stack)

    def variable(self, k: int, centre: Tensor) -> Stack:
        """Coordinate k."""
        x = self._stack(Interval(centre, torch.zeros_like(centre)), 0.0)
        x.rad[0, 1] = self.grid.radii[k]
        if self.order:
            x.mid[self.space.variables[k]] = 1.0
        return x

    def constant(self, x: Any) -> Stack:
        """A constant as a function."""
        return self.spread(self.number(x), self.grid)

    def spread(self, x: Any, grid: Grid) -> Stack:
        """A constant ball on boxes."""
        like = grid.radii[0]
        mid, rad = stacks.midpoint(x)
        form = self._stack(Interval(torch.full_like(like, mid), torch.full_like(like, rad)), 0.0, grid)
        form.zero = bool(x.is_zero())
        return form

    def spread_numbers(self, values: Tensor) -> Stack:
        """A constant of its own on each box."""
        return self._stack(Interval(values, torch.zeros_like(values)), 0.0)

    def middle(self, x: Any) -> Tensor:
        """A number near the value at the centre of each box."""
        return x.mid[0, 0] if self.varies(x) else torch.full_like(self.centre[0], float(x))

    def _stack(self, value: Interval, rest: float, grid: Grid | None = None) -> Stack:
        """Values that are the same at the centre and over the box, and all derivatives."""
        shape = (len(self.space.exponents), 2, value.mid.shape[-1])
        mid, rad = value.mid.new_full(shape, rest), value.mid.new_zeros(shape)
        mid[0], rad[0] = value.mid, value.rad
        return Stack(mid, rad, self.order, grid or self.grid)

    def without_derivatives(self, value: Any) -> Stack:
        """A function of which these values are known, and no derivative."""
        value = value if isinstance(value, Interval) else self.spread(value, self.grid).value
        return self._stack(
            value, math.nan if self.order else 0.0, self.grid.repeated(value.mid.shape[-1] // self.count)
        )

    @property
    def digits(self) -> int:
        """The precision, in bits."""
        return 53

    def norm(self, x: Stack) -> float:
        """A bound of the sum of absolute values of all coefficients, on every box where they are known."""
        sums = (x.mid.abs() + x.rad).sum(0)
        return float(torch.where(torch.isfinite(sums), sums, 0.0).max()) * 1.000001

    def within(self, radius: float) -> Stack:
        """A function of which no coefficient is larger."""
        x = self._stack(exactly(0.0, self.centre[0]), 0.0)
        x.rad[:] = radius
        return x

    # ------------------------------------------------------------------------------------------------------ functions

    def call(self, name: str, x: Any) -> Any:
        """A function of the table."""
        if not self.varies(x):
            return super().call(name, x)
        return x.composed(lambda u, order: series(name, order).at(INTERVALS, u))

    def quotient(self, x: Any, y: Any) -> Any:
        """The quotient x / y."""
        if not self.varies(y):
            return super().quotient(x, y)
        return (x if self.varies(x) else self.number(x)) / y

    def _powers(self, a: Any, exponent: Any, order: int) -> list[Any]:
        """The derivatives of a^exponent, over their factorials."""
        if not isinstance(a, Interval):
            return super()._powers(a, exponent, order)
        factors = self.binomial(exponent, order)
        return [exactly(0.0, a.mid) if c.is_zero() else self._power_of(a, exponent - k) * stacks.floats(c)
                for k, c in enumerate(factors)]  # fmt: skip

    def _power_of(self, a: Interval, exponent: Any) -> Interval:
        if exponent.is_exact() and exponent.is_integer():
            return a.whole_power(int(float(exponent)))
        if (twice := 2 * exponent).is_exact() and twice.is_integer():
            return a.sqrt().whole_power(int(float(twice)))
        return (a.log() * stacks.floats(exponent)).exp()

    def total(self, xs: Iterable[Any]) -> Any:
        """The sum."""
        xs = list(xs)
        forms = [x for x in xs if self.varies(x)]
        constant = super().total(x for x in xs if not self.varies(x))
        return stacks.total(forms) + constant if forms else constant

    def sum(self, terms: Iterable[Any]) -> Any:
        """The sum."""
        terms = list(terms)
        return stacks.total(terms) if terms else self.constant(0)

    def mapped(self, f: Callable[..., Any], arrays: list[np.ndarray]) -> list[Any]:
        """`f` entry by entry of arrays of one shape: of all entries at once, as if they were more boxes."""
        count = arrays[0].size
        varying = [any(map(self.varies, a.flat)) for a in arrays]
        plain = all(isinstance(e, (Stack, flint().arb)) for a in arrays for e in a.flat)
        if count < 2 or not any(varying) or not plain:
            return [f(*entries) for entries in zip(*(a.flat for a in arrays), strict=True)]

        def wide(a: np.ndarray) -> Any:
            first = a.flat[0]
            if not self.varies(first) and all(not self.varies(e) and first.is_exact() and e == first for e in a.flat):
                return first
            return stacks.merged([e if self.varies(e) else self.constant(e) for e in a.flat])

        y = f(*map(wide, arrays))
        if isinstance(y, Stack):
            return stacks.split(y, count, self.grid)
        if isinstance(y, Choice):
            sides = [[side] * count if isinstance(side, bool) else side.chunk(count) for side in (y.true, y.false)]
            return [Choice(*pair) for pair in zip(*sides, strict=True)]
        return [y] * count

    # -------------------------------------------------------------------------------------------------------- choices

    def finite(self, x: Any) -> Any:
        """Whether values are finite for certain, box by box."""
        return x.value.finite() if isinstance(x, Stack) else x.is_finite()

    def known(self, x: Stack, values: bool = False) -> Tensor:
        """Where all coefficients are known over the box, or the values alone."""
        c = x.truncated(0) if values else x
        return (torch.isfinite(c.mid[:, 1]) & torch.isfinite(c.rad[:, 1])).all(0)

    def signs(self, x: Any) -> tuple[Any, Any]:
        """Whether x is positive, and negative, for certain, box by box."""
        if not self.varies(x):
            return super().signs(x)
        return x.value.lower() > 0, x.value.upper() < 0

    def choose(self, condition: Any, x: Any, y: Any, first: bool = False) -> Any:
        """Of x and y the first where the condition holds; with `first` y also where it is not decided."""
        if isinstance(condition, bool | np.bool_):
            return x if condition else y
        if x is y:
            return x
        count = next(len(side) for side in (condition.true, condition.false) if isinstance(side, Tensor))
        grid = self.grid.repeated(count // self.count)
        x, y = (e if self.varies(e) else self.spread(self.number(e), grid) for e in (x, y))
        order = min(x.order, y.order)
        x, y = x.truncated(order), y.truncated(order)
        true, false = (side if isinstance(side, Tensor) else torch.full((count,), side)
                       for side in (condition.true, condition.false))  # fmt: skip
        union = y if first else self.without_derivatives(x.value.union(y.value)).truncated(order)
        mid, rad = (torch.where(true, a, torch.where(false, b, c))
                    for a, b, c in ((x.mid, y.mid, union.mid), (x.rad, y.rad, union.rad)))  # fmt: skip
        if not bool((true | false).all()):
            self.notes["a choice (`where`, `abs`, `max`, `sign`) is not the same everywhere on it"] = None
        return Stack(mid, rad, order, grid)

    def check_symmetry(self, g: list[list[Any]], i: int, j: int) -> None:
        """Nothing: it is looked at with FLINT, at a point."""

    def nonzero(self, x: Any) -> bool:
        """Whether x is certainly not 0, on all boxes."""
        above, below = self.signs(x)
        return bool(above or below) if isinstance(above, bool) else bool((above | below).all())

    # -------------------------------------------------------------------------------------------------------- matrices

    def pivot(self, column: list[Any]) -> int:
        """The place of the entry of a column to divide by: not 0 on most boxes, and large."""

        def goodness(x: Any) -> tuple[float, float]:
            if not self.varies(x):
                return self.count * (not x.contains(0)), float(x.abs_lower())
            above, below = self.signs(x)
            return float((above | below).sum()), float(x.mid[0, 0].abs().nan_to_num(0.0, 0.0, 0.0).mean())

        return max(range(len(column)), key=lambda k: goodness(column[k]))

    def matmul(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """The product of two matrices; with a constant one all at once."""
        constant = [not any(map(self.varies, F.flat)) for F in (A, B)]
        if constant[1] and not constant[0]:
            return self.matmul(B.T, A.T).T
        if not constant[0] or constant[1] or A.size == 0:
            return super().matmul(A, B)
        ends = torch.tensor([stacks.midpoint(a) for a in A.flat], dtype=torch.float64).reshape(*A.shape, 2)
        factor = Interval(*ends.unbind(-1))
        columns = [[e if self.varies(e) else self.constant(e) for e in column] for column in B.T]
        return matrix(zip(*(stacks.combined(factor, column) for column in columns), strict=True))
