"""Functions entry by entry: products by Leibniz, the rest by Faà di Bruno on the derivatives of `series`."""

import functools
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.jet import Arithmetic, Jet, Refused, aligned, rule
from riemann._arithmetic.series import CLOSED, FUNCTIONS, derivatives, polygamma

# ------------------------------------------------------------------------------------------- the two formulas


def product(A: Arithmetic, a: Tensor, b: Tensor, times: Callable[[Tensor, Tensor], Tensor] = torch.mul) -> Tensor:
    """Coefficients of a product of two jets, whose axes correspond; `times` is bilinear, with any axes in front."""
    O, p, q = A.orders, A.degree(a), A.degree(b)
    if p < q:
        return product(A, b, a, lambda s, t: times(t, s))
    whole = times(a, b[:1])
    if q == 0:
        return whole
    short = len(b)
    whole = torch.cat([whole[:1], whole[1:short] + times(a[:1], b[1:]), whole[short:]])
    blocks = [O.block(whole, k) for k in range(p + 1)]
    for k in range(2, min(O.order, p + q) + 1):
        cross = functools.reduce(
            torch.add,
            (
                times(O.block(a, i).index_select(0, I), O.block(b, j).index_select(0, J))
                for i, I, j, J in O.splits[k]
                if i <= p and j <= q
            ),
        )
        blocks[k:] = [blocks[k] + cross if k <= p else cross, *blocks[k + 1 :]]
    return torch.cat(blocks)


def composed(A: Arithmetic, terms: Sequence[Any], c: Tensor, singular: bool = False) -> Tensor:
    """Coefficients of f(a) from `[f, f', …]` at the value of a.

    With `singular`, derivatives may be infinite where f has a value: what is constant there stays a constant.
    """
    O, p = A.orders, A.degree(c)
    value = terms[0].unsqueeze(0)
    if p == 0 or O.order == 0:
        return value
    blocks = [value]
    for k in range(1, O.order + 1):
        found = terms[1] * O.block(c, k) if k <= p and not _is_zero(terms[1]) else None
        for r, partitions in O.partitions[k].items():
            if r >= len(terms) or _is_zero(terms[r]):
                continue
            products = [
                functools.reduce(torch.mul, (O.block(c, i).index_select(0, I) for i, I in blocks_of))
                for blocks_of in partitions
                if all(i <= p for i, _ in blocks_of)
            ]
            if products:
                term = terms[r] * functools.reduce(torch.add, products)
                found = term if found is None else found + term
        if found is None:
            found = c.new_zeros((O.counts[k] - O.counts[k - 1], *c.shape[1:]))
        blocks.append(found)
    slopes = [t for t in terms[1:] if isinstance(t, Tensor)]
    if singular and slopes:
        still = ~functools.reduce(torch.add, slopes).isfinite() & is_constant(c)
        blocks[1:] = [torch.where(still, 0, block) for block in blocks[1:]]
    return torch.cat(blocks)


def is_constant(c: Tensor) -> Tensor:
    """Where all derivatives are 0, `(points, *shape)`."""
    return (c[1:] == 0).all(0)


def _is_zero(term: Any) -> bool:
    return isinstance(term, numbers.Number) and term == 0


# ----------------------------------------------------------------------------------------------- arguments


def promoted(A: Arithmetic, *args: Any) -> tuple[list[Any], torch.dtype]:
    """Jets, tensors and numbers with the dtype that torch gives their result."""
    kinds = {a.dtype for a in args if isinstance(a, Tensor)}
    if len(kinds) == 1:
        dtype = next(iter(kinds))
        of_numbers = [a for a in args if not isinstance(a, Tensor)]
        if (dtype.is_floating_point and not any(isinstance(a, complex) for a in of_numbers)) or dtype.is_complex:
            return list(args), dtype
    from torch._prims_common import ELEMENTWISE_TYPE_PROMOTION_KIND, elementwise_dtypes

    _, dtype = elementwise_dtypes(*args, type_promotion_kind=ELEMENTWISE_TYPE_PROMOTION_KIND.DEFAULT)
    return [cast(A, a, dtype) for a in args], dtype


