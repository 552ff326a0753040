r"""Where an expression is what the code computes that it was read from.

SymPy simplifies for points in general position: $e^{2 \log r}$ becomes $r^2$, $x / x$ becomes 1, of
`torch.where(x == 0, a, b)` there is b. All of this is true where every function that the code calls is analytic at its
argument, and no two numbers that it compares are equal. What is noted here, operation by operation, is just that; at a
point where a condition does not clearly hold the expression says nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import sympy as sp

ANALYTIC = (
    sp.exp, sp.sin, sp.cos, sp.sinh, sp.cosh, sp.tanh, sp.atan, sp.asinh, sp.erf, sp.erfc, sp.besseli, sp.besselj,
)  # fmt: skip


class Condition(NamedTuple):
    """An expression that is positive, not 0, or a finite number at points where what was simplified holds."""

    expression: sp.Expr
    kind: Literal["positive", "nonzero", "finite"]


def conditions(expressions: Iterable[Any]) -> list[Condition]:
    """Where all functions in some expressions are analytic at their arguments."""
    found = {c: None for e in expressions for node in sp.preorder_traversal(sp.sympify(e)) for c in at_node(node)}
    return [c for c in found if not is_certain(c)]


def is_certain(condition: Condition) -> bool:
    """Whether it holds everywhere."""
    e, kind = condition
    if not e.free_symbols:  # a constant outside a domain is not a real number, which is looked at elsewhere
        return e is not sp.nan
    return kind != "finite" and bool(e.is_positive or (kind == "nonzero" and e.is_nonzero))


def at_node(e: Any) -> Iterator[Condition]:
    """Where one function is analytic at its arguments; nowhere, if it is not known."""
    if isinstance(e, sp.Pow) and e.base != sp.E:
        if not e.exp.is_Integer:
            yield Condition(e.base, "positive")
        elif e.exp < 0:
            yield Condition(e.base, "nonzero")
    elif isinstance(e, sp.exp | sp.sinh | sp.cosh) or isinstance(e, sp.Pow):
        yield Condition(e, "finite")  # 1 / exp(1000) is exp(-1000), but for floating point
    elif isinstance(e, sp.log | sp.gamma | sp.loggamma | sp.polygamma | sp.besselk | sp.bessely):
        yield Condition(e.args[-1], "positive")
    elif isinstance(e, sp.asin | sp.acos | sp.atanh | sp.erfinv):
        yield from (Condition(1 - e.args[0], "positive"), Condition(1 + e.args[0], "positive"))
    elif isinstance(e, sp.acosh):
        yield Condition(e.args[0] - 1, "positive")
    elif isinstance(e, sp.Abs | sp.sign):
        yield Condition(e.args[0], "nonzero")
    elif isinstance(e, sp.atan2):
        y, x = e.args
        yield Condition(sp.sqrt(x**2 + y**2) + x, "positive")
    elif isinstance(e, sp.Max | sp.Min):
        yield from apart(e.args)
    elif isinstance(e, sp.core.relational.Relational):
        yield from apart(e.args)
    elif isinstance(e, sp.tan | sp.sec | sp.csc | sp.cot | sp.coth | sp.sech | sp.csch):
        yield Condition(e, "finite")
    elif isinstance(e, sp.Function) and not isinstance(e, (*ANALYTIC, sp.Piecewise)):
        yield Condition(sp.nan, "finite")


def apart(values: Iterable[Any]) -> Iterator[Condition]:
    """No two values are equal."""
    values = list(values)
    yield from (Condition(a - b, "nonzero") for k, a in enumerate(values) for b in values[:k] if a != b)
