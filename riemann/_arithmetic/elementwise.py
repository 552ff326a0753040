"""Sums, products, quotients and functions of one number, entry by entry."""

import functools
import math
import numbers
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic import outer_products, second_order, shifted
from riemann._arithmetic.arguments import any_jet, cast, discrete, is_discrete, ndim_of, promoted, shaped, values
from riemann._arithmetic.closed_forms import CLOSED
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet, rule
from riemann._arithmetic.leibniz import add, composed, moves, product, stays, still_at_poles
from riemann._arithmetic.series import FUNCTIONS, derivatives, polygamma


def sum_of(A: Arithmetic, a: Any, b: Any, alpha: Any = 1) -> Jet:
    """a + alpha b."""
    if is_discrete(a, b) and not isinstance(a, float) and not isinstance(b, float):
        return discrete(A, functools.partial(torch.add, alpha=alpha), a, b)
    if (waiting := outer_products.of_sum(A, a, b, alpha)) is not None:
        return waiting
    (a, b), dtype = promoted(A, a, b)
    if not isinstance(alpha, numbers.Number) or alpha != 1:
        b = product_of(A, b, alpha) if isinstance(b, Jet) else b * alpha
    if (waiting := shifted.of_sum(A, a, b)) is not None:
        return waiting
    ndim = ndim_of(a, b)
    return Jet(add(A, shaped(A, a, ndim), shaped(A, b, ndim), ndim))


def product_of(A: Arithmetic, a: Any, b: Any) -> Jet:
    """a b."""
    if is_discrete(a, b) and not isinstance(a, float) and not isinstance(b, float):
        return discrete(A, torch.mul, a, b)
    if a is b and isinstance(a, Jet) and (square := a.smooth_square) is not None:
        return Jet(square)
    if (waiting := outer_products.of_product(A, a, b)) is not None:
        return waiting
    (a, b), _ = promoted(A, a, b)
    ndim = ndim_of(a, b)
    return Jet(times(A, *(shaped(A, t, ndim) for t in (a, b)), ndim))


def times(A: Arithmetic, a: Any, b: Any, ndim: int) -> Tensor:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.ndim == b.ndim == ndim + 2:
        return product(A, a, b)
    return a * b


def function_of(A: Arithmetic, name: str, a: Any, singular: bool = False) -> Jet:
    """A function of the table of `series`."""
    f, first = FUNCTIONS[name]
    if name in CLOSED and (a.is_floating_point() or a.is_complex()):
        value, c = shifted.apart(a)
        order = A.orders.order if len(c) > 1 else 0
        return Jet(composed(A, CLOSED[name](value, order), c, singular))
    if not (a.is_floating_point() or a.is_complex()):
        a = cast(A, a, torch.get_default_dtype())
    value, c = shifted.apart(a)
    order = A.orders.order if len(c) > 1 else 0
    return Jet(composed(A, derivatives(f, first, value, order), c, singular))


SINGULAR = frozenset(("sqrt", "asin", "acos", "acosh", "erfinv", "log", "rsqrt", "reciprocal"))


for _name in FUNCTIONS:
    if _name not in ("sqrt", "softplus", "special_i0e", "special_i1e", "reciprocal"):
        rule(_name)(functools.partial(lambda A, a, name: function_of(A, name, a, name in SINGULAR), name=_name))


@rule("polygamma", "special_polygamma")
def _polygamma(A: Arithmetic, n: Any, a: Any) -> Jet:
    n, a = (a, n) if isinstance(n, Jet) else (n, a)  # the form in place has the order last
    return function_of(A, polygamma(n), a)


@rule("ldexp")
def _ldexp(A: Arithmetic, a: Any, b: Any) -> Jet:
    """a 2^b."""
    power = function_of(A, "exp2", b) if isinstance(b, Jet) else torch.exp2(b.to(a.dtype))
    return product_of(A, a, power)


@rule("sinc", "special_sinc")
def _sinc(A: Arithmetic, a: Jet) -> Jet:
    y = function_of(A, "special_spherical_bessel_j0", product_of(A, a, math.pi))
    return Jet(torch.cat([torch.sinc(a.c[:1]), y.c[1:]]))


@rule("sub", "subtract")
def difference_of(A: Arithmetic, a: Any, b: Any, alpha: Any = 1) -> Jet:
    return sum_of(A, a, b, -alpha)


@rule("rsub")
def _rsub(A: Arithmetic, a: Any, b: Any, alpha: Any = 1) -> Jet:
    return sum_of(A, b, a, -alpha)


@rule("neg")
def _neg(A: Arithmetic, a: Jet) -> Jet:
    return Jet(-a.c, a.jumps)


@rule("square")
def _square(A: Arithmetic, a: Jet) -> Jet:
    return product_of(A, a, a)


