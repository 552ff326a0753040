"""Derivatives of functions of one number: each by its first derivative, the higher ones by power series arithmetic."""

import functools
import math
import numbers
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic import special_functions

Operand = Any


class Series:
    """A function of one number s: its value and derivatives $y, y', y'', …$ as tensors, or numbers for constants."""

    def __init__(self, terms: list[Any]):
        self.terms = terms

    def _of(self, other: Operand) -> "Series":
        return other if isinstance(other, Series) else Series([other] + [0] * (len(self.terms) - 1))

    def __add__(self, other: Operand) -> "Series":
        return Series(list(map(_plus, self.terms, self._of(other).terms)))

    __radd__ = __add__

    def __neg__(self) -> "Series":
        return Series([_times(-1, t) for t in self.terms])

    def __sub__(self, other: Operand) -> "Series":
        return self + -self._of(other)

    def __rsub__(self, other: Operand) -> "Series":
        return self._of(other) - self

    def __mul__(self, other: Operand) -> "Series":
        a, b = self.terms, self._of(other).terms
        return Series(
            [
                functools.reduce(_plus, (_times(math.comb(k, p), _times(a[p], b[k - p])) for p in range(k + 1)))
                for k in range(len(a))
            ]
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> "Series":
        return self * (call("reciprocal", other) if isinstance(other, Series) else 1 / other)

    def __rtruediv__(self, other: Operand) -> "Series":
        return other * call("reciprocal", self)


def _plus(a: Any, b: Any) -> Any:
    """Their sum, where Python's 0 is nothing."""
    return b if _is(a, 0) else a if _is(b, 0) else a + b


def _times(a: Any, b: Any) -> Any:
    if _is(a, 0) or _is(b, 0):
        return 0
    return b if _is(a, 1) else a if _is(b, 1) else a * b


def _is(a: Any, number: int) -> bool:
    return isinstance(a, numbers.Number) and a == number


First = Callable[[Any, Any], Any]
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], First]] = {}
"""Value and first derivative: `f(v)` of tensors, and `f'(v, y)` of series or tensors with `y = f(v)`."""


def call(name: str, v: Any) -> Any:
    """A function of the table, of a tensor, a number or a series."""
    f, first = FUNCTIONS[name]
    if not isinstance(v, Series):
        return f(v)
    terms = derivatives(f, first, v.terms[0], len(v.terms) - 1)
    return Series(composed(terms, v.terms))


def derivatives(f: Callable[[Tensor], Tensor], first: First, v: Tensor, order: int) -> list[Any]:
    """`[f(v), f'(v), …]` to an order."""
    terms: list[Any] = [f(v)]
    for k in range(order):  # the derivative of degree k of f' needs f to degree k
        if k == 0:
            terms.append(first(v, terms[0]))
        else:
            slope = first(Series([v, 1] + [0] * (k - 1)), Series(terms[: k + 1]))
            terms.append(slope.terms[k] if isinstance(slope, Series) else 0)
    return terms


def composed(terms: list[Any], inner: list[Any]) -> list[Any]:
    """Derivatives of f(a(s)) from those of f at a(0) and of a: Faà di Bruno, by Bell's recursion."""
    order = len(inner) - 1

    @functools.cache
    def bell(k: int, r: int) -> Any:
        if r == 0:
            return 1 if k == 0 else 0
        total: Any = 0
        for i in range(1, k - r + 2):
            total = _plus(total, _times(math.comb(k - 1, i - 1), _times(inner[i], bell(k - i, r - 1))))
        return total

    found = [terms[0]]
    for k in range(1, order + 1):
        found.append(functools.reduce(_plus, (_times(terms[r], bell(k, r)) for r in range(1, k + 1)), 0))
    return found


def function(name: str, f: Callable[[Tensor], Tensor], first: First, own: bool = False) -> None:
    """Adds to the table; `own` where torch has no derivatives of f, or loses digits in them."""
    FUNCTIONS[name] = (lambda v: _Own.apply(v, f, first)) if own else f, first


