"""Metrics as people read them: the line element, and the components that are not 0, in LaTeX."""

import inspect
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import sympy as sp

from riemann.symbolic._textbook import LETTERS, Textbook


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


FIXED = {"metric": ("ll",), "inverse_metric": ("uu",), "christoffel": ("ull", "lll"), "nabla_riemann": ("lllll",)}
"""Where indices stand that cannot be moved; all others are below by default."""


def summary(metric: Any) -> Iterator[str]:
    """Christoffel symbols, independent components of Riemann, Ricci, scalar: those that are not 0, or that all are."""
    for name in ("christoffel", "riemann_tensor", "ricci_tensor", "scalar_curvature"):
        yield from _lines(metric, name, (), _positions(name))


def quantity(metric: Any, name: str, component: Sequence[Any], indices: str | None) -> str:
    """One quantity, or those of its components whose first indices are given."""
    if name == "line_element":
        return line_element(metric.matrix, metric.coordinates).replace(" &= ", " = ")
    if name in ("geodesic_equations", "killing_equations"):
        raise ValueError(f"`{name}` are equations of SymPy; use `sympy.latex(metric.{name}())`")
    if name not in LETTERS:
        raise ValueError(f"`quantity` is {name!r}, expected one of {', '.join(('line_element', *LETTERS))}")
    positions = _positions(name) if indices is None else indices
    if positions not in (fixed := FIXED.get(name, (positions,) if _positions(name) else ("",))):
        wanted = " or ".join(map(repr, fixed)) if any(fixed) else "none"
        raise ValueError(f"`indices` is {indices!r}, expected {wanted}: `{name}` has its indices nowhere else")
    if len(component) > len(positions):
        raise ValueError(f"`{name}` has {len(positions)} indices, and {len(component)} are given")
    lines = list(_lines(metric, name, [_place(metric, c) for c in component], positions))
    return aligned(lines) if len(lines) > 1 else lines[0].replace(" &= ", " = ")


def _positions(name: str) -> str:
    """Where its indices stand by default."""
    if name in FIXED:
        return FIXED[name][0]
    movable = inspect.signature(getattr(Textbook, name)).parameters.get("indices")
    return "l" * len(movable.default) if movable else ""


def _place(metric: Any, index: Any) -> int:
    """The place of a coordinate, given by its name, as a symbol or as its place."""
    names = [x.name for x in metric.coordinates]
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < metric.dim:
        return index
    if str(index) in names:
        return names.index(str(index))
    raise ValueError(f"{index!r} is not a coordinate: they are {', '.join(names)}, or 0 to {metric.dim - 1}")


def _lines(metric: Any, name: str, first: Sequence[int], positions: str) -> Iterator[str]:
    letter, names, rank = LETTERS[name], [sp.latex(x) for x in metric.coordinates], len(positions)
    if not _positions(name):
        yield f"{letter} &= {sp.latex(getattr(metric, name)())}"
        return
    if name == "christoffel":
        value = metric.christoffel(kind=1 if positions == "lll" else 2)
    else:
        value = getattr(metric, name)(*() if name in FIXED else (positions,))
    found = False
    for rest in itertools.product(range(metric.dim), repeat=rank - len(first)):
        index = (*first, *rest)
        if rest and (value[index] == 0 or _is_repeated(index, len(first), name, positions)):
            continue
        found = True
        yield f"{letter}{_at(positions, [names[i] for i in index], name)} &= {sp.latex(value[index])}"
    if not found:
        generic = [*(names[i] for i in first), *"abcde"[: rank - len(first)]]
        yield f"{letter}{_at(positions, generic, name)} &= 0"


def _is_repeated(index: tuple[int, ...], given: int, name: str, positions: str) -> bool:
    """Whether a component follows by symmetry from one that comes before it."""
    *_, c, d = index[:4]  # of curvature
    if name == "christoffel":
        return given < 2 and c > d
    if len(index) == 2:
        return given == 0 and c > d and positions in ("ll", "uu")
    if len(index) == 3:
        return given < 2 and c > d
    lowered = given == 0 and positions[:4] == "llll" and (index[0] > index[1] or index[:2] > index[2:4])
    return lowered or (given < 3 and positions[2] == positions[3] and c > d)


def _at(positions: str, names: Sequence[str], name: str) -> str:
    """Names of indices above and below the line; that of a covariant derivative follows a semicolon."""
    if name == "nabla_riemann":
        names = [*names[:-1], f"; {names[-1]}"]
    groups = itertools.groupby(zip(positions, names, strict=True), key=lambda pair: pair[0])
    parts = ["_^"[p == "u"] + "{" + " ".join(index for _, index in group) + "}" for p, group in groups]
    return ("" if name == "christoffel" else "{}").join(parts)


def aligned(lines: Sequence[str]) -> str:
    """Lines under one another."""
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"
