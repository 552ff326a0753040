"""Exact elements with witnesses: each is followed by its Taylor numbers at three points, and the two must agree.

The numbers come from the metric by another road (SymPy's derivatives of its entries, 50 digits), so a dependence
between generators that was overlooked, or a mistake of the field, shows as a disagreement at a zero or at a value.
"""

import functools
import operator
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import mpmath
import sympy as sp

from riemann.symbolic._field import Field, Inexpressible
from riemann.symbolic._numbers import Numbers, function_of
from riemann.symbolic._taylor import Taylor
from riemann.symbolic._undetermined import stand_ins
from riemann.symbolic._writing import Writer

POINTS = 3
DIGITS = 50


class Witnessed:
    """An exact element and its Taylor numbers at the points."""

    __slots__ = ("arithmetic", "exact", "numbers")

    def __init__(self, arithmetic: "Witnesses", exact: Any, numbers: Sequence[Taylor]):
        self.arithmetic, self.exact, self.numbers = arithmetic, exact, numbers

    def __bool__(self) -> bool:
        if self.exact:
            return True
        self.arithmetic.confirm_zero(self)
        return False

    def __neg__(self) -> "Witnessed":
        return Witnessed(self.arithmetic, -self.exact, [-a for a in self.numbers])

    def _with(self, operation: Callable[[Any, Any], Any], other: Any) -> "Witnessed":
        numbers = [operation(a, b) for a, b in zip(self.numbers, other.numbers, strict=True)]
        return Witnessed(self.arithmetic, operation(self.exact, other.exact), numbers)

    def __add__(self, other: "Witnessed") -> "Witnessed":
        return self._with(operator.add, other)

    def __sub__(self, other: "Witnessed") -> "Witnessed":
        return self._with(operator.sub, other)

    def __mul__(self, other: Any) -> "Witnessed":
        if isinstance(other, int):
            return Witnessed(self.arithmetic, self.exact * other, [a * other for a in self.numbers])
        return self._with(operator.mul, other)

    __rmul__ = __mul__

    def __truediv__(self, other: "Witnessed") -> "Witnessed":
        return self._with(operator.truediv, other)


