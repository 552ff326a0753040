"""Arithmetic on expression trees: any function SymPy can differentiate, at the price of growth."""

from collections.abc import Iterable, Sequence
from typing import Any

import sympy as sp


class Trees:
    """Expressions as they are; `cancel` and `trigsimp` are the caller's to ask for."""

    def __init__(self, coordinates: Sequence[sp.Symbol]):
        self.coordinates = coordinates

    def element(self, expression: Any) -> sp.Expr:
        """The element that an expression stands for."""
        return sp.sympify(expression)

    def expression(self, element: sp.Expr) -> sp.Expr:
        """The expression that an element stands for."""
        return sp.factor_terms(element)

    def root_of_absolute(self, element: sp.Expr) -> sp.Expr:
        """The square root of the absolute value."""
        return sp.sqrt(sp.Abs(element))

    def sum(self, terms: Iterable[sp.Expr]) -> sp.Expr:
        """The sum of elements."""
        return sp.Add(*terms)

    def derivative(self, element: sp.Expr, k: int) -> sp.Expr:
        """The derivative by coordinate k."""
        return sp.diff(element, self.coordinates[k])

    def shortened(self, element: sp.Expr) -> sp.Expr:
        """The element: it is exact."""
        return element

    def determinant(self, matrix: list[list[sp.Expr]]) -> sp.Expr:
        """The determinant of a matrix of elements."""
        return sp.Matrix(matrix).det(method="berkowitz")

    def inverse(self, matrix: list[list[sp.Expr]]) -> list[list[sp.Expr]]:
        """The inverse of a matrix of elements."""
        return (sp.Matrix(matrix).adjugate(method="berkowitz") / self.determinant(matrix)).tolist()
