"""Taylor numbers of many digits as the numbers over which a traced function runs.

Derivatives of functions are SymPy's, of sums and products those of power series: nothing is shared with torch.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from riemann.bridge._functions import FUNCTIONS, Inexpressible, X, matrix
from riemann.symbolic._taylor import Series, Taylor, derivatives, value


class Digits(Series):
    """Numbers of an mpmath context for what is constant, `Taylor` for the rest.

    A value that does not exist is NaN; a value without derivatives is a series of order 0.
    """

    kind = "a power series"
    has_pairs = True  # complex numbers on the way

    def number(self, x: Any) -> Any:
        """The element for a number: a float is the binary number that it is."""
        if isinstance(x, complex):
            raise Inexpressible("makes complex numbers")
        x = super().number(x) if isinstance(x, sp.Basic) else x
        return self.context.mpf(x.item() if isinstance(x, np.generic) else x)

    def single(self, x: Any) -> Any:
        """A result in single precision: as if it were exact."""
        return x

    def mapped(self, f: Callable[..., Any], arrays: list[np.ndarray]) -> list[Any]:
        """`f` entry by entry of arrays of one shape."""
        return [f(*entries) for entries in zip(*(a.flat for a in arrays), strict=True)]

    def plain(self, x: Any) -> float:
        """The float nearest to a constant."""
        return float(x)

    def varies(self, x: Any) -> bool:
        """Whether an element depends on the point."""
        return isinstance(x, Taylor)

    def call(self, name: str, x: Any) -> Any:
        """A function of the table."""
        return self._composed(functools.partial(self._derivatives, name), x)

    def quotient(self, x: Any, y: Any) -> Any:
        """The quotient x / y."""
        return x / y

    def power(self, x: Any, exponent: Any) -> Any:
        """x^exponent, by the binomial series."""
        if isinstance(exponent, Taylor):
            return self.call("exp", exponent * self.call("log", x))

        def binomial(order: int) -> Callable[[Any], list[Any]]:
            factors = [self.context.one]
            for k in range(order):
                factors.append(factors[-1] * (exponent - k) / (k + 1))
            powers = [int(exponent - k) if exponent == int(exponent) else exponent - k for k in range(order + 1)]
            return lambda a: [c * a**p if c else c for c, p in zip(factors, powers, strict=True)]

        return self._composed(binomial, x)

    def _derivatives(self, name: str, order: int) -> Callable[[Any], list[Any]]:
        if (name, order) not in self._cache:
            self._cache[name, order] = derivatives(FUNCTIONS[name], X, order, self.context)
        return self._cache[name, order]

    @functools.cached_property
    def _cache(self) -> dict[tuple[str, int], Callable[[Any], list[Any]]]:
        return {}

    def _composed(self, derivatives: Callable[[int], Callable[[Any], list[Any]]], x: Any) -> Any:
        """f(x), from f^(k) / k! up to an order at a number; where only f exists it is known to order 0."""

        def at(a: Any, order: int) -> list[Any]:
            try:
                terms = derivatives(order)(a)
            except (ZeroDivisionError, ValueError):  # at a pole or the end of the domain
                return [self.context.nan] if order == 0 else at(a, 0)
            real = not any(isinstance(d, mpmath.mpc | self.context.mpc) for d in terms)
            return terms if real else [self.context.nan]

        if not isinstance(x, Taylor):
            return at(x, 0)[0]
        terms = at(x.c[0], x.order)
        return x.truncated(len(terms) - 1).composed(terms)

    def atan2(self, y: Any, x: Any) -> Any:
        """The angle of (x, y)."""
        angle = self.context.atan2(value(y), value(x))
        if abs(value(y)) > abs(value(x)):
            series = -self.call("atan", x / y)
        else:
            series = self.call("atan", y / x) if value(x) else self._kinked(x + y)
        return series - value(series) + angle

    def absolute(self, x: Any) -> Any:
        """|x|, without derivatives at 0."""
        return x * self.sign(x) if value(x) else self._kinked(x)

    def sign(self, x: Any) -> Any:
        """The sign, without derivatives at 0."""
        return self.context.sign(value(x)) if value(x) else self._kinked(x)

    def _kinked(self, x: Any) -> Any:
        """0, of which no derivative is known where x varies."""
        varies = isinstance(x, Taylor) and any(x.c[1:])
        return Taylor([self.context.zero], 0, self.space) if varies else self.context.zero

    def greatest(self, xs: list[Any]) -> Any:
        """The maximum; where several are as large, the derivatives up to which they are the same."""
        best = max(xs, key=value)
        tied = [x for x in xs if x is not best and value(x) == value(best)]
        if not tied or not any(isinstance(x, Taylor) for x in (best, *tied)):
            return best
        series = [
            x if isinstance(x, Taylor) else x + 0 * next(filter(self.varies, (best, *tied))) for x in (best, *tied)
        ]
        same = min(x.order for x in series)
        while same and any(x.truncated(same).c != series[0].truncated(same).c for x in series[1:]):
            same -= 1
        return series[0].truncated(same)

    def total(self, xs: Iterable[Any]) -> Any:
        """The sum."""
        return sum(xs, self.context.zero)

    def compare(self, name: str, x: Any, y: Any) -> bool:
        """Whether it holds at the point."""
        return bool(getattr(value(x), f"__{name}__")(value(y)))

    def choose(self, condition: Any, x: Any, y: Any) -> Any:
        """Of x and y the first where the condition holds."""
        return x if condition else y

    def matmul(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """The product of two matrices; with a constant one, coefficient by coefficient over integers."""
        series = [[entry for entry in F.flat if isinstance(entry, Taylor)] for F in (A, B)]
        varies = list(map(bool, series))
        if not all(varies) and all(entry.order == self.order for entry in itertools.chain(*series)):
            count = len(self.space.exponents)
            each = zip((A, B), varies, strict=True)
            left, right = ([self._integers(F, k) for k in range(count if v else 1)] for F, v in each)
            if all(exponent is not None for _, exponent in (*left, *right)):
                parts = [self._numbers(K @ L, e + f) for (K, e), (L, f) in itertools.product(left, right)]
                return self._joined(parts) if any(varies) else parts[0]
        return matrix([[self.total(a * b for a, b in zip(row, column, strict=True)) for column in B.T] for row in A])

    def _integers(self, A: np.ndarray, k: int) -> tuple[np.ndarray, Any]:
        """Integers K and an exponent e with A = K 2^e for coefficient k, to the digits of the largest entry.

        The exponent is None where A is not finite.
        """
        coefficients = (a.c[k] if isinstance(a, Taylor) else a if k == 0 else 0 for a in A.flat)
        parts = [c._mpf_ if isinstance(c, self.context.mpf) else mpmath.libmp.from_int(c) for c in coefficients]
        K = np.empty(A.size, dtype=object)
        e = max((exp + size for _, man, exp, size in parts if man), default=0) - self.context.prec - 16
        for i, (sign, man, exp, _) in enumerate(parts):
            if exp and not man:  # infinity or NaN
                return K, None
            shifted = man << (exp - e) if exp >= e else man >> (e - exp)
            K[i] = -shifted if sign else shifted
        return K.reshape(A.shape), e

    def _numbers(self, K: np.ndarray, e: int) -> np.ndarray:
        return matrix([[self.context.mpf((int(entry), e)) for entry in row] for row in K])

    def _joined(self, parts: list[np.ndarray]) -> np.ndarray:
        """The matrix of series with these matrices of coefficients."""
        series = np.empty(parts[0].size, dtype=object)
        for i, c in enumerate(zip(*(part.flat for part in parts), strict=True)):
            series[i] = Taylor(list(c), self.order, self.space)
        return series.reshape(parts[0].shape)

    def inverse(self, A: Any) -> Any:
        """The inverse of a matrix."""
        return matrix(super().inverse(A.tolist())) if isinstance(A, np.ndarray) else super().inverse(A)

    def pivot(self, column: list[Any]) -> int:
        """The place of the entry of a column to divide by."""
        return max(range(len(column)), key=lambda k: abs(value(column[k])))

    def clean(self, x: Any) -> Any:
        """The element as it is."""
        return x

    def exponential(self, A: np.ndarray) -> np.ndarray:
        """The exponential of a matrix: the power series of A / 2^k, squared k times."""
        size = sum(abs(value(a)) for a in A.flat)
        k = max(0, int(self.context.ceil(self.context.log(size, 2))) + 6) if size else 6
        B = A / self.context.mpf(2**k)
        E = one = matrix(np.eye(len(A), dtype=int).tolist()) * self.context.one
        for m in range(self.context.dps // 2 + 10, 0, -1):
            E = one + self.matmul(B, E) / self.context.mpf(m)
        for _ in range(k):
            E = self.matmul(E, E)
        return E
