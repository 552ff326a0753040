"""Where the matrix of a metric comes from: the trace of its code, or its exact form where it has one."""

from typing import Any

import numpy as np
import torch

from riemann._certified.balls import ARB
from riemann._certified.functions import Expressions, Numbers
from riemann._types import Metric
from riemann.bridge import Trace, trace
from riemann.bridge._functions import FUNCTIONS, Inexpressible
from riemann.symbolic import SymbolicMetric


def source(metric: Metric | SymbolicMetric, dim: int, dtype: torch.dtype | None = None) -> "Trace | ExactMatrix":
    """The exact form of a symbolic metric, and of an entry of the catalogue; else the trace.

    Raises:
        ValueError: the dimension is another one, or the exact form has parameters without values.
    """
    exact = metric if isinstance(metric, SymbolicMetric) else getattr(metric, "symbolic", None)
    if not isinstance(exact, SymbolicMetric):
        return trace(metric, dim, dtype)
    if exact.dim != dim:
        raise ValueError(f"a point or a box of {dim} coordinates was given, and the metric has n = {exact.dim}")
    if free := sorted(map(str, exact.matrix.free_symbols - set(exact.coordinates))):
        raise ValueError(f"the metric has parameters without values: {', '.join(free)}; give it numbers")
    return ExactMatrix(exact)


class ExactMatrix:
    """A matrix of expressions as a function of elements of any arithmetic."""

    def __init__(self, metric: SymbolicMetric):
        self.dim = metric.dim
        self._expressions = Expressions(list(metric.matrix), *metric.coordinates)

    def matrix(self, E: Any, x: list[Any]) -> np.ndarray:
        """The metric as an array of elements, at coordinates x."""
        try:
            entries = self._expressions.at(Elements(E), *x)
        except Inexpressible as reason:
            raise ValueError(f"the metric {reason}.") from None
        g = np.empty(len(entries), dtype=object)
        g[:] = entries
        return g.reshape(self.dim, self.dim)


class Elements(Numbers):
    """The elements of an arithmetic, for SymPy's expressions."""

    def __init__(self, arithmetic: Any):
        self._arithmetic = arithmetic

    def rational(self, p: int, q: int) -> Any:
        """The constant p / q."""
        return ARB.rational(p, q)

    def pi(self) -> Any:
        """The constant pi."""
        return ARB.pi()

    def euler(self) -> Any:
        """The constant of Euler."""
        return ARB.euler()

    def power(self, x: Any, k: int) -> Any:
        """x^k."""
        return self._arithmetic.power(x, k)

    def function(self, name: str, x: Any, order: int | None = None) -> Any:
        """A function by SymPy's name."""
        E = self._arithmetic
        if not E.varies(x):
            return ARB.function(name, x, order)
        if name in ("Abs", "sign"):
            return E.absolute(x) if name == "Abs" else E.sign(x)
        reciprocal = {"sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh"}
        if name in reciprocal:
            return E.quotient(1, E.call(reciprocal[name], x))
        name = {
            "polygamma": f"polygamma_{order}",
            "besselj": f"special_bessel_j{order}",
            "bessely": f"special_bessel_y{order}",
            "besselk": f"special_modified_bessel_k{order}",
            "besseli": f"special_modified_bessel_i{order}",
            "loggamma": "lgamma",
        }.get(name, name)
        if name not in FUNCTIONS:
            raise Inexpressible(f"holds `{name}`, which has no enclosure")
        return E.call(name, x)