class _Own(torch.autograd.Function):
    """A function of one number whose gradient is that of the table."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, f: Callable[[Tensor], Tensor], first: First) -> Tensor:
        return f(v)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)
        ctx.first = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.first(*ctx.saved_tensors), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return tangent * ctx.first(*ctx.saved_tensors)


function("exp", torch.exp, lambda v, y: y)
function("log", torch.log, lambda v, y: call("reciprocal", v))
function("reciprocal", torch.reciprocal, lambda v, y: -(y * y))
function("sin", torch.sin, lambda v, y: call("cos", v))
function("cos", torch.cos, lambda v, y: -call("sin", v))
function("tan", torch.tan, lambda v, y: 1 + y * y)
function("sinh", torch.sinh, lambda v, y: call("cosh", v))
function("cosh", torch.cosh, lambda v, y: call("sinh", v))
function("tanh", torch.tanh, lambda v, y: 1 - y * y)
function("sigmoid", torch.sigmoid, lambda v, y: y * call("sigmoid", -v))
function("sqrt", torch.sqrt, lambda v, y: 0.5 * call("reciprocal", y))
function("rsqrt", torch.rsqrt, lambda v, y: -0.5 * (y * call("reciprocal", v)))
function("asin", torch.asin, lambda v, y: call("rsqrt", (1 - v) * (1 + v)))
function("acos", torch.acos, lambda v, y: -call("rsqrt", (1 - v) * (1 + v)))
function("atan", torch.atan, lambda v, y: call("reciprocal", 1 + v * v))
function("asinh", torch.asinh, lambda v, y: call("rsqrt", 1 + v * v))
function("acosh", torch.acosh, lambda v, y: call("rsqrt", (v - 1)) * call("rsqrt", v + 1))
function("atanh", torch.atanh, lambda v, y: call("reciprocal", (1 - v) * (1 + v)))
function("exp2", torch.exp2, lambda v, y: math.log(2) * y)
function("expm1", torch.expm1, lambda v, y: call("exp", v))
function("log1p", torch.log1p, lambda v, y: call("reciprocal", 1 + v))
function("log2", torch.log2, lambda v, y: (1 / math.log(2)) * call("reciprocal", v))
function("log10", torch.log10, lambda v, y: (1 / math.log(10)) * call("reciprocal", v))
function("erf", torch.erf, lambda v, y: (2 / math.sqrt(math.pi)) * call("exp", -(v * v)))
function("erfc", torch.erfc, lambda v, y: (-2 / math.sqrt(math.pi)) * call("exp", -(v * v)))
function("erfinv", torch.erfinv, lambda v, y: (math.sqrt(math.pi) / 2) * call("exp", y * y))
function(
    "softplus",
    lambda v: torch.clamp_min(v, 0) + torch.log1p(torch.exp(-torch.abs(v))),
    lambda v, y: call("sigmoid", v),
)
function("special_ndtr", torch.special.ndtr, lambda v, y: (1 / math.sqrt(2 * math.pi)) * call("exp", -0.5 * (v * v)))
function("special_ndtri", torch.special.ndtri, lambda v, y: math.sqrt(2 * math.pi) * call("exp", 0.5 * (y * y)))


# ------------------------------------------------------------------------------------- Bessel functions and the like


def _power_series(s: Any, coefficients: list[float]) -> Any:
    """A polynomial, nested."""
    return functools.reduce(lambda y, c: y * s + c, coefficients[-2::-1], coefficients[-1])


def _near_zero(coefficients: list[float], radius: float) -> Callable[[Callable[..., Any]], First]:
    """A function of v that is a power series in v^2 for |v| < radius and is written otherwise elsewhere."""

    def decorated(away: Callable[..., Any]) -> First:
        def f(v: Any, *args: Any) -> Any:
            near = (v.terms[0] if isinstance(v, Series) else v).abs() < radius
            inside, outside = _chosen(near, v, 0.0), _chosen(~near, v, 2 * radius)
            return _joined(near, _power_series(inside * inside, coefficients), away(outside, *args))

        return f

    return decorated


def _chosen(where: Tensor, v: Any, other: float) -> Any:
    """v, and another number where it is not to be looked at."""
    if not isinstance(v, Series):
        return torch.where(where, v, other)
    return Series([torch.where(where, v.terms[0], other), *v.terms[1:]])


def _joined(where: Tensor, a: Any, b: Any) -> Any:
    if not isinstance(a, Series) and not isinstance(b, Series):
        return torch.where(where, a, b)
    order = len((a if isinstance(a, Series) else b).terms)
    a, b = (t if isinstance(t, Series) else Series([t] + [0] * (order - 1)) for t in (a, b))
    return Series([torch.where(where, p, q) for p, q in zip(a.terms, b.terms, strict=True)])


_ERFCX = [  # of -erfcx'(v) in powers of 1 / v^2, times v^2: an asymptotic series
    (-1) ** k * math.prod(range(1, 2 * k, 2)) * (2 * k + 1) / (2**k * math.sqrt(math.pi)) for k in range(22)
]
_FAR = 6.5


def _erfcx_slope(v: Any, y: Any) -> Any:
    """2 v y - 2 / sqrt(pi), which cancels far out."""
    near = (v.terms[0] if isinstance(v, Series) else v) < _FAR
    inside, over = _chosen(near, v, 0.0), call("reciprocal", _chosen(~near, v, 2 * _FAR))
    square = over * over
    return _joined(near, 2 * (inside * y) - 2 / math.sqrt(math.pi), -(square * _power_series(square, _ERFCX)))


def _log_ndtr_slope(v: Any, y: Any) -> Any:
    """By Mills' ratio, where the density over the distribution would be a difference of large numbers."""
    left = (v.terms[0] if isinstance(v, Series) else v) < 1
    below, above, log = _chosen(left, v, 0.0), _chosen(~left, v, 1.0), _chosen(~left, y, 0.0)
    mills = math.sqrt(2 / math.pi) * call("reciprocal", call("special_erfcx", -math.sqrt(0.5) * below))
    return _joined(left, mills, (1 / math.sqrt(2 * math.pi)) * call("exp", -0.5 * (above * above) - log))


