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


QUANTITIES = {
    "metric": ("g", "ll"),
    "inverse_metric": ("g", "uu"),
    "christoffel": (r"\Gamma", "ull"),
    "riemann_tensor": ("R", "llll"),
    "ricci_tensor": ("R", "ll"),
    "scalar_curvature": ("R", ""),
    "einstein_tensor": ("G", "ll"),
    "schouten_tensor": ("P", "ll"),
    "weyl_tensor": ("C", "llll"),
    "cotton_tensor": ("C", "lll"),
    "kretschmann_scalar": ("K", ""),
    "volume_element": (r"\sqrt{|g|}", ""),
}
"""The letter of a quantity, and where its indices stand."""


def summary(metric: Any) -> Iterator[str]:
    """Christoffel symbols, independent components of Riemann, Ricci, scalar: those that are not 0, or that all are."""
    for name in ("christoffel", "riemann_tensor", "ricci_tensor", "scalar_curvature"):
        yield from _lines(metric, name, (), QUANTITIES[name][1])


def quantity(metric: Any, name: str, component: Sequence[Any], indices: str | None) -> str:
    """One quantity, or those of its components whose first indices are given."""
    if name == "line_element":
        return line_element(metric.matrix, metric.coordinates).replace(" &= ", " = ")
    if name not in QUANTITIES:
        raise ValueError(f"`quantity` is {name!r}, expected one of {', '.join(('line_element', *QUANTITIES))}")
    positions = QUANTITIES[name][1] if indices is None else indices
    if name == "christoffel" and positions not in ("ull", "lll"):
        raise ValueError(f"`indices` is {indices!r}, expected 'ull' or 'lll': these are not components of a tensor")
    if len(component) > len(positions):
        raise ValueError(f"`{name}` has {len(positions)} indices, and {len(component)} are given")
    lines = list(_lines(metric, name, [_place(metric, c) for c in component], positions))
    return aligned(lines) if len(lines) > 1 else lines[0].replace(" &= ", " = ")


def _place(metric: Any, index: Any) -> int:
    """The place of a coordinate, given by its name, as a symbol or as its place."""
    names = [x.name for x in metric.coordinates]
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < metric.dim:
        return index
    if str(index) in names:
        return names.index(str(index))
    raise ValueError(f"{index!r} is not a coordinate: they are {', '.join(names)}, or 0 to {metric.dim - 1}")


def _lines(metric: Any, name: str, first: Sequence[int], positions: str) -> Iterator[str]:
    letter, usual = QUANTITIES[name]
    names, rank = [sp.latex(x) for x in metric.coordinates], len(positions)
    if rank == 0:
        yield f"{letter} &= {sp.latex(getattr(metric, name)())}"
        return
    if name == "christoffel":
        value = metric.christoffel(kind=1 if positions == "lll" else 2)
    else:
        value = getattr(metric, name)(*() if name in ("metric", "inverse_metric") else (positions,))
    found = False
    for rest in itertools.product(range(metric.dim), repeat=rank - len(first)):
        index = (*first, *rest)
        if rest and (value[index] == 0 or _is_repeated(index, len(first), name, positions)):
            continue
        found = True
        yield f"{letter}{_at(positions, [names[i] for i in index], name)} &= {sp.latex(value[index])}"
    if not found:
        generic = [*(names[i] for i in first), *"abcd"[: rank - len(first)]]
        yield f"{letter}{_at(positions, generic, name)} &= 0"


def _is_repeated(index: tuple[int, ...], given: int, name: str, positions: str) -> bool:
    """Whether a component follows by symmetry from one that comes before it."""
    *_, c, d = index
    if name == "christoffel":
        return given < 2 and c > d
    if len(index) == 2:
        return given == 0 and c > d and positions in ("ll", "uu")
    if len(index) == 3:
        return given < 2 and c > d
    lowered = given == 0 and positions == "llll" and (index[0] > index[1] or index[:2] > index[2:])
    return lowered or (given < 3 and positions[2] == positions[3] and c > d)


def _at(positions: str, names: Sequence[str], name: str) -> str:
    """Names of indices above and below the line."""
    groups = itertools.groupby(zip(positions, names, strict=True), key=lambda pair: pair[0])
    parts = ["_^"[p == "u"] + "{" + " ".join(index for _, index in group) + "}" for p, group in groups]
    return ("" if name == "christoffel" else "{}").join(parts)


def aligned(lines: Sequence[str]) -> str:
    """Lines under one another."""
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"
