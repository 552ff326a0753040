r"""Power series in time along a curve, and in small distances from it: a metric with its derivatives on x(t).

The monomials are $t^a \epsilon^b$ with $a \le N$ and $|b| \le d$: run over $x(t) + \epsilon$ the operations of a metric
give the series of $g$, $\partial g$, $\partial^2 g$ along the curve.
"""

import functools
import itertools
from typing import Any

from riemann._certified.balls import Balls
from riemann._certified.forms import Form
from riemann.symbolic._taylor import Space, Taylor


class Strip(Space):
    """The monomials: a curve's first, by powers of t, so that each power of t is one block."""

    def __init__(self, n: int, degree: int, depth: int):
        powers = [b for b in itertools.product(range(depth + 1), repeat=n) if sum(b) <= depth]
        self.powers = sorted(powers, key=lambda b: (sum(b), [-e for e in b]))
        self.exponents = [(a, *b) for a in range(degree + 1) for b in self.powers]
        place = {m: k for k, m in enumerate(self.exponents)}
        self.place, self.degree, self.depth = place, degree, depth
        self.factors = [[] for _ in self.exponents]
        for (i, a), (j, b) in itertools.product(enumerate(self.exponents), repeat=2):
            if (target := place.get(tuple(map(int.__add__, a, b)))) is not None:
                self.factors[target].append((i, j))
        self.order = degree + depth  # above which all powers of a series without constant term are 0
        self.sizes = [len(self.exponents)] * (self.order + 1)


@functools.cache
def strip(n: int, degree: int, depth: int) -> Strip:
    """The one of its kind."""
    return Strip(n, degree, depth)


class Along(Balls):
    """Balls of FLINT for functions along a curve.

    Args:
        n: number of coordinates.
        degree: highest power of t.
        depth: highest derivative by the coordinates.
    """

    def __init__(self, n: int, degree: int, depth: int):
        super().__init__(n, 0)
        self.space = strip(n, degree, depth)
        self.order = self.space.order

    def curve(self, series: list[Any], direction: int | None = None) -> Form:
        """A function of t, and the distance in a direction of its own added to it."""
        x = self._taylor(series[0])
        for a, c in enumerate(series):
            x.c[self.space.place[a, *(0,) * self.n]] = c
        if direction is not None and self.space.depth:
            unit = tuple(int(direction == k) for k in range(self.n))
            x.c[self.space.place[0, *unit]] = self.number(1)
        return Form(x, x, None)

    def slope(self, x: Form, k: int, to: "Along") -> Form:
        """The derivative by coordinate k, in a strip of one derivative less."""
        y = to._taylor(0)
        for place, (a, *b) in enumerate(to.space.exponents):
            b[k] += 1
            y.c[place] = x.at.c[self.space.place[a, *b]] * b[k]
        return Form(y, y, None)

    def narrowed(self, x: Form, to: "Along") -> Form:
        """The same in a strip of one derivative less."""
        y = Taylor([x.at.c[self.space.place[m]] for m in to.space.exponents], to.order, to.space)
        return Form(y, y, None)

    def series(self, x: Form, *powers: int) -> list[Any]:
        """The coefficients of t^a, beside a power of distances."""
        powers = powers or (0,) * self.n
        return [self.number(x.at.c[self.space.place[a, *powers]]) for a in range(self.space.degree + 1)]


def accelerations(graph: Any, x: list[list[Any]], v: list[list[Any]], depth: int) -> tuple[list, list, list]:
    r"""The series of $a^k = -\Gamma^k_{ij} v^i v^j$ along x(t), v(t), and with `depth` 1 of its derivatives by x and v.

    Returns:
        `a[k]`, `by_x[k][m]`, `by_v[k][m]`, each a list of coefficients.
    """
    n, degree = len(x), len(x[0]) - 1
    wide, E = Along(n, degree, depth + 1), Along(n, degree, depth)
    matrix = graph.matrix(wide, [wide.curve(c, k) for k, c in enumerate(x)])
    forms = [[e if wide.varies(e) else wide.constant(e) for e in row] for row in matrix]
    half = E.number(0.5)
    for i, j in itertools.combinations(range(n), 2):
        if forms[i][j] is not forms[j][i]:
            forms[i][j] = forms[j][i] = (forms[i][j] + forms[j][i]) * half
    u = [E.curve(c) for c in v]
    dg = [[[wide.slope(forms[i][j], k, E) for k in range(n)] for j in range(n)] for i in range(n)]
    inverse = E.inverse([[wide.narrowed(e, E) for e in row] for row in forms])
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
