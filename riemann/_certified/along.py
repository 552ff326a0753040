r"""Power series in time along a curve, and in small distances from it: a metric with its derivatives on x(t).

For each monomial $\epsilon^b$ with $|b| \le d$ there is a power series of FLINT in t, up to $t^N$: run over
$x(t) + \epsilon$ the operations of a metric give the series of $g$, $\partial g$, $\partial^2 g$ along the curve.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

from riemann._certified.balls import Balls
from riemann._certified.library import flint, terms_kept


class Strip:
    """The monomials of distances up to a degree, in ascending degree, and how they multiply."""

    def __init__(self, n: int, depth: int):
        powers = [b for b in itertools.product(range(depth + 1), repeat=n) if sum(b) <= depth]
        self.depth = depth
        self.powers = sorted(powers, key=lambda b: (sum(b), [-e for e in b]))
        self.place = {b: k for k, b in enumerate(self.powers)}
        self.factors: list[list[tuple[int, int]]] = [[] for _ in powers]
        for (i, a), (j, b) in itertools.product(enumerate(self.powers), repeat=2):
            if (target := self.place.get(tuple(map(int.__add__, a, b)))) is not None:
                self.factors[target].append((i, j))


@functools.cache
def strip(n: int, depth: int) -> Strip:
    """The one of its kind."""
    return Strip(n, depth)


class Ribbon:
    """A function along a curve.

    Args:
        c: a series of FLINT for each monomial of `strip`; the integer 0 is one that is 0 for certain.
        strip: the monomials.
    """

    __slots__ = ("c", "strip")

    def __init__(self, c: list[Any], strip: Strip):
        self.c, self.strip = c, strip

    @property
    def value(self) -> Any:
        """The ball at the start of the curve."""
        return flint().arb(0) if isinstance(self.c[0], int) else self.c[0][0]

    def __bool__(self) -> bool:
        return not all(isinstance(a, int) for a in self.c)

    def __neg__(self) -> "Ribbon":
        return Ribbon([-a for a in self.c], self.strip)

    def __add__(self, other: Any) -> "Ribbon":
        if isinstance(other, Ribbon):
            return Ribbon(list(map(_sum, self.c, other.c)), self.strip)
        return Ribbon([self.c[0] + _series(other), *self.c[1:]], self.strip)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Ribbon":
        return self + -other

    def __rsub__(self, other: Any) -> "Ribbon":
        return -self + other

    def __mul__(self, other: Any) -> "Ribbon":
        if not isinstance(other, Ribbon):
            return Ribbon([a if isinstance(a, int) else a * other for a in self.c], self.strip)
        x, y, product = self.c, other.c, []
        for pairs in self.strip.factors:
            terms = [x[i] * y[j] for i, j in pairs if not (isinstance(x[i], int) or isinstance(y[j], int))]
            product.append(functools.reduce(_sum, terms, 0))
        return Ribbon(product, self.strip)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Ribbon":
        return other.__rtruediv__(self) if isinstance(other, Ribbon) else self * (1 / flint().arb(other))

    def __rtruediv__(self, other: Any) -> "Ribbon":
        return other * self.composed(lambda a, order: [(-1) ** k / flint().arb(a) ** (k + 1) for k in range(order + 1)])

    def composed(self, terms: Callable[[Any, int], list[Any]]) -> "Ribbon":
        r"""A function f of this one: $\sum_j f^{(j)}(s) \epsilon^j / j!$, with s on the curve itself."""
        degree, depth = flint().ctx.cap - 1, self.strip.depth
        f = terms(self.value, degree + depth)
        along = flint().arb_series([0, *_coefficients(self.c[0])[1:]])
        rest = Ribbon([0, *self.c[1:]], self.strip)
        parts = []
        for j in range(depth + 1):
            weighted = [f[k + j] * math.comb(k + j, j) for k in range(degree + 1)]
            parts.append(functools.reduce(lambda y, d: y * along + d, reversed(weighted[:-1]), _series(weighted[-1])))
        zeros = [0] * (len(self.c) - 1)
        total = Ribbon([parts[-1], *zeros], self.strip)
        return functools.reduce(
            lambda y, part: y * rest + Ribbon([part, *zeros], self.strip), reversed(parts[:-1]), total
        )


class Along(Balls):
    """Balls of FLINT for functions along a curve.

    Args:
        n: number of coordinates.
        depth: highest derivative by the coordinates.
    """

    def __init__(self, n: int, depth: int):
        super().__init__(n, 0)
        self.strip = strip(n, depth)

    def varies(self, x: Any) -> bool:
        """Whether an element depends on the point."""
        return isinstance(x, Ribbon)

    def constant(self, x: Any) -> Ribbon:
        """A constant as a function."""
        x = self.number(x)
        return self._ribbon(0 if x.is_zero() else _series(x))

    def without_derivatives(self, value: Any) -> Ribbon:
        """A function of which these values are known at the start, and nothing else."""
        unknown = flint().arb("nan")
        rest = flint().arb_series([unknown] * flint().ctx.cap)
        start = flint().arb_series([value, *[unknown] * (flint().ctx.cap - 1)])
        return self._ribbon(start, rest)

    def known(self, x: Ribbon, values: bool = False) -> bool:
        """Whether all coefficients are known, or the values alone."""
        series = x.c[:1] if values else x.c
        return all(a.is_finite() for c in series if not isinstance(c, int) for a in _coefficients(c))

    def finite(self, x: Any) -> bool:
        """Whether values are finite for certain."""
        return not self.varies(x) or self.known(x, values=True)

    def norm(self, x: Ribbon) -> float:
        """A bound of the sum of absolute values of all coefficients."""
        total = sum((abs(a) for c in x.c if not isinstance(c, int) for a in _coefficients(c)), flint().arb(0))
        return math.nextafter(float(total.upper()), math.inf) if total.is_finite() else math.inf

    def within(self, radius: float) -> Ribbon:
        """A function of which no coefficient is larger."""
        ball = flint().arb(0, radius)
        return self._ribbon(*[flint().arb_series([ball] * flint().ctx.cap)] * 2)

    def _ribbon(self, on: Any, rest: Any = 0) -> Ribbon:
        return Ribbon([on, *[rest] * (len(self.strip.powers) - 1)], self.strip)

    # ------------------------------------------------------------------------------------------------ along the curve

    def curve(self, series: list[Any], direction: int | None = None) -> Ribbon:
        """A function of t, and the distance in a direction of its own added to it."""
        x = self._ribbon(flint().arb_series(series))
        if direction is not None and self.strip.depth:
            x.c[self.strip.place[tuple(int(direction == k) for k in range(self.n))]] = _series(1)
        return x

    def slope(self, x: Ribbon, k: int, to: "Along") -> Ribbon:
        """The derivative by coordinate k, in a strip of one derivative less."""
        raised = [(b[k] + 1, self.strip.place[(*b[:k], b[k] + 1, *b[k + 1 :])]) for b in to.strip.powers]
        return Ribbon([x.c[place] * weight for weight, place in raised], to.strip)

    def narrowed(self, x: Ribbon, to: "Along") -> Ribbon:
        """The same in a strip of one derivative less."""
        return Ribbon(x.c[: len(to.strip.powers)], to.strip)

    def series(self, x: Ribbon, *powers: int) -> list[Any]:
        """The coefficients of t^a, beside a power of distances."""
        return _coefficients(x.c[self.strip.place[powers] if powers else 0])


def _series(x: Any) -> Any:
    return x if isinstance(x, flint().arb_series) else flint().arb_series([x])


def _sum(a: Any, b: Any) -> Any:
    """The sum, where one may be the integer 0."""
    return b if isinstance(a, int) else a if isinstance(b, int) else a + b


def _coefficients(c: Any) -> list[Any]:
    zero = flint().arb(0)
    return [zero if isinstance(c, int) else c[a] for a in range(flint().ctx.cap)]


def accelerations(graph: Any, x: list[list[Any]], v: list[list[Any]], depth: int) -> tuple[list, list, list]:
    r"""The series of $a^k = -\Gamma^k_{ij} v^i v^j$ along x(t), v(t), and with `depth` 1 of its derivatives by x and v.

    Returns:
        `a[k]`, `by_x[k][m]`, `by_v[k][m]`, each a list of coefficients.
    """
    with terms_kept(len(x[0])):
        return _accelerations(graph, x, v, depth)


def _accelerations(graph: Any, x: list[list[Any]], v: list[list[Any]], depth: int) -> tuple[list, list, list]:
    n = len(x)
    wide, E = Along(n, depth + 1), Along(n, depth)
    matrix = graph.matrix(wide, [wide.curve(c, k) for k, c in enumerate(x)])
    forms = [[e if wide.varies(e) else wide.constant(e) for e in row] for row in matrix]
    half = E.number(0.5)
    for i, j in itertools.combinations(range(n), 2):
        if forms[i][j] is not forms[j][i]:
            forms[i][j] = forms[j][i] = (forms[i][j] + forms[j][i]) * half
    u = [E.curve(c) for c in v]
    dg = [[[wide.slope(forms[i][j], k, E) for k in range(n)] for j in range(n)] for i in range(n)]
    inverse = E.inverse([[wide.narrowed(e, E) for e in row] for row in forms])
    if not all(A.known(e) for A, M in ((wide, forms), (E, inverse)) for row in M for e in row):
        nothing = [flint().arb("nan")] * len(x[0])  # a singularity might be left out of sums: it may stand beside a 0
        return [nothing] * n, [[nothing] * n] * n, [[nothing] * n] * n
    pairs = list(itertools.product(range(n), repeat=2))
    lowered = [E.sum((dg[k][j][i] - dg[i][j][k] * half) * u[i] * u[j] for i, j in pairs) for k in range(n)]
    a = [-E.sum(inverse[k][m] * lowered[m] for m in range(n)) for k in range(n)]
    if not depth:
        return [E.series(e) for e in a], [], []
    unit = [tuple(int(i == k) for i in range(n)) for k in range(n)]
    twice = [
        [E.sum((dg[k][j][i] + dg[k][i][j] - dg[i][j][k]) * u[j] for j in range(n)) for i in range(n)] for k in range(n)
    ]
    by_v = [[-E.sum(inverse[k][m] * twice[m][i] for m in range(n)) for i in range(n)] for k in range(n)]
    return ([E.series(e) for e in a], [[E.series(e, *unit[m]) for m in range(n)] for e in a],
            [[E.series(e) for e in row] for row in by_v])  # fmt: skip
