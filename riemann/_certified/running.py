r"""Running error analysis: how far off the float64 values of a metric are at most, by one run over its operations.

Each element is an interval around the exact value and a bound of |computed - exact|, at many points at once. An
operation passes the errors of its arguments on, and adds its own: $u$ of the result for $+ - \cdot / \sqrt{}$, $k u$
of the sum of absolute values for k roundings in any order of summation (Higham, *Accuracy and Stability of Numerical
Algorithms*, 3.1 to 3.3), and 4 units of the last place for functions, which is an assumption on the libraries of torch
(SLEEF and MKL promise 1, in their accurate modes). Twice as much is counted, for what torch fuses.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from riemann import _jets
from riemann._certified.boxes import INTERVALS
from riemann._certified.functions import series
from riemann._certified.intervals import Interval, exactly, hull, up
from riemann._certified.intervals import U as HALF_BIT
from riemann._metric import metric_field
from riemann._types import Metric
from riemann.bridge import _aten
from riemann.bridge._functions import Inexpressible, Undecided, matrix
from riemann.bridge._trace import Program

FUNCTION = 16  # roundings that a function is taken to make: 4 units of the last place, twice
OF_SIZE = ("gelu_erf", "gelu_tanh", "sinc")  # off by so much of their arguments, or of 1, not of their results
PLAIN = frozenset(
    "exp log sqrt erf erfc sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp2 expm1 log1p log2 "
    "log10 rsqrt sigmoid silu sinc gelu softplus neg reciprocal square mul pow abs sign sgn relu maximum minimum "
    "clamp clamp_min clamp_max add sub rsub div eq ne lt le gt ge where sum mean prod amax amin leaky_relu elu mm "
    "bmm mv dot vdot addmm baddbmm addmv linalg_cross logsumexp _softmax _log_softmax logaddexp "
    "log_sigmoid_forward embedding isnan isinf hypot".split()
)
"""The operations whose rounding is known, beside those that only move numbers."""
FUSED = ("logsumexp", "_softmax", "_log_softmax", "logaddexp", "log_sigmoid_forward", "elu", "hypot")


class NotKnown(Exception):
    """An operation whose rounding has no bound a priori."""


class Rounded:
    """A number of the program, at many points.

    Args:
        exact: what it would be without rounding.
        error: how far off the computed one is at most.
        fixed: whether it does not depend on the point.
        unit: the largest relative error of one rounding.
    """

    __slots__ = ("error", "exact", "fixed", "unit")

    def __init__(self, exact: Interval, error: Tensor, fixed: bool, unit: float):
        self.exact, self.fixed, self.unit = exact, fixed, unit
        known = exact.finite() & (error < torch.inf)
        if unit > HALF_BIT:  # beyond the range of single precision nothing is known
            known = known & (exact.mid.abs() + exact.rad + error < 3e38)
        self.error = torch.where(known, error, math.inf)

    @property
    def tiny(self) -> float:
        """Above every underflow."""
        return 1e-300 if self.unit == HALF_BIT else 1e-37

    @property
    def size(self) -> Tensor:
        """A bound of the exact absolute value."""
        return up(self.exact.mid.abs() + self.exact.rad)

    @property
    def computed_size(self) -> Tensor:
        """A bound of the computed absolute value."""
        return up(self.size + self.error)

    @property
    def computed(self) -> Interval:
        """Where the computed value is."""
        return Interval(self.exact.mid, up(self.exact.rad + self.error))

    def rounded(
        self, exact: Interval, passed_on: Tensor, others: Iterable["Rounded"] = (), roundings: float = 1
    ) -> Any:
        """The result of an operation, with the errors passed on and its own, relative to the computed result."""
        size = exact.mid.abs() + exact.rad + passed_on
        error = up(passed_on + roundings * self.unit * size + self.tiny)
        return Rounded(exact, error, self.fixed and all(y.fixed for y in others), self.unit)

    def __neg__(self) -> "Rounded":
        return Rounded(-self.exact, self.error, self.fixed, self.unit)

    def __add__(self, other: "Rounded") -> "Rounded":
        return self.rounded(self.exact + other.exact, self.error + other.error, [other])

    def __sub__(self, other: "Rounded") -> "Rounded":
        return self + -other

    def __mul__(self, other: "Rounded") -> "Rounded":
        passed_on = up(self.size * other.error + self.error * other.computed_size)
        return self.rounded(self.exact * other.exact, _nothing_of_nothing(passed_on, self, other), [other])

    def __truediv__(self, other: "Rounded") -> "Rounded":
        near = (other.exact.mid.abs() - other.exact.rad - other.error) * (1 - 8 * HALF_BIT)
        near = torch.where(near > 0, near, math.nan)
        exact = self.exact * other.exact.reciprocal()
        passed_on = up((self.error + (exact.mid.abs() + exact.rad) * other.error) / near)
        return self.rounded(exact, passed_on, [other], 3)  # torch may multiply by 1 / y


def _nothing_of_nothing(error: Tensor, *factors: Rounded) -> Tensor:
    """No error where none of the factors has one, whatever their size."""
    return torch.where(sum(f.error for f in factors) == 0, 0.0, error)


class Running:
    """Elements with running errors.

    Args:
        points: how many.
        unit: the largest relative error of one rounding.
    """

    kind = "numbers with running errors"

    def __init__(self, points: int, unit: float):
        self.points, self.unit = points, unit

    def number(self, x: Any) -> Rounded:
        """A number that the program holds."""
        if isinstance(x, Rounded):
            return x
        if isinstance(x, complex):
            raise Inexpressible("makes complex numbers")
        exact = exactly(float(x), torch.empty(self.points, dtype=torch.float64))
        if isinstance(x, int) and float(x) != x:
            raise NotKnown
        return Rounded(exact, torch.zeros_like(exact.mid), True, self.unit)

    def single(self, x: Rounded) -> Rounded:
        """The number: its unit is that of single precision already."""
        return x

    def plain(self, x: Rounded) -> float:
        """A constant that is made an integer."""
        raise NotKnown

    def varies(self, x: Any) -> bool:
        """Whether an element depends on the point."""
        return isinstance(x, Rounded) and not x.fixed

    def mapped(self, f: Callable[..., Any], arrays: list[np.ndarray]) -> list[Any]:
        """`f` entry by entry of arrays of one shape."""
        return [f(*entries) for entries in zip(*(a.flat for a in arrays), strict=True)]

    def call(self, name: str, x: Rounded) -> Rounded:
        """A function of the table: its slope between the exact and the computed argument passes the error on."""
        (exact,) = series(name, 0).at(INTERVALS, x.exact)
        slope = self._slope(series(name, 1).at(INTERVALS, x.computed)[1])
        passed_on = torch.where(x.error == 0, 0.0, up(slope * x.error))
        y = x.rounded(exact, passed_on, roundings=FUNCTION)
        if name in OF_SIZE:
            own = 32 * self.unit * (x.computed_size if name != "sinc" else 1.0)
            y = Rounded(exact, up(y.error + own), x.fixed, self.unit)
        return y

    def _slope(self, derivative: Interval) -> Tensor:
        return derivative.mid.abs() + derivative.rad

    def quotient(self, x: Any, y: Any) -> Rounded:
        """The quotient x / y."""
        return self.number(x) / self.number(y)

    def power(self, x: Rounded, exponent: Any) -> Rounded:
        """x^exponent."""
        exponent = self.number(exponent)
        p = float(exponent.exact.mid[0])
        if not exponent.fixed or bool((exponent.exact.mid != p).any()) or bool((exponent.error > 0).any()):
            return self.call("exp", exponent * self.call("log", x))
        if p != int(p):
            power = lambda a, q: (a.log() * Interval(*(torch.full_like(a.mid, v) for v in (q, 0.0)))).exp()
            root = 2 * p == int(2 * p)
            power = (lambda a, q: a.sqrt().whole_power(round(2 * q))) if root else power
        else:
            power = lambda a, q: a.whole_power(int(q))
        exact = power(x.exact, p)
        slope = self._slope(power(x.computed, p - 1).scaled(p)) if p else torch.zeros_like(x.error)
        if p - 1 != p - 1.0 or not math.isfinite(p):
            raise NotKnown
        return x.rounded(exact, torch.where(x.error == 0, 0.0, up(slope * x.error)), [exponent], FUNCTION)

    def absolute(self, x: Rounded) -> Rounded:
        """|x|."""
        low, high = x.exact.lower(), x.exact.upper()
        least = torch.where(low > 0, low, torch.where(high < 0, -high, 0.0))
        exact = x.exact.where(low > 0, (-x.exact).where(high < 0, hull(least, torch.maximum(low.abs(), high.abs()))))
        return Rounded(exact, x.error, x.fixed, self.unit)

    def sign(self, x: Rounded) -> Rounded:
        """The sign."""
        zero = self.number(0)
        below = self.choose(self.compare("lt", x, zero), self.number(-1), zero)
        return self.choose(self.compare("gt", x, zero), self.number(1), below)

    def greatest(self, xs: list[Any]) -> Rounded:
        """The maximum."""
        return functools.reduce(lambda x, y: x if x is y else self.choose(self.compare("gt", x, y), x, y),
                                map(self.number, xs))  # fmt: skip

    def total(self, xs: Iterable[Any]) -> Rounded:
        """The sum, in any order."""
        xs = list(xs)
        if not xs:
            return self.number(0)
        exact = functools.reduce(lambda a, b: a + b, (x.exact for x in xs))
        roundings = (len(xs) - 1) * self.unit * sum(x.computed_size for x in xs)
        error = up(sum(x.error for x in xs) + 1.01 * roundings, len(xs) + 30)
        return Rounded(exact, error, all(x.fixed for x in xs), self.unit)

    def compare(self, name: str, x: Any, y: Any) -> Any:
        """A bool where the computed numbers, and the exact ones, certainly agree on it; else undecided."""
        x, y = self.number(x), self.number(y)
        if x is y:
            if not bool(x.computed.finite().all()):
                raise NotKnown
            return name in ("eq", "le", "ge")
        difference = x.computed - y.computed
        certain = (x.error == 0) & (y.error == 0) & (x.exact.rad == 0) & (y.exact.rad == 0)
        above = (x.exact.mid > y.exact.mid) & certain | (difference.lower() > 0)
        below = (x.exact.mid < y.exact.mid) & certain | (difference.upper() < 0)
        equal = (x.exact.mid == y.exact.mid) & certain
        true, false = {
            "gt": (above, below | equal), "ge": (above | equal, below), "lt": (below, above | equal),
            "le": (below | equal, above), "eq": (equal, above | below), "ne": (above | below, equal),
        }[name]  # fmt: skip
        if bool(true.all()) or bool(false.all()):
            return bool(true.all())
        return Side(true, false)

    def choose(self, condition: Any, x: Any, y: Any) -> Any:
        """Of x and y the first where the condition holds; where it is not decided either may be computed."""
        if isinstance(condition, bool | np.bool_):
            return x if condition else y
        x, y = self.number(x), self.number(y)
        apart = (x.exact - y.exact).union(y.exact - x.exact)
        either = torch.maximum(x.error, y.error) + apart.mid.abs() + apart.rad
        union = x.exact.union(y.exact)
        exact = x.exact.where(condition.true, y.exact.where(condition.false, union))
        error = torch.where(condition.true, x.error, torch.where(condition.false, y.error, up(either)))
        return Rounded(exact, error, False, self.unit)

    def matmul(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """The product of two matrices, summed in any order."""
        return matrix([[self._dot(row, column) for column in B.T] for row in A])

    def _dot(self, a: Iterable[Any], b: Iterable[Any]) -> Rounded:
        products = [x * y for x, y in zip(a, b, strict=True)]
        return self.total(products)

    def clean(self, x: Any) -> Any:
        """The element as it is."""
        return x


class Side(Undecided):
    """Where a condition certainly holds, and where it certainly fails: masks of points."""

    def __init__(self, true: Tensor, false: Tensor):
        self.true, self.false = true, false


class Errors(Program):
    """The operations of a metric as the program runs them: none is written in another way."""

    def _performed(self, E: Running, node: torch.fx.Node, values: dict[torch.fx.Node, Any]) -> Any:
        name = node.target._schema.name.split("::")[1] if hasattr(node.target, "_schema") else "getitem"
        if name not in PLAIN and name not in _aten.MOVES and name != "getitem":
            raise NotKnown
        try:
            y = super()._performed(E, node, values)
        except ValueError:
            raise NotKnown from None
        args = torch.fx.map_arg(node.args, values.__getitem__)
        if name in ("addmm", "baddbmm", "addmv"):
            return self._loosened(y, lambda e: args[1].shape[-1] * self._largest(E, args[0]))
        if name in FUSED:
            count = max(a.size for a in args if isinstance(a, np.ndarray))
            return self._loosened(y, lambda e: (32 + 16 * count) * (1 + e.computed_size))
        return y

    def _largest(self, E: Running, a: Any) -> Tensor:
        return functools.reduce(torch.maximum, (E.number(e).computed_size for e in a.flat))

    def _loosened(self, y: Any, roundings: Callable[[Rounded], Tensor]) -> Any:
        if isinstance(y, tuple):
            return tuple(self._loosened(part, roundings) for part in y)
        if y.dtype != object:
            return y
        each = [Rounded(e.exact, up(e.error + e.unit * roundings(e)), e.fixed, e.unit) for e in y.flat]
        return matrix([each]).reshape(y.shape)


def errors_of_metric(metric: Metric, x: Tensor) -> Tensor:
    """Bounds of the rounding errors of g at points `(points, n)`, whatever the order of sums, `(points, n, n)`.

    Raises:
        NotKnown: an operation whose rounding has no bound a priori.
        ValueError: the metric cannot be traced.
    """
    point = 1 + torch.arange(x.shape[-1]).to(x) / x.shape[-1]
    graph = _jets.operations(lambda y: metric_field(metric, point)(y), _aten.KNOWN, {}, False, point)
    kept = (node.meta.get("val") for node in graph.graph.nodes)
    dtypes = {v.dtype for v in kept if isinstance(v, Tensor) and v.is_floating_point()}
    if not dtypes <= {torch.float32, torch.float64}:
        raise NotKnown
    unit = HALF_BIT if dtypes == {torch.float64} else 2.0**-24
    E, program = Running(len(x), unit), Errors(graph)
    zero = torch.zeros(len(x), dtype=torch.float64)
    coordinates = np.empty((1, x.shape[-1]), dtype=object)
    coordinates[0, :] = [
        Rounded(Interval(column, zero), zero, False, unit) for column in x.detach().double().unbind(-1)
    ]
    with torch.no_grad():
        g = program(E, program.constants(E), [coordinates])
        return torch.stack([E.number(entry).error for entry in g.flat], -1).reshape(*x.shape, x.shape[-1])
