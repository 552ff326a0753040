"""Metrics as people read them: the line element, and the components that are not 0, in LaTeX."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import sympy as sp


class CoordinateDifferential(sp.Symbol):
    """dx for a coordinate x."""

    def _latex(self, printer: Any) -> str:
        return "d " + printer.doprint(sp.Symbol(self.name[1:]))


def terms(matrix: sp.ImmutableMatrix, coordinates: Sequence[sp.Symbol]) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """The coefficients of the line element with their products of differentials, row by row."""
    differentials = [CoordinateDifferential(f"d{x.name}") for x in coordinates]
    for i, j in itertools.combinations_with_replacement(range(len(coordinates)), 2):
        if matrix[i, j] != 0:
            yield (1 if i == j else 2) * sp.sympify(matrix[i, j]), differentials[i] * differentials[j]


def line_element(matrix: sp.ImmutableMatrix, coordinates: Sequence[sp.Symbol]) -> str:
    """The line element: ds^2 = ..."""
    text = ""
    for coefficient, product in terms(matrix, coordinates):
        negative = coefficient.as_coeff_Add()[0] < 0 or coefficient.could_extract_minus_sign()
        coefficient = -coefficient if negative else coefficient
        text += (" - " if negative else " + ") if text else ("-" if negative else "")
        if coefficient != 1:
            factor = sp.latex(coefficient, order="rev-lex")
            text += rf"\left({factor}\right) " if coefficient.is_Add else f"{factor} "
        text += sp.latex(product)
    return f"ds^{{2}} &= {text}"


def components(metric: Any) -> Iterator[str]:
    """Christoffel symbols, independent components of Riemann, Ricci, scalar: those that are not 0."""
    n, names = range(metric.dim), [sp.latex(x) for x in metric.coordinates]
    below = lambda *indices: "_{" + " ".join(names[i] for i in indices) + "}"
    pairs = list(itertools.combinations_with_replacement(n, 2))
    gamma = metric.christoffel()
    for k, (i, j) in itertools.product(n, pairs):
        yield from _unless_zero(rf"\Gamma^{{{names[k]}}}{below(i, j)}", gamma[k, i, j])
    R = metric.riemann_tensor("llll")
    planes = itertools.combinations_with_replacement(itertools.combinations(n, 2), 2)
    independent = [_unless_zero("R" + below(*p, *q), R[(*p, *q)]) for p, q in planes]
    yield from itertools.chain(*independent) if any(independent) else [r"R_{a b c d} &= 0"]
    ricci = metric.ricci_tensor()
    independent = [_unless_zero("R" + below(i, j), ricci[i, j]) for i, j in pairs]
    yield from itertools.chain(*independent) if any(independent) else [r"R_{a b} &= 0"]
    yield f"R &= {sp.latex(metric.scalar_curvature())}"


def _unless_zero(name: str, value: sp.Expr) -> list[str]:
    return [f"{name} &= {sp.latex(value)}"] if value != 0 else []


def aligned(lines: Sequence[str]) -> str:
    """Lines under one another."""
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"