@rule("div", "divide", "true_divide")
def quotient_of(A: Arithmetic, a: Any, b: Any, rounding_mode: str | None = None) -> Jet:
    if rounding_mode is not None:
        if is_discrete(a, b):
            return discrete(A, functools.partial(torch.div, rounding_mode=rounding_mode), a, b)
        quotient = quotient_of(A, a, b)
        return piecewise_constant(A, quotient, torch.floor if rounding_mode == "floor" else torch.trunc)
    if is_discrete(a, b):
        return Jet(
            torch.div(*(A.coefficients(t, torch.get_default_dtype()) if isinstance(t, Jet) else t for t in (a, b)))
        )
    (a, b), dtype = promoted(A, a, b)
    if not isinstance(b, Jet):
        return Jet(shaped(A, a, ndim_of(a, b)) / b)
    y = product_of(A, a, _reciprocal(A, b))
    head = torch.div(*values(a, b)).unsqueeze(0)  # rounded once
    if len(y.c) > 1 and second_order.applies(A, y.c, head):
        y.c[:1] = head
        return y
    return Jet(head if len(y.c) == 1 else torch.cat([head, y.c[1:]]))


@rule("reciprocal")
def _reciprocal(A: Arithmetic, b: Any) -> Jet:
    """Degree by degree from y b = 1: with fewer operations and more digits than by the derivatives of 1 / v."""
    b = b if b.is_floating_point() or b.is_complex() else cast(A, b, torch.get_default_dtype())
    O, c = A.orders, b.c
    y = [torch.reciprocal(c[:1])]
    if len(c) == 1 or O.order == 0:
        return Jet(y[0])
    if second_order.applies(A, c):
        whole = second_order.reciprocal(A, c)
        return Jet(still_at_poles(A, whole, c, whole[0]))
    c = A.padded(c, O.counts[-1])
    for k in range(1, O.order + 1):
        terms = O.block(c, k) * y[0]
        for i, I, j, J in O.splits[k]:
            terms = terms + O.block(c, i).index_select(0, I) * y[j].index_select(0, J)
        y.append(-terms * y[0])
    still = stays(A, c, ~y[0][0].isfinite())
    return Jet(torch.cat([y[0], *(torch.where(still, 0, block) for block in y[1:])]))


@rule("addcmul")
def _addcmul(A: Arithmetic, a: Any, b: Any, c: Any, *, value: Any = 1) -> Jet:
    return sum_of(A, a, product_of(A, b, c) if any_jet(b, c) else b * c, value)


@rule("addcdiv")
def _addcdiv(A: Arithmetic, a: Any, b: Any, c: Any, *, value: Any = 1) -> Jet:
    return sum_of(A, a, quotient_of(A, b, c) if any_jet(b, c) else b / c, value)


@rule("lerp")
def _lerp(A: Arithmetic, a: Any, b: Any, weight: Any) -> Jet:
    step = difference_of(A, b, a) if any_jet(a, b) else b - a
    return sum_of(A, a, product_of(A, weight, step) if any_jet(weight, step) else weight * step)


@rule("sqrt")
def root_of(A: Arithmetic, a: Jet) -> Jet:
    y = function_of(A, "sqrt", a, singular=True)
    return y.with_square(a.c.clone() if a.is_complex() else torch.where(a.c[0] < 0, math.nan, a.c))


@rule("log_sigmoid_forward")
def _log_sigmoid(A: Arithmetic, a: Jet) -> Any:
    return Jet(-function_of(A, "softplus", Jet(-a.c)).c), a.c.new_zeros(0)


@rule("silu")
def _silu(A: Arithmetic, a: Jet) -> Jet:
    return product_of(A, a, function_of(A, "sigmoid", a))


@rule("mish")
def _mish(A: Arithmetic, a: Jet) -> Jet:
    return product_of(A, a, function_of(A, "tanh", function_of(A, "softplus", a)))


@rule("gelu")
def _gelu(A: Arithmetic, a: Jet, *, approximate: str = "none") -> Jet:
    if approximate == "tanh":
        inner = product_of(A, a, sum_of(A, product_of(A, product_of(A, a, a), 0.044715), 1.0))
        step = Jet(0.5 * function_of(A, "tanh", product_of(A, inner, math.sqrt(2 / math.pi))).c)
        return product_of(A, a, sum_of(A, step, 0.5))
    if approximate != "none":
        raise RuntimeError("approximate argument must be either none or tanh.")
    return product_of(A, a, function_of(A, "special_ndtr", a))


def piecewise_constant(A: Arithmetic, a: Jet, f: Callable[[Tensor], Tensor]) -> Jet:
    """floor and its like: jumps at whole numbers."""
    if not a.is_floating_point():
        return a
    v = a.c[0]
    y = f(v)
    whole = v == torch.round(v)
    if f is torch.trunc:
        whole = whole & (v != 0)
    return Jet(A.unknown_from(y.unsqueeze(0), moves(A, a.c, whole)))


for _name in ("floor", "ceil", "trunc", "fix"):
    rule(_name)(functools.partial(lambda A, a, f: piecewise_constant(A, a, f), f=getattr(torch, _name)))
