"""Undetermined functions a(t), H(u, x, y), f(e(x)) and their derivatives: what an atom of SymPy means, and back."""

import functools
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import sympy as sp
from sympy.core.function import AppliedUndef

ATOMS = (sp.Derivative, sp.Subs, AppliedUndef)


class Unknown(NamedTuple):
    """A derivative of an undetermined function at some place: how often by each of its arguments."""

    function: Any
    arguments: tuple[sp.Expr, ...]
    orders: tuple[int, ...]


def parsed(atom: sp.Expr) -> Unknown | None:
    """The meaning of an atom, or None if it is not a derivative of an undetermined function by its own arguments."""
    if isinstance(atom, AppliedUndef):
        return Unknown(atom.func, atom.args, (0,) * len(atom.args))
    if isinstance(atom, sp.Subs):
        inner = parsed(atom.expr)
        if inner is None:
            return None
        new = dict(zip(atom.variables, atom.point, strict=True))
        return inner._replace(arguments=tuple(a.xreplace(new) for a in inner.arguments))
    if isinstance(atom, sp.Derivative) and isinstance(atom.expr, AppliedUndef):
        arguments = atom.expr.args
        orders = dict(atom.variable_count)
        if all(v in arguments and sum(a.has(v) for a in arguments) == 1 for v in orders):
            return Unknown(atom.expr.func, arguments, tuple(int(orders.get(a, 0)) for a in arguments))
    return None


@functools.cache
def _placeholder(j: int) -> sp.Dummy:
    return sp.Dummy(f"xi_{j + 1}")


def written(unknown: Unknown) -> sp.Expr:
    """The atom as SymPy's own differentiation writes it."""
    function, arguments, orders = unknown
    places, inside = {}, []
    for j, a in enumerate(arguments):
        alone = isinstance(a, sp.Symbol | AppliedUndef) and sum(b.has(a) for b in arguments) == 1
        if orders[j] and not alone:
            places[_placeholder(j)] = a
        inside.append(_placeholder(j) if orders[j] and not alone else a)
    variables = [(v, m) for v, m in zip(inside, orders, strict=True) if m]
    atom = function(*inside)
    atom = sp.Derivative(atom, *variables) if variables else atom
    return sp.Subs(atom, tuple(places), tuple(places.values())) if places else atom


def stand_in(atom: sp.Expr) -> sp.Rational:
    """A value for an atom, the same wherever it occurs: what holds for undetermined functions holds for any values."""
    meaning = parsed(atom) or atom
    code = zlib.crc32(str(meaning).encode())
    return sp.Rational(code % 89 + 30, code // 89 % 61 + 40)


def stand_ins(expressions: Sequence[sp.Expr]) -> dict[sp.Expr, sp.Rational]:
    """Values for all undetermined functions of some expressions, the outermost first."""
    atoms = set().union(*(e.atoms(*ATOMS) for e in expressions))
    return {atom: stand_in(atom) for atom in sorted(atoms, key=str)}
