"""Kinks, jumps and choices: where two branches meet, derivatives are known as far as they agree."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.arguments import (
    any_jet,
    any_jumps,
    cast,
    discrete,
    is_discrete,
    ndim_of,
    promoted,
    value,
    values,
)
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.elementwise import (
    difference_of,
    function_of,
    piecewise_constant,
    product_of,
    quotient_of,
    root_of,
    sum_of,
)
from riemann._arithmetic.jet import Jet, Refused, aligned, rule
from riemann._arithmetic.leibniz import agree, moves, product, strays
from riemann._arithmetic.powers import _atan2


@rule("softplus")
def _softplus(A: Arithmetic, a: Jet, beta: Any = 1, threshold: Any = 20) -> Jet:
    """Without the cut of torch at 20, where the function has none; another threshold is meant."""
    scaled = a if beta == 1 else product_of(A, a, beta)
    y = function_of(A, "softplus", scaled)
    y = y if beta == 1 else Jet(y.c / beta)
    return y if threshold == 20 else _where(A, compare(A, torch.gt, scaled, threshold), a, y)


@rule("logaddexp")
def _logaddexp(A: Arithmetic, a: Any, b: Any) -> Jet:
    """b + softplus(a - b)."""
    return sum_of(A, b, _softplus(A, difference_of(A, a, b)))


@rule("logaddexp2")
def _logaddexp2(A: Arithmetic, a: Any, b: Any) -> Jet:
    scaled = product_of(A, difference_of(A, a, b), math.log(2))
    return sum_of(A, b, product_of(A, _softplus(A, scaled), 1 / math.log(2)))


@rule("round")
def _round(A: Arithmetic, a: Jet, *, decimals: int = 0) -> Jet:
    if not a.is_floating_point():
        return a
    v = a.c[0] * 10.0**decimals + 0.5
    y = torch.round(a.c[0], decimals=decimals).unsqueeze(0)
    return Jet(A.unknown_from(y, moves(A, a.c, v == torch.round(v))))


@rule("frac")
def _frac(A: Arithmetic, a: Jet) -> Jet:
    return difference_of(A, a, piecewise_constant(A, a, torch.trunc))


def compare(A: Arithmetic, f: Callable[[Tensor, Tensor], Tensor], a: Any, b: Any) -> Jet:
    """A comparison, which jumps where both sides meet and do not stay together, and where one strays."""
    if is_discrete(a, b):
        return discrete(A, f, a, b)
    itself = a is b  # `x == x`, a test for NaN
    (a, b), _ = promoted(A, a, b)
    left, right = values(a, b)
    y = f(left, right)
    jumps = torch.zeros_like(y) if itself else moves(A, difference_of(A, a, b).c, left == right)
    for t in (a, b):
        if isinstance(t, Jet):
            jumps = jumps | aligned(strays(t.c).unsqueeze(0), y.ndim - 1)[0]
    carried = any_jumps(a, b)
    return Jet(y.unsqueeze(0), jumps if carried is None else jumps | carried)


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    rule(_name)(functools.partial(lambda A, a, b, f: compare(A, f, a, b), f=getattr(torch, _name)))


for _name in ("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor"):
    rule(_name)(functools.partial(lambda A, a, b, f: _logical(A, f, a, b), f=getattr(torch, _name)))


for _name in ("logical_not", "bitwise_not"):
    rule(_name)(functools.partial(lambda A, a, f: _logical(A, f, a), f=getattr(torch, _name)))


def _logical(A: Arithmetic, f: Callable[..., Tensor], *args: Any) -> Jet:
    args = tuple(cast(A, a, torch.bool) if isinstance(a, Jet) and not is_discrete(a) else a for a in args)
    y = discrete(A, f, *args)
    decides = {"logical_and": False, "bitwise_and": False, "logical_or": True, "bitwise_or": True}.get(f.__name__)
    jumps = y.jumps
    if decides is None or jumps is None or y.dtype != torch.bool:
        return y
    for a in args:  # what decides alone, and stays, leaves no jump
        steady = (value(a) if decides else ~value(a)) if isinstance(a, Jet) else (a if decides else ~a)
        if isinstance(a, Jet):
            steady = aligned(steady.unsqueeze(0), y.ndim)[0]
            steady = steady if a.jumps is None else steady & ~aligned(a.jumps.unsqueeze(0), y.ndim)[0]
        jumps = jumps & ~steady
    y.jumps = jumps
    return y


def _is(A: Arithmetic, a: Jet, f: Callable[[Tensor], Tensor]) -> Jet:
    return Jet(f(a.c[:1]), strays(a.c)) if len(a.c) > 1 else Jet(f(a.c))


for _name in ("isnan", "isinf", "isfinite", "isposinf", "isneginf"):
    rule(_name)(functools.partial(_is, f=getattr(torch, _name)))


@rule("signbit")
def _signbit(A: Arithmetic, a: Jet) -> Jet:
    return Jet(torch.signbit(a.c[:1]), _changes_sign(A, a))


def _changes_sign(A: Arithmetic, a: Jet) -> Tensor:
    return moves(A, a.c, a.c[0] == 0) | strays(a.c)


def choose(A: Arithmetic, condition: Any, a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """Coefficients of a where the condition holds and of b elsewhere.

    Where it jumps both are to agree: the derivatives are known up to the first degree at which they do not.
    """
    count = max(len(a), len(b))
    a, b = A.padded(a, count), A.padded(b, count)
    mask = condition.c[0] if isinstance(condition, Jet) else condition
    jumps = condition.jumps if isinstance(condition, Jet) else None
    y = torch.where(mask, a, b)
    if jumps is None:
        return y
    return agreed(A, y, a, b, jumps)


def agreed(A: Arithmetic, y: Tensor, a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """y, whose derivatives are NaN from the first degree on at which a and b differ, at the places given."""
    count = A.orders.counts[-1]
    y, a, b = A.padded(y, count), A.padded(a, count), A.padded(b, count)
    differ = ~agree(a, b)
    blocks, unknown = [y[:1]], where & differ[0]
    for k in range(1, A.orders.order + 1):
        unknown = unknown | (where & A.orders.block(differ, k).any(0))
        blocks.append(torch.where(unknown, math.nan, A.orders.block(y, k)))
    return torch.cat(blocks)


@rule("where")
def _where(A: Arithmetic, condition: Any, a: Any = None, b: Any = None) -> Jet:
    if a is None:
        raise Refused("has as many results as the point decides; use `torch.where(condition, a, b)`")
    if isinstance(condition, Jet) and condition.dtype != torch.bool:
        condition = cast(A, condition, torch.bool)
    ndim = max(ndim_of(condition, *(t for t in (a, b) if isinstance(t, Tensor))), 0)
    if isinstance(condition, Jet):
        jumps = condition.jumps
        condition = Jet(aligned(condition.c, ndim), None if jumps is None else aligned(jumps.unsqueeze(0), ndim)[0])
    if is_discrete(a, b) and not isinstance(a, float) and not isinstance(b, float):
        if isinstance(condition, Jet) or any_jet(a, b):
            return discrete(A, torch.where, condition, a, b)
    (a, b), dtype = promoted(A, a, b)
    a_c, b_c = (aligned(A.coefficients(t, dtype), ndim) for t in (a, b))
    if A.gradients and A.called in ("where", "masked_fill", "masked_fill_"):
        taken = value(condition)
        A.discarded += [~c.isfinite() & ~kept for c, kept in ((a_c, taken), (b_c, ~taken)) if c.requires_grad]
    return Jet(choose(A, condition, a_c, b_c, dtype))


@rule("masked_fill")
def _masked_fill(A: Arithmetic, a: Any, mask: Any, value: Any) -> Jet:
    if isinstance(value, Tensor):
        value = cast(A, value, a.dtype)
    return _where(A, mask, value if isinstance(value, Tensor) or not is_discrete(a) else int(value), a)


@rule("abs", "absolute")
def _abs(A: Arithmetic, a: Jet) -> Jet:
    if a.is_complex():
        parts = torch.view_as_real(a.c)
        re, im = Jet(parts[..., 0]), Jet(parts[..., 1])
        return root_of(A, sum_of(A, product_of(A, re, re), product_of(A, im, im)))
    if not a.is_floating_point():
        return discrete(A, torch.abs, a)
    y = _where(A, compare(A, torch.ge, a, 0), a, Jet(-a.c))
    return Jet(torch.cat([a.c[:1].abs(), y.c[1:]])).with_square(product(A, a.c, a.c))


@rule("special_i0e")
def _i0e(A: Arithmetic, a: Jet) -> Jet:
    return function_of(A, "special_i0e", _abs(A, a))


@rule("special_i1e")
def _i1e(A: Arithmetic, a: Jet) -> Jet:
    y = function_of(A, "special_i1e", _abs(A, a))
    return _where(A, compare(A, torch.ge, a, 0), y, Jet(-y.c))


@rule("sign", "sgn")
def _sign(A: Arithmetic, a: Jet) -> Jet:
    if a.is_complex():
        return quotient_of(A, a, cast(A, _abs(A, a), a.dtype))
    if not a.is_floating_point():
        return discrete(A, torch.sign, a)
    return Jet(A.unknown_from(torch.sign(a.c[:1]), _changes_sign(A, a)))


@rule("angle")
def _angle(A: Arithmetic, a: Jet) -> Jet:
    if a.is_complex():
        re, im = (Jet(part) for part in torch.view_as_real(a.c).unbind(-1))
        return _atan2(A, im, re)
    return Jet(A.unknown_from(torch.angle(a.c[:1]), _changes_sign(A, a)))


@rule("relu")
def _relu(A: Arithmetic, a: Jet) -> Jet:
    return _where(A, compare(A, torch.gt, a, 0), a, 0.0)


def _extreme(A: Arithmetic, larger: bool, a: Any, b: Any) -> Jet:
    """The larger or smaller one, entry by entry."""
    if is_discrete(a, b) and not isinstance(a, float) and not isinstance(b, float):
        device = A.orders.device
        f = torch.maximum if larger else torch.minimum
        return discrete(A, lambda p, q: f(torch.as_tensor(p, device=device), torch.as_tensor(q, device=device)), a, b)
    (a, b), _ = promoted(A, a, b)
    y = _where(A, compare(A, torch.ge if larger else torch.le, a, b), a, b)
    return _with_nan(A, y, a, b)


for _names, _larger in ((("maximum", "fmax", "clamp_min"), True), (("minimum", "fmin", "clamp_max"), False)):
    rule(*_names)(functools.partial(lambda A, a, b, larger: _extreme(A, larger, a, b), larger=_larger))


def _with_nan(A: Arithmetic, y: Jet, a: Any, b: Any) -> Jet:
    left, right = values(a, b)
    lost = torch.isnan(left) if isinstance(left, Tensor) else torch.zeros((), dtype=torch.bool)
    if isinstance(right, Tensor):
        lost = lost | torch.isnan(right)
    return Jet(torch.where(lost, math.nan, y.c))


@rule("clamp", "clip")
def _clamp(A: Arithmetic, a: Any, min: Any = None, max: Any = None) -> Any:
    if min is not None:
        a = _extreme(A, True, a, min) if any_jet(a, min) else torch.clamp(a, min=min)
    if max is not None:
        a = _extreme(A, False, a, max) if any_jet(a, max) else torch.clamp(a, max=max)
    return a


@rule("hardtanh")
def _hardtanh(A: Arithmetic, a: Jet, min_val: Any = -1.0, max_val: Any = 1.0) -> Jet:
    return _clamp(A, a, min_val, max_val)


@rule("fmod")
def _fmod(A: Arithmetic, a: Any, b: Any) -> Jet:
    """a - b trunc(a / b)."""
    return _modulo(A, a, b, torch.fmod, torch.trunc)


@rule("remainder")
def _remainder(A: Arithmetic, a: Any, b: Any) -> Jet:
    """a - b floor(a / b)."""
    return _modulo(A, a, b, torch.remainder, torch.floor)


def _modulo(A: Arithmetic, a: Any, b: Any, f: Callable[..., Tensor], whole: Callable[[Tensor], Tensor]) -> Jet:
    if is_discrete(a, b) and not isinstance(b, float):
        return discrete(A, f, a, b)
    (a, b), dtype = promoted(A, a, b)
    head = f(*values(a, b)).unsqueeze(0)
    quotient = quotient_of(A, a, b)
    number = torch.round(torch.div(*_minus(head, a, b)))
    meets = head[0] == 0
    if whole is torch.trunc:
        meets = meets & (values(a, b)[0] != 0)
    steps = Jet(A.unknown_from(number, moves(A, quotient.c, meets)))
    y = difference_of(A, a, product_of(A, b, steps))
    return Jet(torch.cat([head, y.c[1:]]))


def _minus(head: Tensor, a: Any, b: Any) -> tuple[Tensor, Any]:
    left, right = values(a, b)
    return left - head, right


@rule("copysign")
def _copysign(A: Arithmetic, a: Any, b: Any) -> Jet:
    (a, b), dtype = promoted(A, a, b)
    size = _abs(A, a) if isinstance(a, Jet) else abs(a)
    if not isinstance(b, Jet):
        sign = torch.where(torch.signbit(torch.as_tensor(b)), -1.0, 1.0)
        return product_of(A, size, sign.to(dtype))
    negative = _signbit(A, b)
    return _where(A, negative, product_of(A, size, -1.0) if isinstance(size, Jet) else -size, size)


@rule("nan_to_num")
def _nan_to_num(A: Arithmetic, a: Jet, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Jet:
    v = a.c[0]
    y = torch.nan_to_num(v, nan, posinf, neginf)
    if len(a.c) == 1:  # a constant
        return Jet(y.unsqueeze(0))
    c = torch.cat([y.unsqueeze(0), torch.where(v.isfinite(), a.c[1:], 0)])
    return Jet(A.unknown_from(c, strays(a.c)))