def cast(A: Arithmetic, a: Any, dtype: torch.dtype) -> Any:
    """A jet or tensor in another dtype; a mask or a whole number becomes a constant, NaN where it jumps."""
    if not isinstance(a, Tensor) or a.dtype == dtype:
        return a
    if not isinstance(a, Jet):
        return a.to(dtype)
    if a.c.is_complex() and not dtype.is_complex:
        raise Refused("drops an imaginary part; use `.real`")
    if dtype.is_floating_point or dtype.is_complex:
        return Jet(A.coefficients(a, dtype))
    if a.dtype.is_floating_point:
        v = a.c[0]
        jumps = (v == torch.round(v)) & (v != 0) if dtype != torch.bool else v == 0
        return Jet(v.to(dtype).unsqueeze(0), jumps & ~is_constant(a.c))
    jumps = a.jumps
    return Jet(a.c.to(dtype), jumps)


def _shaped(A: Arithmetic, a: Any, ndim: int) -> Any:
    """Coefficients of a jet whose shape broadcasts to `ndim` axes; tensors and numbers as they are."""
    return aligned(a.c, ndim) if isinstance(a, Jet) else a


def _ndim(*args: Any) -> int:
    return max(a.ndim for a in args if isinstance(a, Tensor))


def is_discrete(*args: Any) -> bool:
    """Whether no tensor among them is a floating-point number."""
    return not any(isinstance(a, Tensor) and (a.is_floating_point() or a.is_complex()) for a in args)


def value(a: Any) -> Any:
    return a.c[0] if isinstance(a, Jet) else a


def values(*args: Any) -> list[Any]:
    """Values at the points, whose shapes broadcast."""
    ndim = _ndim(*args)
    return [aligned(a.c, ndim)[0] if isinstance(a, Jet) else a for a in args]


def any_jumps(*args: Any) -> Tensor | None:
    """Where one of them jumps."""
    ndim = _ndim(*args)
    masks = [aligned(a.jumps.unsqueeze(0), ndim)[0] for a in args if isinstance(a, Jet) and a.jumps is not None]
    return functools.reduce(torch.logical_or, masks) if masks else None


