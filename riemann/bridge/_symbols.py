"""Expressions of SymPy as the numbers over which a traced function runs."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import sympy as sp

from riemann.bridge._conditions import Condition, apart, at_node, conditions, is_certain
from riemann.bridge._functions import FUNCTIONS, Inexpressible, X, exact, matrix

_SMALL = 100  # operations; an expression that is larger is not brought into canonical form


class Symbols:
    r"""Expressions at a generic point: two of them are equal only where they are the same.

    Their symbols are real, so that $\sqrt{x^2} = |x|$ and $|x|^2 = x^2$.

    Args:
        double: whether single precision is the binary number that it is in double precision, 0.1 no 1/10.

    Attributes:
        conditions: where the expressions are what was computed.
    """

    kind = "a symbolic expression"

    def __init__(self, double: bool = False):
        self.double = double
        self.conditions: dict[Condition, None] = {}

    def note(self, *found: Condition) -> None:
        """The operations that are done hold under these conditions."""
        self.conditions.update(dict.fromkeys(c for c in found if not is_certain(c)))

    def number(self, x: Any) -> sp.Expr:
        """The element for a number."""
        return exact(float(x) if self.double and isinstance(x, np.float32) else x)

    def single(self, x: Any) -> sp.Expr:
        """A result in single precision."""
        if not self.double:
            return x
        if self.varies(x):
            raise Inexpressible("rounds to single precision, which no expression does")
        return x if x is sp.nan else self.number(np.float32(x))

    def mapped(self, f: Callable[..., Any], arrays: list[np.ndarray]) -> list[Any]:
        """`f` entry by entry of arrays of one shape."""
        return [f(*entries) for entries in zip(*(a.flat for a in arrays), strict=True)]

    def plain(self, x: Any) -> float:
        """The float nearest to a constant."""
        return float(x)

    def varies(self, x: Any) -> bool:
        """Whether an element depends on the point."""
        return not sp.sympify(x).is_number

    def call(self, name: str, x: Any) -> sp.Expr:
        """A function of the table."""
        self.note(*(Condition(e.subs(X, x), kind) for e, kind in conditions([FUNCTIONS[name]])))
        return FUNCTIONS[name].subs(X, x)

    def quotient(self, x: Any, y: Any) -> sp.Expr:
        """The quotient x / y."""
        self.note(Condition(sp.sympify(y), "nonzero"))
        return x / y

    def power(self, x: Any, exponent: Any) -> sp.Expr:
        """x^exponent."""
        self.note(*at_node(sp.Pow(x, exponent, evaluate=False)))
        return sp.sympify(x) ** exponent

    def atan2(self, y: Any, x: Any) -> sp.Expr:
        """The angle of (x, y)."""
        self.note(*at_node(sp.atan2(y, x, evaluate=False)))
        return sp.atan2(y, x)

    def absolute(self, x: Any) -> sp.Expr:
        """|x|."""
        self.note(Condition(sp.sympify(x), "nonzero"))
        return sp.Abs(x)

    def sign(self, x: Any) -> sp.Expr:
        """The quotient x / |x|, whose products with |x| are rational."""
        self.note(Condition(sp.sympify(x), "nonzero"))
        return sp.sign(x) if sp.sympify(x).is_number else x / sp.Abs(x)

    def greatest(self, xs: list[Any]) -> sp.Expr:
        """The maximum."""
        self.note(*apart(xs))
        return sp.Max(*xs)

    def total(self, xs: Iterable[Any]) -> sp.Expr:
        """The sum."""
        return sp.Add(*xs)

    def compare(self, name: str, x: Any, y: Any) -> Any:
        """A bool; a condition of SymPy where an inequality holds at some points only."""
        x, y = sp.sympify(x), sp.sympify(y)
        self.note(*apart((x, y)))
        if name in ("eq", "ne"):
            return (x == y) == (name == "eq")
        if x == y:
            return name in ("le", "ge")
        condition = {"lt": sp.Lt, "le": sp.Le, "gt": sp.Gt, "ge": sp.Ge}[name](x, y)
        return bool(condition) if condition in (sp.true, sp.false) else condition

    def choose(self, condition: Any, x: Any, y: Any) -> sp.Expr:
        """Of x and y the first where the condition holds; a branch that is NaN is not a part of the domain."""
        if isinstance(condition, bool):
            return x if condition else y
        if x == y:
            return x
        if y is sp.nan:
            self.note(Condition(condition.gts - condition.lts, "positive"))
            return x
        if x is sp.nan:
            self.note(Condition(condition.lts - condition.gts, "positive"))
            return y
        raise Inexpressible(f"chooses by {condition} between two expressions; write the one that holds where you look")

    def matmul(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """The product of two matrices."""
        return matrix([[sp.Add(*(a * b for a, b in zip(row, column, strict=True))) for column in B.T] for row in A])

    def inverse(self, A: np.ndarray) -> np.ndarray:
        """The inverse of a matrix, block by block, by cofactors."""
        M = sp.Matrix(A)
        inverse = sp.zeros(*M.shape)
        for block in M.connected_components():
            B = M.extract(block, block)
            det = self.clean(B.det(method="berkowitz"))
            if det == 0:
                raise Inexpressible("inverts a singular matrix")
            self.note(Condition(det, "nonzero"))
            cofactors = B.adjugate(method="berkowitz")
            for (i, row), (j, column) in itertools.product(enumerate(block), repeat=2):
                inverse[row, column] = self.clean(cofactors[i, j] / det)
        return matrix(inverse.tolist())

    def pivot(self, column: list[Any]) -> int:
        """The place of the entry of a column to divide by."""
        return next((k for k, entry in enumerate(column) if entry != 0), 0)

    def clean(self, x: Any) -> sp.Expr:
        """The expression as one canonical fraction, unless it is large: elimination would nest them."""
        x = sp.sympify(x)
        return x if x.is_Atom or x.count_ops() > _SMALL else sp.cancel(x)

    def exponential(self, A: np.ndarray) -> np.ndarray:
        """The exponential of a diagonal matrix."""
        if any(A[i, j] != 0 for i, j in np.ndindex(A.shape) if i != j):
            raise Inexpressible("is the exponential of a matrix that is not diagonal; diagonalise it by hand")
        return matrix(sp.diag(*(sp.exp(a) for a in A.diagonal())).tolist())
