"""Balls as the numbers over which a traced function runs: every rounding is inside.

Constants are balls of FLINT (`arb`), around the binary number that the program holds. What varies is a Taylor form. A
condition that does not hold, or fail, on all of the box is not decided: the union of both sides encloses the value, and
no derivative is known.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from riemann._certified.exponential import exponential
from riemann._certified.forms import Box, Form
from riemann._certified.functions import constant, series
from riemann._certified.library import flint
from riemann.bridge._functions import Inexpressible, Undecided, matrix
from riemann.symbolic._taylor import Taylor, space


class Arb:
    """FLINT's balls, for SymPy's expressions."""

    def rational(self, p: int, q: int) -> Any:
        """The ball of p / q."""
        return flint().arb(flint().fmpq(p, q))

    def pi(self) -> Any:
        """The ball of pi."""
        return flint().arb.pi()

    def euler(self) -> Any:
        """The ball of Euler's constant."""
        return flint().arb.const_euler()

    def power(self, x: Any, k: int) -> Any:
        """x^k."""
        if k < 0:
            return 1 / self.power(x, -k)
        if k and x.is_finite() and x.contains(0):
            upper, lower = x.upper() ** k, x.lower() ** k
            return flint().arb(0).union(abs(x).upper() ** k) if k % 2 == 0 else lower.union(upper)
        return x**k

    def function(self, name: str, x: Any, order: int | None = None) -> Any:
        """A function by SymPy's name."""
        if name == "Abs":
            return abs(x)
        if name == "polygamma":
            return flint().acb(x).polygamma(order).real
        if name.startswith("bessel"):
            return getattr(x, f"bessel_{name[-1]}")(order)
        if not hasattr(x, name):
            raise Inexpressible(f"has no enclosure: balls have no `{name}`")
        return getattr(x, name)()


ARB = Arb()
ASYMMETRY = 1e-6  # of entries across the diagonal, which is averaged away, as everywhere in riemann


@dataclass(frozen=True)
class Choice(Undecided):
    """Where a condition certainly holds, and where it certainly fails: bools, or masks of boxes."""

    true: Any
    false: Any