def discrete(A: Arithmetic, f: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Jet:
    """A function, entry by entry, of masks and whole numbers."""
    y = f(*values(*args), **kwargs)
    jumps = any_jumps(*args)
    return Jet(y.unsqueeze(0), None if jumps is None else jumps.expand(y.shape))


# ------------------------------------------------------------------------------------------------ arithmetic


def sum_of(A: Arithmetic, a: Any, b: Any, alpha: Any = 1) -> Jet:
    """a + alpha b."""
    if is_discrete(a, b) and not isinstance(a, float) and not isinstance(b, float):
        return discrete(A, functools.partial(torch.add, alpha=alpha), a, b)
    (a, b), dtype = promoted(A, a, b)
    if not isinstance(alpha, numbers.Number) or alpha != 1:
        b = product_of(A, b, alpha) if isinstance(b, Jet) else b * alpha
    ndim = _ndim(a, b)
    return Jet(add(A, _shaped(A, a, ndim), _shaped(A, b, ndim), ndim))


def add(A: Arithmetic, a: Any, b: Any, ndim: int) -> Tensor:
    """The sum of coefficients `(count, points, …)` of `ndim` axes, or of coefficients and a constant."""
    a_is, b_is = (isinstance(t, Tensor) and t.ndim == ndim + 2 for t in (a, b))
    if a_is and b_is:
        if len(a) == len(b):
            return a + b
        a, b = (a, b) if len(a) > len(b) else (b, a)
        head = a[: len(b)] + b
        return torch.cat([head, a[len(b) :].expand(-1, -1, *head.shape[2:])])
    a, b = (a, b) if a_is else (b, a)
    head = a[:1] + b
    return head if len(a) == 1 else torch.cat([head, a[1:].expand(-1, -1, *head.shape[2:])])


def product_of(A: Arithmetic, a: Any, b: Any) -> Jet:
    """a b."""
    if is_discrete(a, b) and not isinstance(a, float) and not isinstance(b, float):
        return discrete(A, torch.mul, a, b)
    if a is b and isinstance(a, Jet) and (square := a.smooth_square) is not None:
        return Jet(square)
    (a, b), _ = promoted(A, a, b)
    ndim = _ndim(a, b)
    return Jet(times(A, *(_shaped(A, t, ndim) for t in (a, b)), ndim))


def times(A: Arithmetic, a: Any, b: Any, ndim: int) -> Tensor:
    if all(isinstance(t, Tensor) and t.ndim == ndim + 2 for t in (a, b)):
        return product(A, a, b)
    return a * b


def function_of(A: Arithmetic, name: str, a: Any, singular: bool = False) -> Jet:
    """A function of the table of `series`."""
    f, first = FUNCTIONS[name]
    if name in CLOSED and (a.is_floating_point() or a.is_complex()):
        order = A.orders.order if len(a.c) > 1 else 0
        return Jet(composed(A, CLOSED[name](a.c[0], order), a.c, singular))
    if not (a.is_floating_point() or a.is_complex()):
        a = cast(A, a, torch.get_default_dtype())
    order = A.orders.order if len(a.c) > 1 else 0
    return Jet(composed(A, derivatives(f, first, a.c[0], order), a.c, singular))


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


@rule("special_entr")
def _entr(A: Arithmetic, a: Jet) -> Jet:
    y = -_times_log(A, "log", a, a).c
    return Jet(torch.cat([torch.special.entr(a.c[:1]), y[1:]]))


rule("add")(sum_of)
rule("mul", "multiply")(product_of)


@rule("sub", "subtract")
def _sub(A: Arithmetic, a: Any, b: Any, alpha: Any = 1) -> Jet:
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
def _div(A: Arithmetic, a: Any, b: Any, rounding_mode: str | None = None) -> Jet:
    if rounding_mode is not None:
        if is_discrete(a, b):
            return discrete(A, functools.partial(torch.div, rounding_mode=rounding_mode), a, b)
        quotient = _div(A, a, b)
        return _piecewise_constant(A, quotient, torch.floor if rounding_mode == "floor" else torch.trunc)
    if is_discrete(a, b):
        return Jet(
            torch.div(*(A.coefficients(t, torch.get_default_dtype()) if isinstance(t, Jet) else t for t in (a, b)))
        )
    (a, b), dtype = promoted(A, a, b)
    if not isinstance(b, Jet):
        return Jet(_shaped(A, a, _ndim(a, b)) / b)
    y = product_of(A, a, _reciprocal(A, b))
    head = torch.div(*values(a, b)).unsqueeze(0)  # rounded once
    return Jet(head if len(y.c) == 1 else torch.cat([head, y.c[1:]]))


@rule("reciprocal")
def _reciprocal(A: Arithmetic, b: Any) -> Jet:
    """Degree by degree from y b = 1: with fewer operations and more digits than by the derivatives of 1 / v."""
    b = b if b.is_floating_point() or b.is_complex() else cast(A, b, torch.get_default_dtype())
    O, c = A.orders, b.c
    y = [torch.reciprocal(c[:1])]
    if len(c) == 1 or O.order == 0:
        return Jet(y[0])
    c = A.padded(c, O.counts[-1])
    for k in range(1, O.order + 1):
        terms = O.block(c, k) * y[0]
        for i, I, j, J in O.splits[k]:
            terms = terms + O.block(c, i).index_select(0, I) * y[j].index_select(0, J)
        y.append(-terms * y[0])
    still = ~y[0][0].isfinite() & is_constant(c)
    return Jet(torch.cat([y[0], *(torch.where(still, 0, block) for block in y[1:])]))


@rule("addcmul")
def _addcmul(A: Arithmetic, a: Any, b: Any, c: Any, *, value: Any = 1) -> Jet:
    return sum_of(A, a, product_of(A, b, c) if _any_jet(b, c) else b * c, value)


@rule("addcdiv")
def _addcdiv(A: Arithmetic, a: Any, b: Any, c: Any, *, value: Any = 1) -> Jet:
    return sum_of(A, a, _div(A, b, c) if _any_jet(b, c) else b / c, value)


def _any_jet(*args: Any) -> bool:
    return any(isinstance(a, Jet) for a in args)


@rule("lerp")
def _lerp(A: Arithmetic, a: Any, b: Any, weight: Any) -> Jet:
    step = _sub(A, b, a) if _any_jet(a, b) else b - a
    return sum_of(A, a, product_of(A, weight, step) if _any_jet(weight, step) else weight * step)


@rule("sqrt")
def _sqrt(A: Arithmetic, a: Jet) -> Jet:
    y = function_of(A, "sqrt", a, singular=True)
    return y.with_square(a.c if a.is_complex() else torch.where(a.c[0] < 0, math.nan, a.c))


@rule("softplus")
def _softplus(A: Arithmetic, a: Jet, beta: Any = 1, threshold: Any = 20) -> Jet:
    """Without the cut of torch at 20, where the function has none; another threshold is meant."""
    scaled = a if beta == 1 else product_of(A, a, beta)
    y = function_of(A, "softplus", scaled)
    y = y if beta == 1 else Jet(y.c / beta)
    return y if threshold == 20 else _where(A, compare(A, torch.gt, scaled, threshold), a, y)


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


# ---------------------------------------------------------------------------------------------------- powers


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
    return Jet(power(A, aligned(a.c, _ndim(a, p)), p))


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
    rest = torch.where(positive, above[1:], torch.where(is_constant(p_c), below[1:], math.nan))
    return Jet(torch.cat([torch.pow(a_c[:1], p_c[:1]), rest]))


def _one_like(c: Tensor) -> Tensor:
    """The coefficients of the constant 1."""
    return torch.cat([torch.ones_like(c[:1]), torch.zeros_like(c[1:])])


# ------------------------------------------------------------------------------------ of two variables


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
    angle = function_of(A, "atan", _div(A, Jet(p), Jet(q)), singular=True).c
    value = torch.atan2(y_c[0], x_c[0]).unsqueeze(0)
    found = torch.cat([value, angle[1:]])
    cut = (y_c[0] == 0) & (x_c[0] < 0) & ~is_constant(y_c)
    return Jet(A.unknown_from(found, cut)) if len(found) > 1 else Jet(found)


@rule("hypot")
def _hypot(A: Arithmetic, a: Any, b: Any) -> Jet:
    def square(t: Any) -> Any:
        return product_of(A, t, t) if isinstance(t, Jet) else t * t

    y = _sqrt(A, sum_of(A, square(a), square(b)))
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
    still = zero & is_constant(aligned(a.c, y.ndim - 2)) if isinstance(a, Jet) else zero
    return Jet(torch.cat([head, torch.where(still, 0, y[1:])]))


rule("xlogy")(functools.partial(lambda A, a, b: _times_log(A, "log", a, b)))
rule("special_xlog1py")(functools.partial(lambda A, a, b: _times_log(A, "log1p", a, b)))


@rule("logaddexp")
def _logaddexp(A: Arithmetic, a: Any, b: Any) -> Jet:
    """b + softplus(a - b)."""
    return sum_of(A, b, _softplus(A, _sub(A, a, b)))


@rule("logaddexp2")
def _logaddexp2(A: Arithmetic, a: Any, b: Any) -> Jet:
    scaled = product_of(A, _sub(A, a, b), math.log(2))
    return sum_of(A, b, product_of(A, _softplus(A, scaled), 1 / math.log(2)))


# --------------------------------------------------------------------------- kinks, jumps and choices


def _piecewise_constant(A: Arithmetic, a: Jet, f: Callable[[Tensor], Tensor]) -> Jet:
    """floor and its like: jumps at whole numbers."""
    if not a.is_floating_point():
        return a
    v = a.c[0]
    y = f(v)
    jumps = (v == torch.round(v)) & ~is_constant(a.c)
    if f is torch.trunc:
        jumps = jumps & (v != 0)
    return Jet(A.unknown_from(y.unsqueeze(0), jumps)) if len(a.c) > 1 else Jet(y.unsqueeze(0))


for _name in ("floor", "ceil", "trunc", "fix"):
    rule(_name)(functools.partial(lambda A, a, f: _piecewise_constant(A, a, f), f=getattr(torch, _name)))


@rule("round")
def _round(A: Arithmetic, a: Jet, *, decimals: int = 0) -> Jet:
    if not a.is_floating_point():
        return a
    v = a.c[0] * 10.0**decimals + 0.5
    y = torch.round(a.c[0], decimals=decimals).unsqueeze(0)
    return Jet(A.unknown_from(y, (v == torch.round(v)) & ~is_constant(a.c))) if len(a.c) > 1 else Jet(y)


@rule("frac")
def _frac(A: Arithmetic, a: Jet) -> Jet:
    return _sub(A, a, _piecewise_constant(A, a, torch.trunc))


def compare(A: Arithmetic, f: Callable[[Tensor, Tensor], Tensor], a: Any, b: Any) -> Jet:
    """A comparison, which jumps where both sides meet and do not stay together."""
    if is_discrete(a, b):
        return discrete(A, f, a, b)
    (a, b), _ = promoted(A, a, b)
    left, right = values(a, b)
    y = f(left, right)
    jumps = (left == right) & ~is_constant(_sub(A, a, b).c)
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


for _name in ("isnan", "isinf", "isfinite", "isposinf", "isneginf"):
    rule(_name)(functools.partial(lambda A, a, f: Jet(f(a.c[0]).unsqueeze(0)), f=getattr(torch, _name)))


@rule("signbit")
def _signbit(A: Arithmetic, a: Jet) -> Jet:
    return Jet(torch.signbit(a.c[:1]), (a.c[0] == 0) & ~is_constant(a.c))


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
    close = 64 * torch.finfo(y.dtype).eps
    count = A.orders.counts[-1]
    y, a, b = A.padded(y, count), A.padded(a, count), A.padded(b, count)
    size = a.abs() + b.abs()
    differ = ~((a - b).abs() <= close * size)
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
    ndim = max(_ndim(condition, *(t for t in (a, b) if isinstance(t, Tensor))), 0)
    if isinstance(condition, Jet):
        jumps = condition.jumps
        condition = Jet(aligned(condition.c, ndim), None if jumps is None else aligned(jumps.unsqueeze(0), ndim)[0])
    if is_discrete(a, b) and not isinstance(a, float) and not isinstance(b, float):
        if isinstance(condition, Jet) or _any_jet(a, b):
            return discrete(A, torch.where, condition, a, b)
    (a, b), dtype = promoted(A, a, b)
    a_c, b_c = (aligned(A.coefficients(t, dtype), ndim) for t in (a, b))
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
        return _sqrt(A, sum_of(A, product_of(A, re, re), product_of(A, im, im)))
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
        return _div(A, a, cast(A, _abs(A, a), a.dtype))
    if not a.is_floating_point():
        return discrete(A, torch.sign, a)
    y = torch.sign(a.c[:1])
    return Jet(A.unknown_from(y, (a.c[0] == 0) & ~is_constant(a.c))) if len(a.c) > 1 else Jet(y)


@rule("angle")
def _angle(A: Arithmetic, a: Jet) -> Jet:
    if a.is_complex():
        re, im = (Jet(part) for part in torch.view_as_real(a.c).unbind(-1))
        return _atan2(A, im, re)
    y = torch.angle(a.c[:1])
    return Jet(A.unknown_from(y, (a.c[0] == 0) & ~is_constant(a.c))) if len(a.c) > 1 else Jet(y)


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
        a = _extreme(A, True, a, min) if _any_jet(a, min) else torch.clamp(a, min=min)
    if max is not None:
        a = _extreme(A, False, a, max) if _any_jet(a, max) else torch.clamp(a, max=max)
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
    quotient = _div(A, a, b)
    number = torch.round(torch.div(*_minus(head, a, b)))
    jumps = (head[0] == 0) & ~is_constant(quotient.c)
    if whole is torch.trunc:
        jumps = jumps & (values(a, b)[0] != 0)
    steps = Jet(A.unknown_from(number, jumps)) if len(quotient.c) > 1 else Jet(number)
    y = _sub(A, a, product_of(A, b, steps))
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
    finite = v.isfinite()
    return Jet(torch.cat([y.unsqueeze(0), torch.where(finite, a.c[1:], 0)]))
