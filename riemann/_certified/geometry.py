"""The textbook over enclosures: each quantity as an array of Taylor forms."""

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from riemann.bridge import Trace
from riemann.symbolic._textbook import Textbook


class Enclosed(Textbook):
    """Curvature of a matrix of Taylor forms: methods of `Textbook`, whose results are arrays of forms."""

    def _array(self, rank: int, component: Callable[..., Any]) -> np.ndarray:
        T = np.empty((self.dim,) * rank, dtype=object)
        for index in itertools.product(range(self.dim), repeat=rank):
            T[index] = component(*index)
        return T

    def log_volume_element(self) -> Any:
        """The logarithm of the volume element."""
        E = self._arithmetic
        return E.call("log", E.absolute(E.determinant(self._g))) * E.number(0.5)

    def gauss_curvature(self) -> Any:
        """The curvature K = S / 2 of a surface."""
        return self._scalar() * self._arithmetic.number(0.5)

    def nabla_riemann(self) -> np.ndarray:
        r"""The covariant derivative of Riemann, $\nabla_k R_{abcd}$, `[a, b, c, d, k]`."""
        E, R, gamma, n = self._arithmetic, self._riemann_lowered, self._gamma, range(self.dim)

        @functools.cache
        def component(a: int, b: int, c: int, d: int, k: int) -> Any:
            terms = [E.derivative(R(a, b, c, d), k)]
            for e in n:
                terms += [-gamma(e, k, a) * R(e, b, c, d), -gamma(e, k, b) * R(a, e, c, d)]
                terms += [-gamma(e, k, c) * R(a, b, e, d), -gamma(e, k, d) * R(a, b, c, e)]
            return E.sum(terms)

        return self._array(5, component)

    # ---------------------------------------------------------------------------------------------------- definiteness

    def positive(self) -> list[Any]:
        """The pivots of g, which is positive definite where all are positive."""
        return self.pivots(self._g)

    def pivots(self, M: list[list[Any]]) -> list[Any]:
        """The pivots of a symmetric matrix, without exchange: all are positive where it is positive definite."""
        E, found = self._arithmetic, []
        while M:
            first = M[0]
            found.append(first[0])
            scale = E.quotient(1, first[0]) if len(M) > 1 else None
            M = [
                [row[j] - row[0] * scale * first[j] if row[0] and first[j] else row[j] for j in range(1, len(M))]
                for row in M[1:]
            ]
        return found

    def sectional_matrix(self, c: Any) -> list[list[Any]]:
        """R - c G on the bivectors $e_a \\wedge e_b$: of a plane it gives (K - c) times its squared area."""
        g, pairs = self._g, list(itertools.combinations(range(self.dim), 2))

        def entry(a: int, b: int, p: int, q: int) -> Any:
            return self._riemann_lowered(a, b, p, q) - (g[a][p] * g[b][q] - g[a][q] * g[b][p]) * c

        return [[entry(*left, *right) for right in pairs] for left in pairs]

    def ricci_matrix(self, c: Any) -> list[list[Any]]:
        """Ric - c g."""
        return self._shifted(self._ricci, c)

    def metric_matrix(self, c: Any) -> list[list[Any]]:
        """G - c times the unit matrix."""
        n, g = range(self.dim), self._g
        return [[g[i][j] - c if i == j else g[i][j] for j in n] for i in n]

    def _shifted(self, tensor: Callable[[int, int], Any], c: Any) -> list[list[Any]]:
        n = range(self.dim)
        return [[tensor(i, j) - self._g[i][j] * c for j in n] for i in n]


def enclosed(graph: Trace, E: Any, centre: list[Any]) -> Enclosed:
    """The geometry of a traced metric over an arithmetic, around a centre.

    Raises:
        ValueError: an operation without enclosure (named).
    """
    g = graph.matrix(E, [E.variable(k, x) for k, x in enumerate(centre)])
    forms = [[entry if E.varies(entry) else E.constant(entry) for entry in row] for row in g]
    for i, j in itertools.combinations(range(graph.dim), 2):
        if forms[i][j] is not forms[j][i]:
            forms[i][j] = forms[j][i] = (forms[i][j] + forms[j][i]) * E.number(0.5)
    return Enclosed(E, forms)


def negated(M: list[list[Any]]) -> list[list[Any]]:
    """-M."""
    return [list(map(operator.neg, row)) for row in M]