class Balls:
    """Balls of FLINT at one point, or over one box.

    Args:
        n: number of coordinates.
        order: highest derivative that is known.
        box: None at a point.
    """

    kind = "balls"
    has_pairs = True  # complex numbers on the way

    def __init__(self, n: int, order: int, box: Box | None = None):
        self.n, self.order, self.box, self.space = n, order, box, space(n, order)
        self.notes: dict[str, None] = {}

    # ------------------------------------------------------------------------------------------- numbers and elements

    def number(self, x: Any) -> Any:
        """The ball for a number: a float is the binary number that it is."""
        if isinstance(x, complex):
            raise Inexpressible("makes complex numbers, which have no enclosure")
        if isinstance(x, sp.Basic):
            return constant(x, ARB)
        arb = flint().arb
        return x if isinstance(x, arb) else arb(x.item() if isinstance(x, np.generic) else x)

    def single(self, x: Any) -> Any:
        """A result in single precision: a constant that the program holds is rounded; what varies counts as exact."""
        if self.varies(x) or not x.is_exact() or not x.is_finite():
            return x
        return self.number(np.float32(float(x)))

    def plain(self, x: Any) -> float:
        """The float that a constant is."""
        if not x.is_exact():
            raise Inexpressible("makes an integer of a number that is not known exactly")
        return float(x)

    def varies(self, x: Any) -> bool:
        """Whether an element depends on the point."""
        return isinstance(x, Form)

    def variable(self, k: int, centre: Any) -> Any:
        """Coordinate k."""
        one = self.number(1)
        at = self._taylor(centre)
        over = at if self.box is None else self._taylor(centre + (-self.box.radii[k]).union(self.box.radii[k]))
        for x in (at, over) if self.order else ():
            x.c[self.space.variables[k]] = one
        return Form(at, over, self.box)

    def constant(self, x: Any) -> Any:
        """A constant as a function."""
        x = self.number(x)
        at = self._taylor(0 if x.is_zero() else x)
        return Form(at, at, self.box)

    def _taylor(self, value: Any, rest: Any = 0) -> Taylor:
        return Taylor([value, *[rest] * (len(self.space.exponents) - 1)], self.order, self.space)

    def value(self, x: Any) -> Any:
        """The ball of the values."""
        return x.value if self.varies(x) else x

    def without_derivatives(self, value: Any) -> Any:
        """A function of which these values are known, and no derivative."""
        x = self._taylor(value, self.number(math.nan) if self.order else 0)
        return Form(x, x, self.box)

    def nowhere(self) -> Any:
        """A function of which nothing is known."""
        return self.without_derivatives(self.number(math.nan))

    # ------------------------------------------------------------------------------------------------------ functions

    def call(self, name: str, x: Any) -> Any:
        """A function of the table."""
        return self._composed(lambda a, order: series(name, order).at(ARB, self.number(a)), x)

    def _composed(self, terms: Callable[[Any, int], list[Any]], x: Any) -> Any:
        return x.composed(terms) if self.varies(x) else terms(x, 0)[0]

    def quotient(self, x: Any, y: Any) -> Any:
        """The quotient x / y."""
        x, y = (e if self.varies(e) else self.number(e) for e in (x, y))
        return x * self._composed(lambda a, order: self._powers(a, self.number(-1), order), y)

    def power(self, x: Any, exponent: Any) -> Any:
        """x^exponent, by the binomial series."""
        if self.varies(exponent):
            return self.call("exp", exponent * self.call("log", x))
        exponent = self.number(exponent)
        return self._composed(lambda a, order: self._powers(a, exponent, order), x)

    def _powers(self, a: Any, exponent: Any, order: int) -> list[Any]:
        """The derivatives of a^exponent, over their factorials."""
        whole = int(float(exponent)) if exponent.is_exact() and exponent.is_integer() else None
        return [c if c.is_zero() else c * self._power(a, exponent - k, None if whole is None else whole - k)
                for k, c in enumerate(self.binomial(exponent, order))]  # fmt: skip

    def binomial(self, exponent: Any, order: int) -> list[Any]:
        """The binomial coefficients of an exponent."""
        factors = [self.number(1)]
        for k in range(order):
            factors.append(factors[-1] * (exponent - k) / (k + 1))
        return factors

    def _power(self, a: Any, exponent: Any, whole: int | None) -> Any:
        a = self.number(a)
        if whole is not None:
            return ARB.power(a, whole)
        if (twice := 2 * exponent).is_exact() and twice.is_integer():
            return ARB.power(a.sqrt(), int(float(twice)))
        return (exponent * a.log()).exp()

    def atan2(self, y: Any, x: Any) -> Any:
        """The angle of (x, y): nothing is known of it on a box that meets the cut."""
        if not (self.varies(x) or self.varies(y)):
            return flint().arb.atan2(y, x)
        right, up, down = self.compare("gt", x, 0), self.compare("gt", y, 0), self.compare("lt", y, 0)
        turn = constant(sp.pi / 2, ARB)
        left = self.choose(down, -self.call("atan", self.quotient(x, y)) - turn, self.nowhere())
        side = self.choose(up, -self.call("atan", self.quotient(x, y)) + turn, left)
        return self.choose(right, self.call("atan", self.quotient(y, x)), side, first=True)

    def absolute(self, x: Any) -> Any:
        """|x|, without derivatives where x may be 0."""
        if not self.varies(x):
            return abs(x)
        return self.choose(self.compare("gt", x, 0), x, -x)

    def sign(self, x: Any) -> Any:
        """The sign, without derivatives where x may be 0."""
        return self.choose(self.compare("gt", x, 0), self.number(1), self.number(-1)) if self.varies(x) else x.sgn()

    def greatest(self, xs: list[Any]) -> Any:
        """The maximum."""
        return functools.reduce(lambda x, y: x if x is y else self.choose(self.compare("gt", x, y), x, y), xs)

    def total(self, xs: Iterable[Any]) -> Any:
        """The sum."""
        return functools.reduce(lambda x, y: x + y, xs, self.number(0))

    # -------------------------------------------------------------------------------------------------------- choices

    def compare(self, name: str, x: Any, y: Any) -> Any:
        """A bool, or a Choice where it is not decided; between functions equality is never taken for certain."""
        x, y = (e if self.varies(e) else self.number(e) for e in (x, y))
        if not (self.varies(x) or self.varies(y)):
            return _decided(Choice(*_of_constants(name, x, y)))
        if x is y:
            known = self.finite(x)
            return _decided(Choice(known, False) if name in ("eq", "le", "ge") else Choice(False, known))
        infinite = next((e for e in (x, y) if not self.varies(e) and not e.is_finite()), None)
        if infinite is not None:  # a function has finite values, where it has any
            known, above = self.finite(y if infinite is x else x), bool(infinite > 0) == (infinite is x)
            holds = {"gt": above, "ge": above, "lt": not above, "le": not above, "eq": False, "ne": True}[name]
            return _decided(Choice(known, False) if holds else Choice(False, known))
        above, below = self.signs(x - y)
        return _decided(Choice(*{
            "gt": (above, below), "ge": (above, below), "lt": (below, above), "le": (below, above),
            "eq": (False, above | below), "ne": (above | below, False),
        }[name]))  # fmt: skip

    def finite(self, x: Any) -> Any:
        """Whether values are finite for certain."""
        return x.value.is_finite() if isinstance(x, Form) else True

    def signs(self, x: Any) -> tuple[Any, Any]:
        """Whether x is positive, and negative, for certain."""
        value = self.number(self.value(x))
        return bool(value > 0), bool(value < 0)

    def choose(self, condition: Any, x: Any, y: Any, first: bool = False) -> Any:
        """Of x and y the first where the condition holds; with `first` y also where it is not decided."""
        if isinstance(condition, bool | np.bool_):
            return x if condition else y
        if x is y:
            return x
        if first:
            return y
        self.notes["a choice (`where`, `abs`, `max`, `sign`) is not the same everywhere on it"] = None
        sides = [self.number(self.value(e)) for e in (x, y)]
        if not all(side.is_finite() for side in sides):
            return self.nowhere()
        return self.without_derivatives(sides[0].union(sides[1]))

    # --------------------------------------------------------------------------------------------------------- matrices

    def known(self, x: Form, values: bool = False) -> bool:
        """Whether all coefficients are known over the box, or the values alone."""
        return all(isinstance(c, int) or c.is_finite() for c in (x.over.c[:1] if values else x.over.c))

    def mapped(self, f: Callable[..., Any], arrays: list[np.ndarray]) -> list[Any]:
        """`f` entry by entry of arrays of one shape."""
        return [f(*entries) for entries in zip(*(a.flat for a in arrays), strict=True)]

    def matmul(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """The product of two matrices."""
        return matrix([[self.total(a * b for a, b in zip(row, column, strict=True)) for column in B.T] for row in A])

    def pivot(self, column: list[Any]) -> int:
        """The place of the entry of a column to divide by: certainly not 0, and large."""
        return max(range(len(column)), key=lambda k: float(self.number(self.value(column[k])).abs_lower()))

    def inverse(self, A: Any) -> Any:
        """The inverse of a matrix, by elimination; nothing is known where a pivot may be 0."""
        n, given = len(A), isinstance(A, np.ndarray)
        one, zero = self.constant(1), self.constant(0)
        rows = [[*A[i], *(one if i == j else zero for j in range(n))] for i in range(n)]
        for j in range(n):
            pivot = j + self.pivot([row[j] for row in rows[j:]])
            rows[j], rows[pivot] = rows[pivot], rows[j]
            scale = self.quotient(1, rows[j][j])
            rows[j] = [entry * scale if entry else entry for entry in rows[j]]
            for i in range(n):
                if i != j and (factor := rows[i][j]):
                    rows[i] = [a - factor * b if b else a for a, b in zip(rows[i], rows[j], strict=True)]
        inverse = [row[n:] for row in rows]
        return matrix(inverse) if given else inverse

    def determinant(self, A: list[list[Any]]) -> Any:
        """The determinant: pivot by pivot while one is certainly not 0, else by minors."""
        if len(A) == 1:
            return A[0][0]
        k = self.pivot([row[0] for row in A])
        if self.nonzero(A[k][0]):
            first, rest = A[k], [row for i, row in enumerate(A) if i != k]
            scale = self.quotient(1, first[0])
            minor = [[e - row[0] * scale * f if row[0] and f else e for e, f in zip(row[1:], first[1:], strict=True)]
                     for row in rest]  # fmt: skip
            return (first[0] if k % 2 == 0 else -first[0]) * self.determinant(minor)
        minors = ([row[:j] + row[j + 1 :] for row in A[1:]] for j in range(len(A)))
        signed = zip(itertools.cycle((1, -1)), A[0], minors, strict=False)
        return self.sum(entry * self.determinant(minor) * sign for sign, entry, minor in signed if entry)

    def check_symmetry(self, g: list[list[Any]], i: int, j: int) -> None:
        """Raises where two entries across the diagonal certainly differ by more than rounding of constants."""
        apart, size = (self.value(g[i][j] - g[j][i]), sum(abs(self.number(self.value(g[k][k]))) for k in (i, j)))
        if abs(self.number(apart)) > ASYMMETRY * (size + abs(self.number(self.value(g[i][j])))):
            raise ValueError(f"`metric` is not symmetric: its entries {i}, {j} and {j}, {i} differ")

    def nonzero(self, x: Any) -> bool:
        """Whether x is certainly not 0."""
        return any(self.signs(x))

    def clean(self, x: Any) -> Any:
        """The element as it is."""
        return x

    def exponential(self, A: np.ndarray) -> np.ndarray:
        """The exponential of a matrix."""
        if not any(map(self.varies, A.flat)):
            E = flint().arb_mat(A.tolist()).exp()
            return matrix([[E[i, j] for j in range(len(A))] for i in range(len(A))])
        return exponential(self, matrix([[a if self.varies(a) else self.constant(a) for a in row] for row in A]))

    @property
    def digits(self) -> int:
        """The precision, in bits."""
        return flint().ctx.prec

    def norm(self, x: Any) -> float:
        """A bound of the sum of absolute values of all coefficients."""
        sums = [sum((abs(self.number(c)) for c in part.c), self.number(0)) for part in (x.at, x.over)]
        return max(math.nextafter(float(s.upper()), math.inf) if s.is_finite() else math.inf for s in sums)

    def within(self, radius: float) -> Any:
        """A function of which no coefficient is larger."""
        ball = (-self.number(radius)).union(self.number(radius))
        x = self._taylor(ball, ball)
        return Form(x, x, self.box)

    # --------------------------------------------------------------------------------------- what the textbook asks for

    def element(self, expression: Any) -> Any:
        """A constant."""
        return self.constant(sp.sympify(expression))

    def expression(self, element: Any) -> Any:
        """The element itself."""
        return element

    def root_of_absolute(self, element: Any) -> Any:
        """The square root of the absolute value."""
        return self.call("sqrt", self.absolute(element))

    def sum(self, terms: Iterable[Any]) -> Any:
        """The sum."""
        terms = list(terms)
        return functools.reduce(lambda x, y: x + y, terms) if terms else self.constant(0)

    def derivative(self, element: Any, k: int) -> Any:
        """The derivative by coordinate k: one order less."""
        return element.derivative(k)

    def shortened(self, element: Any) -> Any:
        """The form to one order less."""
        return element.truncated(element.order - 1) if element.order else element


def _decided(choice: Choice) -> Any:
    """A bool, where it is one everywhere."""
    if bool(choice.true if isinstance(choice.true, bool) else choice.true.all()):
        return True
    if bool(choice.false if isinstance(choice.false, bool) else choice.false.all()):
        return False
    return choice


def _of_constants(name: str, x: Any, y: Any) -> tuple[bool, bool]:
    """Whether a comparison of two balls holds for certain, and whether it fails for certain."""
    if name in ("eq", "ne"):
        differ, same = not x.overlaps(y), x.is_exact() and y.is_exact() and bool(x == y)
        return (same, differ) if name == "eq" else (differ, same)
    opposite = {"gt": "le", "ge": "lt", "lt": "ge", "le": "gt"}[name]
    return bool(getattr(x, f"__{name}__")(y)), bool(getattr(x, f"__{opposite}__")(y))
