"""The textbook over enclosures: each quantity as an array of Taylor forms."""

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from riemann._certified.planes import best_shift, four_forms
from riemann._certified.quantities import FORMS, QUANTITIES, WITHOUT_INVERSE
from riemann.symbolic._textbook import Textbook


class Enclosed(Textbook):
    """Curvature of a matrix of Taylor forms: methods of `Textbook`, whose results are arrays of forms."""

    def _array(self, rank: int, component: Callable[..., Any]) -> np.ndarray:
        T = np.empty((self.dim,) * rank, dtype=object)
        for index in itertools.product(range(self.dim), repeat=rank):
            T[index] = component(*index)
        return T

    def ball(self, x: Any) -> Any:
        """A number as a constant of the arithmetic."""
        return self._arithmetic.number(x)

    def log_volume_element(self) -> Any:
        """The logarithm of the volume element."""
        E = self._arithmetic
        return E.call("log", E.absolute(E.determinant(self._g))) * E.number(0.5)

    def gauss_curvature(self) -> Any:
        """The curvature K = R_0101 / det g of a surface."""
        return self._arithmetic.quotient(self._riemann_lowered(0, 1, 0, 1), self._arithmetic.determinant(self._g))

    # ---------------------------------------------------------------------------------------------------- definiteness

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

    def sectional_forms(self) -> tuple[list[list[Any]], list[list[Any]]]:
        r"""R and the squared area on the bivectors $e_a \wedge e_b$: K is their quotient on those of planes."""
        g, pairs = self._g, list(itertools.combinations(range(self.dim), 2))
        R = [[self._riemann_lowered(*p, *q) for q in pairs] for p in pairs]
        return R, [[g[a][c] * g[b][d] - g[a][d] * g[b][c] for c, d in pairs] for a, b in pairs]

    def with_four_form(self, M: list[list[Any]], G: list[list[Any]]) -> list[list[Any]]:
        """M and a four-form, the best of each box: the same as M on planes."""
        E = self._arithmetic
        t = best_shift(
            *(torch.stack([torch.stack([E.middle(e) for e in row], -1) for row in F], -2) for F in (M, G)), self.dim
        )
        shifted = [list(row) for row in M]
        for k, entries in enumerate(four_forms(self.dim)):
            coefficient = E.spread_numbers(t[:, k])
            for i, j, sign in entries:
                shifted[i][j] = shifted[j][i] = M[i][j] + coefficient * E.number(sign)
        return shifted

    def ricci_forms(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """Ric and g."""
        n = range(self.dim)
        return [[self._ricci(i, j) for j in n] for i in n], self._g

    def metric_forms(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """G and the unit matrix."""
        E, n = self._arithmetic, range(self.dim)
        return self._g, [[E.constant(int(i == j)) for j in n] for i in n]

    def inverse_forms(self) -> list[list[Any]]:
        """The inverse of g."""
        return self._inverse

    # ------------------------------------------------------------------------------------------------------ regularity

    def known(self, name: str) -> Any:
        """Whether g is for certain as finite, smooth and nonsingular as a quantity needs: a bool, or a mask of boxes.

        What is 0 by the structure of g is left out of sums, so a singularity might be left out, too.
        """
        E, values = self._arithmetic, (QUANTITIES | FORMS)[name].order == 0
        matrices = (self._g,) if name in WITHOUT_INVERSE else (self._g, self._inverse)
        entries = [entry for M in matrices for row in M for entry in row]
        return functools.reduce(operator.and_, (E.known(e, values=values) for e in entries))


def enclosed(graph: Any, E: Any, centre: list[Any]) -> Enclosed:
    """The geometry of a traced metric over an arithmetic, around a centre.

    Raises:
        ValueError: an operation without enclosure (named), or a metric that is certainly not symmetric.
    """
    g = graph.matrix(E, [E.variable(k, x) for k, x in enumerate(centre)])
    forms = [[entry if E.varies(entry) else E.constant(entry) for entry in row] for row in g]
    for i, j in itertools.combinations(range(graph.dim), 2):
        if forms[i][j] is not forms[j][i]:
            E.check_symmetry(forms, i, j)
            forms[i][j] = forms[j][i] = (forms[i][j] + forms[j][i]) * E.number(0.5)
    return Enclosed(E, forms)