class Witnesses:
    """Arithmetic of witnessed elements.

    Args:
        field: the arithmetic that is watched.
        writer: what writes its elements as expressions.
        numbers: the arithmetics of the points.
    """

    def __init__(self, field: Field, writer: Writer, numbers: Sequence[Numbers]):
        self.field, self.writer, self.numbers = field, writer, numbers
        # Half of the digits beyond DIGITS are for large numbers that cancel, half for results that are small.
        self.nothing = mpmath.mpf(10) ** -(40 + (numbers[0].digits - DIGITS) // 2)
        self.element = functools.cache(self._element)

    def metric(self, g: list[list[Any]]) -> list[list[Witnessed]]:
        """The metric as a matrix of elements."""
        n = range(len(g))
        return [[Witnessed(self, g[i][j], [numbers.metric[i][j] for numbers in self.numbers]) for j in n] for i in n]

    def _element(self, constant: Any) -> Witnessed:
        return Witnessed(self, self.field.constant(constant), [a.element(constant) for a in self.numbers])

    def expression(self, element: Witnessed) -> sp.Expr:
        """The expression, once its values are confirmed; an ArithmeticError if they are not."""
        self.confirm(element)
        return self.writer.expression(element.exact)

    def root_of_absolute(self, element: Witnessed) -> sp.Expr:
        """The expression of sqrt|element|, once the element is confirmed."""
        self.confirm(element)
        return self.writer.root_of_absolute(element.exact)

    def confirm(self, element: Witnessed) -> None:
        """Raises an ArithmeticError if the element and its numbers disagree at a point."""
        if not element:
            return
        if all(abs(numbers.c[0]) < self.nothing for numbers in element.numbers):
            self._disagree(self.writer.expression(element.exact), "not 0", 0)
        for value, numbers in zip(self.field.values(element.exact), element.numbers, strict=True):
            seen = numbers.c[0]
            if abs(value - seen) > self.nothing + 1e-40 * abs(seen):
                self._disagree(self.writer.expression(element.exact), mpmath.nstr(value), seen)

    def confirm_zero(self, element: Witnessed) -> None:
        """Raises an ArithmeticError if an element that is exactly 0 is not so at the points."""
        for numbers in element.numbers:
            for seen in numbers.c:
                if abs(seen) > self.nothing:
                    self._disagree(0, 0, seen)

    def _disagree(self, exact: Any, value: Any, seen: Any) -> None:
        raise ArithmeticError(
            f"the exact result {exact} is {value} at a point where {self.numbers[0].digits} digits of the metric give "
            f"{mpmath.nstr(seen)}; please report this metric: generators of its field were taken for independent and "
            "are not"
        )

    def _each(self, operation: Callable[..., Any], exact: Any, numbers: Iterable[Any]) -> Witnessed:
        return Witnessed(self, exact, [operation(a, x) for a, x in zip(self.numbers, numbers, strict=True)])

    def sum(self, terms: Iterable[Witnessed]) -> Witnessed:
        """The sum."""
        terms = list(terms)
        columns = [[t.numbers[p] for t in terms] for p in range(len(self.numbers))]
        return self._each(lambda a, x: a.sum(x), self.field.sum(t.exact for t in terms), columns)

    def derivative(self, element: Witnessed, k: int) -> Witnessed:
        """The derivative by coordinate k."""
        exact = self.field.derivative(element.exact, k)
        return self._each(lambda a, x: a.derivative(x, k), exact, element.numbers)

    def shortened(self, element: Witnessed) -> Witnessed:
        """The element, its numbers to one order less."""
        return self._each(lambda a, x: a.shortened(x), element.exact, element.numbers)

    def _matrices(self, matrix: list[list[Witnessed]]) -> tuple[Any, list[Any]]:
        exact = [[e.exact for e in row] for row in matrix]
        return exact, [[[e.numbers[p] for e in row] for row in matrix] for p in range(len(self.numbers))]

    def determinant(self, matrix: list[list[Witnessed]]) -> Witnessed:
        """The determinant."""
        exact, numbers = self._matrices(matrix)
        return self._each(lambda a, x: a.determinant(x), self.field.determinant(exact), numbers)

    def inverse(self, matrix: list[list[Witnessed]]) -> list[list[Witnessed]]:
        """The inverse; a ValueError if there is none."""
        exact, numbers = self._matrices(matrix)
        inverse = self.field.inverse(exact)
        columns = [a.inverse(x) for a, x in zip(self.numbers, numbers, strict=True)]
        n = range(len(matrix))
        return [[Witnessed(self, inverse[i][j], [c[i][j] for c in columns]) for j in n] for i in n]


class Points:
    """Three points where a metric is real and regular, and values of expressions there.

    Args:
        matrix: the metric.
        coordinates: its coordinates.

    Raises:
        Inexpressible: no such points are found.
    """

    def __init__(self, matrix: sp.ImmutableMatrix, coordinates: Sequence[sp.Symbol]):
        self.matrix, self.coordinates = matrix, coordinates
        symbols = sorted(matrix.free_symbols, key=str)
        draw = random.Random(1)
        self.places: list[dict[sp.Symbol, sp.Rational]] = []
        spread = 0
        for attempt in range(200):
            place = {s: _draw(draw, s, attempt) for s in symbols}
            size = self._size(place)
            if mpmath.isfinite(size):
                self.places.append(place)
                spread = max(spread, int(size))
            if len(self.places) == POINTS:
                break
        else:
            raise Inexpressible("a metric that is real and regular at no point found, so that it")
        self.digits = DIGITS + 12 * spread
        self._context = mpmath.MPContext()
        self._context.dps = self.digits + 10

    def _size(self, place: dict[sp.Symbol, sp.Rational]) -> Any:
        """How many digits g and its inverse have before or after the point; infinite where it is not regular."""
        try:
            numbers = Numbers(self.matrix, self.coordinates, place, 15, 0)
            entries = [*numbers.metric, *numbers.inverse(numbers.metric)]
            largest = max(abs(e.c[0]) for row in entries for e in row)
            return mpmath.log10(largest) if largest < 1e40 else mpmath.inf
        except (ValueError, ZeroDivisionError, OverflowError):
            return mpmath.inf

    def numbers(self, order: int) -> list[Numbers]:
        """The Taylor numbers of the metric at the points."""
        return [Numbers(self.matrix, self.coordinates, place, self.digits, order) for place in self.places]

    def evaluate(self, expression: sp.Expr) -> tuple[Any, ...]:
        """The values of an expression."""
        unknown = stand_ins([expression])
        symbols = sorted(expression.free_symbols, key=str)
        function = function_of([*symbols, *unknown], [expression])
        values = []
        with mpmath.workdps(self._context.dps):
            for place in self.places:
                numbers = (
                    *(place.get(s, 0) for s in symbols),
                    *unknown.values(),
                )  # the bound symbols of a `Subs` are free
                value = mpmath.mpmathify(function(*(mpmath.mpf(v.p) / v.q for v in map(sp.S, numbers)))[0])
                if isinstance(value, mpmath.mpc):
                    raise Inexpressible(f"{expression}, which is not real where the metric is")
                values.append(self._context.mpf(value))
        return tuple(values)


def _draw(draw: random.Random, symbol: sp.Symbol, attempt: int) -> sp.Rational:
    """A number of moderate size; the first attempts mix signs, later ones take larger and positive numbers."""
    size = sp.Rational(draw.randint(20, 250 * (1 + attempt // 20)), draw.choice((97, 101, 103, 107)))
    negative = draw.random() < (0.25 if attempt < 100 else 0.0)
    return -size if negative and not symbol.is_positive and not symbol.is_nonnegative else size