function("special_erfcx", torch.special.erfcx, _erfcx_slope)
function("special_log_ndtr", torch.special.log_ndtr, _log_ndtr_slope)


def _bessel_series(sign: int) -> list[float]:
    """Of J_1(v) / v or I_1(v) / v in powers of v^2."""
    return [sign**k / (2 ** (2 * k + 1) * math.factorial(k) * math.factorial(k + 1)) for k in range(16)]


special = torch.special
_j1_over = _near_zero(_bessel_series(-1), 2.0)(lambda v: call("special_bessel_j1", v) * call("reciprocal", v))
_i1_over = _near_zero(_bessel_series(1), 2.0)(lambda v: call("special_i1", v) * call("reciprocal", v))
_sin_slope = _near_zero([(-1) ** (k + 1) * (2 * k + 2) / math.factorial(2 * k + 3) for k in range(14)], 1.5)(
    lambda v: (call("cos", v) - call("sin", v) * call("reciprocal", v)) * call("reciprocal", v * v)
)  # of sin(v) / v, over v

function(
    "special_bessel_j0",
    functools.partial(special_functions.bessel, "j", 0),
    lambda v, y: -call("special_bessel_j1", v),
    own=True,
)
function(
    "special_bessel_j1",
    functools.partial(special_functions.bessel, "j", 1),
    lambda v, y: call("special_bessel_j0", v) - _j1_over(v),
    own=True,
)
function(
    "special_bessel_y0",
    functools.partial(special_functions.bessel, "y", 0),
    lambda v, y: -call("special_bessel_y1", v),
    own=True,
)
function(
    "special_bessel_y1",
    functools.partial(special_functions.bessel, "y", 1),
    lambda v, y: call("special_bessel_y0", v) - y * call("reciprocal", v),
    own=True,
)
for _i0, _i1 in (("i0", "special_i1"), ("special_modified_bessel_i0", "special_modified_bessel_i1")):
    _f0 = special.i0 if _i0 == "i0" else special.modified_bessel_i0
    _f1 = special.i1 if _i0 == "i0" else special.modified_bessel_i1
    function(_i0, _f0, lambda v, y, i1=_i1: call(i1, v), own=True)
    function(_i1, _f1, lambda v, y, i0=_i0: call(i0, v) - _i1_over(v), own=True)
function(
    "special_modified_bessel_k0",
    special.modified_bessel_k0,
    lambda v, y: -call("special_modified_bessel_k1", v),
    own=True,
)
function(
    "special_modified_bessel_k1",
    special.modified_bessel_k1,
    lambda v, y: -call("special_modified_bessel_k0", v) - y * call("reciprocal", v),
    own=True,
)
function(
    "special_scaled_modified_bessel_k0",
    special.scaled_modified_bessel_k0,
    lambda v, y: y - call("special_scaled_modified_bessel_k1", v),
    own=True,
)
function(
    "special_scaled_modified_bessel_k1",
    special.scaled_modified_bessel_k1,
    lambda v, y: y - call("special_scaled_modified_bessel_k0", v) - y * call("reciprocal", v),
    own=True,
)
function("special_spherical_bessel_j0", special.spherical_bessel_j0, lambda v, y: v * _sin_slope(v), own=True)

_i1e_over = _near_zero(_bessel_series(1), 2.0)(
    lambda v: call("special_i1e", v) * call("exp", v) * call("reciprocal", v)
)  # e^v times it, so that it is even
function(  # of v >= 0: both have a kink at 0
    "special_i0e", special.i0e, lambda v, y: call("special_i1e", v) - y, own=True
)
function(
    "special_i1e",
    special.i1e,
    lambda v, y: call("special_i0e", v) - y - _i1e_over(v) * call("exp", -v),
    own=True,
)


def _polygamma(n: int) -> str:
    """The name of a polygamma function in the table."""
    name = "digamma" if n == 0 else f"polygamma {n}"
    if name not in FUNCTIONS:
        function(
            name, functools.partial(special_functions.polygamma, n), lambda v, y: call(_polygamma(n + 1), v), own=True
        )
    return name


polygamma = _polygamma
function("lgamma", special_functions.lgamma, lambda v, y: call(_polygamma(0), v), own=True)
function("digamma", functools.partial(special_functions.polygamma, 0), lambda v, y: call(_polygamma(1), v), own=True)
