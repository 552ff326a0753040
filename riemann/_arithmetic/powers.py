"""Powers, and functions of two numbers."""

import functools
import math
import numbers
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.arguments import discrete, is_discrete, ndim_of, promoted, values
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.elementwise import function_of, product_of, quotient_of, root_of, sum_of
from riemann._arithmetic.jet import Jet, aligned, rule
from riemann._arithmetic.leibniz import composed, moves, stays
from riemann._arithmetic.series import FUNCTIONS


@rule("special_entr")
def _entr(A: Arithmetic, a: Jet) -> Jet:
    y = -_times_log(A, "log", a, a).c
    return Jet(torch.cat([torch.special.entr(a.c[:1]), y[1:]]))


rule("add")(sum_of)


rule("mul", "multiply")(product_of)


def _falling(p: Any, r: int) -> Any:
    """p (p - 1) … to r factors."""
    return functools.reduce(lambda y, k: y * (p - k), range(1, r), p) if r else 1


@rule("pow", "float_power")
def _pow(A: Arithmetic, a: Any, p: Any) -> Jet:
    if is_discrete(a, p) and not isinstance(a, float) and not isinstance(p, float):
        return discrete(A, torch.pow, a, p)
    (a, p), dtype = promoted(A, a, p)
    if isinstance(p, Jet):
        return _power_that_varies(A, a, p)
    if isinstance(p, numbers.Number):
        if (square := a.smooth_square) is not None and isinstance(p, int | float) and p > 0 and p % 2 == 0:
            return _pow(A, Jet(square), p // 2) if p > 2 else Jet(square)
        if p == 2:
            return product_of(A, a, a)
    return Jet(power(A, aligned(a.c, ndim_of(a, p)), p))


def power(A: Arithmetic, c: Tensor, p: Any) -> Tensor:
    """Coefficients of a power with a constant exponent, a number or one at each point."""
    v = c[0]

    def term(r: int) -> Any:
        factor = _falling(p, r)
        if isinstance(factor, Tensor):
            return torch.where(factor == 0, 0, factor * v ** (p - r))
        return 0 if factor == 0 else factor * v ** (p - r)

    order = A.orders.order if len(c) > 1 else 0
    return composed(A, [v**p, *(term(r) for r in range(1, order + 1))], c, singular=True)


def _power_that_varies(A: Arithmetic, a: Any, p: Jet) -> Jet:
    """exp(p log a) where a > 0; elsewhere only p that is constant there has derivatives."""
    a = a if isinstance(a, Jet) else Jet(A.coefficients(a, p.dtype))
    shape = torch.broadcast_shapes(a.shape, p.shape)
    a_c, p_c = (aligned(t.c, len(shape)).expand(-1, -1, *shape) for t in (a, p))
    if p.is_complex() or a.is_complex():
        return function_of(A, "exp", product_of(A, Jet(p_c), function_of(A, "log", Jet(a_c))))
    count = A.orders.counts[-1]
    positive, one = a_c[0] > 0, _one_like(a_c)
    logs = function_of(A, "log", Jet(torch.where(positive, a_c, one)))
    above = A.padded(function_of(A, "exp", product_of(A, Jet(p_c), logs)).c, count)
    below = A.padded(power(A, torch.where(positive, one, a_c), p_c[0]), count)
    rest = torch.where(positive, above[1:], torch.where(stays(A, p_c, ~positive), below[1:], math.nan))
    return Jet(torch.cat([torch.pow(a_c[:1], p_c[:1]), rest]))


def _one_like(c: Tensor) -> Tensor:
    """The coefficients of the constant 1."""
    return torch.cat([torch.ones_like(c[:1]), torch.zeros_like(c[1:])])


@rule("atan2", "arctan2")
def _atan2(A: Arithmetic, y: Any, x: Any) -> Jet:
    """The angle: by the derivatives of atan(y / x) or of -atan(x / y), whichever is far from its pole."""
    (y, x), dtype = promoted(A, y, x)
    shape = torch.broadcast_shapes(y.shape, x.shape)
    y_c, x_c = (aligned(A.coefficients(t, dtype), len(shape)).expand(-1, -1, *shape) for t in (y, x))
    count = max(len(y_c), len(x_c))
    y_c, x_c = A.padded(y_c, count), A.padded(x_c, count)
    steep = y_c[0].abs() > x_c[0].abs()
    p, q = torch.where(steep, -x_c, y_c), torch.where(steep, y_c, x_c)
    angle = function_of(A, "atan", quotient_of(A, Jet(p), Jet(q)), singular=True).c
    value = torch.atan2(y_c[0], x_c[0]).unsqueeze(0)
    found = torch.cat([value, angle[1:]])
    return Jet(A.unknown_from(found, moves(A, y_c, (y_c[0] == 0) & (x_c[0] < 0))))


@rule("hypot")
def _hypot(A: Arithmetic, a: Any, b: Any) -> Jet:
    def square(t: Any) -> Any:
        return product_of(A, t, t) if isinstance(t, Jet) else t * t

    y = root_of(A, sum_of(A, square(a), square(b)))
    head = torch.hypot(*(t if isinstance(t, Tensor) else torch.as_tensor(t) for t in values(a, b))).unsqueeze(0)
    return Jet(head if len(y.c) == 1 else torch.cat([head, y.c[1:]])).with_square(y.smooth_square)


def _times_log(A: Arithmetic, log: str, a: Any, b: Any) -> Jet:
    """a log b, 0 where a is the constant 0."""
    (a, b), dtype = promoted(A, a, b)
    logarithm = (
        function_of(A, log, b, singular=True)
        if isinstance(b, Jet)
        else FUNCTIONS[log][0](torch.as_tensor(b, dtype=dtype))
    )
    y = product_of(A, a, logarithm).c
    left, right = values(a, b)
    right = torch.as_tensor(right, dtype=dtype)
    zero = (torch.as_tensor(left) == 0) & ~torch.isnan(right)
    head = torch.where(zero, 0, y[:1])
    if len(y) == 1:
        return Jet(head)
    still = stays(A, aligned(a.c, y.ndim - 2), zero) if isinstance(a, Jet) else zero
    return Jet(torch.cat([head, torch.where(still, 0, y[1:])]))


rule("xlogy")(functools.partial(lambda A, a, b: _times_log(A, "log", a, b)))


rule("special_xlog1py")(functools.partial(lambda A, a, b: _times_log(A, "log1p", a, b)))
