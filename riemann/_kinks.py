"""Where functions have no derivative: there it is NaN, and not the wrong number that torch returns.

Elementwise functions are in `KINKS`, by the distances that vanish at their kinks; what selects among its entries (max,
sort, median, pooling) marks entries that tie; norms remember their squares, which are smooth.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

REWRITES: dict[str, Callable[..., Any]] = {}
"""Replacements with the same values and right derivatives of every order, by the name of the torch function."""


def rewrites(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(replacement: Callable[..., Any]) -> Callable[..., Any]:
        REWRITES.update(dict.fromkeys(names, replacement))
        return replacement

    return register


def number(value: int | float, x: Tensor) -> Tensor:
    """A number as a tensor like `x`: a Python number would make the tangents of a 0-dim tensor float64."""
    return torch.scalar_tensor(value, dtype=x.dtype, device=x.device)


def kink(y: Tensor, at: Tensor | None = None, order: int = 1) -> Tensor:
    """0, whose derivatives from `order` on are NaN where `at` holds (by default where y is 0) and y varies.

    The slope of the two terms overflows, so that their difference is NaN, unless the tangent is exactly 0: what is
    constant at a kink, as the zeros beside a diagonal, stays a constant.
    """
    steep = number(torch.finfo(y.dtype).max, y)
    change = y if at is None else y - y.detach()
    s = torch.where(y == 0 if at is None else at, change, torch.zeros_like(y))
    s = s**order * (torch.ones_like(s) + s + s * s)
    nothing = torch.abs(s) - torch.abs(s)  # for traces, whose numbers do not overflow
    return s * steep * steep - s * steep * steep + nothing


def root(r: Tensor, square: Tensor) -> Tensor:
    """`r`, remembering its smooth square: `norm(x) ** 2` has derivatives at 0, `norm(x)` has none."""
    r.riemann_square = square  # type: ignore[attr-defined]
    return r


def square_of(x: Any) -> Tensor | None:
    """The smooth square of `x`, if `x` was made by `root`."""
    return getattr(x, "riemann_square", None)


def tied(mask: Tensor, x: Any, y: Any) -> Tensor:
    """A comparison of x and y, remembering where they meet: there, what is chosen by it has a kink."""
    x, y = (a if isinstance(a, Tensor) else number(a, b) for a, b in ((x, y), (y, x)))
    if x.is_floating_point() and y.is_floating_point():
        mask.riemann_tie = kink(x - y)  # type: ignore[attr-defined]
    return mask


def tie_of(x: Any) -> Tensor | None:
    """Where the sides of the comparison meet that `x` was made of."""
    return getattr(x, "riemann_tie", None)


def with_ties(result: Any, arguments: Sequence[Any]) -> Any:
    """The result of a call that was given comparisons: another comparison, or a value that has their kinks."""
    if not isinstance(result, Tensor):
        return result
    for tie in map(tie_of, arguments):
        if tie is None:
            continue
        if not result.is_floating_point():
            known = tie_of(result)
            result.riemann_tie = tie if known is None else known + tie  # type: ignore[attr-defined]
            continue
        try:
            result = result + tie.expand_as(result).to(result.dtype)
        except RuntimeError:  # another shape: the tie may be anywhere
            result = result + tie.sum().to(result.dtype)
    return result


# ------------------------------------------------------------------------------------------ elementwise functions


def _bounds(x: Tensor, min: Any = None, max: Any = None) -> list[Tensor]:
    bounds = [bound for bound in (min, max) if bound is not None]
    return [x - (bound if isinstance(bound, Tensor) else number(bound, x)) for bound in bounds]


def _to_integer(x: Tensor, *_: Any, **__: Any) -> list[Tensor]:
    return [x - torch.round(x)]


def _first(x: Tensor, *_: Any, **__: Any) -> list[Tensor]:
    return [x]


KINKS: dict[str, Callable[..., list[Tensor]]] = {
    **dict.fromkeys(("sign", "sgn", "relu", "leaky_relu", "prelu", "elu", "celu", "selu", "rrelu"), _first),
    **dict.fromkeys(("i0", "special_i0", "special_i0e", "special_i1", "special_i1e"), _first),
    "angle": _first,
    **dict.fromkeys(("floor", "ceil", "trunc", "fix", "frac"), _to_integer),
    "round": lambda x, *, decimals=0: _to_integer(x * number(10.0**decimals, x) + number(0.5, x)),
    "fmod": lambda x, y: [torch.fmod(x, y)],
    "remainder": lambda x, y: [torch.remainder(x, y)],
    "copysign": lambda x, y: [x, y] if isinstance(y, Tensor) else [x],
    **dict.fromkeys(("clamp", "clip"), _bounds),
    "clamp_min": lambda x, min: _bounds(x, min),
    "clamp_max": lambda x, max: _bounds(x, max),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0: _bounds(x, min_val, max_val),
    "relu6": lambda x: _bounds(x, 0, 6),
    "hardswish": lambda x: _bounds(x, -3, 3),
    **dict.fromkeys(("hardshrink", "softshrink"), lambda x, lambd=0.5: _bounds(x, -lambd, lambd)),
    "threshold": lambda x, threshold, value: [x - threshold],
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), lambda x, other: [x - other]),
}
_FIRST_WRONG: dict[str, Callable[..., int]] = {  # the order of the first derivative that is not there, if not 1
    "celu": lambda *_: 2,
    "elu": lambda x, alpha=1.0, scale=1.0, input_scale=1.0: 2 if alpha * input_scale == 1 else 1,
    **dict.fromkeys(("i0", "special_i0"), lambda *_: 4),  # smooth, but torch takes i1'(x) at 0 for a constant
    "special_i1": lambda *_: 3,
}

PIECEWISE_LINEAR = frozenset(
    (
        "relu",
        "leaky_relu",
        "prelu",
        "hardtanh",
        "relu6",
        "hardshrink",
        "softshrink",
        "threshold",
        "rrelu",
        "hardsigmoid",
    )
)


def kinked(name: str, func: Callable[..., Tensor], args: tuple, kwargs: dict) -> Tensor:
    """A function of the table `KINKS` with its kinks marked."""
    y = func(*args, **kwargs)
    order = _FIRST_WRONG[name](*args, **kwargs) if name in _FIRST_WRONG else 1
    for distance in KINKS[name](*args, **kwargs):
        y = y + kink(distance, order=order)
    return y


@rewrites("abs", "absolute")
def _abs(x: Tensor) -> Tensor:
    if x.is_complex():
        squares = torch.view_as_real(x).square().sum(-1)
        return root(torch.sqrt(squares), squares)
    return root(torch.abs(x) + kink(x), x * x)


@rewrites("sqrt")
def _sqrt(x: Tensor) -> Tensor:
    square = x.clone() if x.is_complex() else torch.where(x < 0, math.nan, x)  # x may be written into later
    return root(torch.sqrt(x), square)


@rewrites("hypot")
def _hypot(x: Tensor, other: Tensor) -> Tensor:
    return root(torch.hypot(x, other), x * x + other * other)


@rewrites("pow", "float_power")
def _pow(x: Any, exponent: Any) -> Tensor:
    """At exponent 0 torch drops the mixed derivatives of x^y: it takes y for a constant there."""
    if not (
        isinstance(x, Tensor) and isinstance(exponent, Tensor) and exponent.is_floating_point() and not x.is_complex()
    ):
        return torch.pow(x, exponent)
    positive = x > 0
    one = torch.ones_like(x)
    y = torch.exp(exponent * torch.log(torch.where(positive, x, one)))
    y = torch.where(positive, y, torch.pow(torch.where(positive, one, x), exponent))
    return y + kink(exponent, x == 0)


@rewrites("sinc", "special_sinc")
def _sinc(x: Tensor) -> Tensor:
    y = number(math.pi, x) * x
    near = y.abs() < 1
    s = torch.where(near, y, torch.zeros_like(y)) ** 2
    series = torch.ones_like(s)
    for k in range(20, 0, -1):  # sum of (-s)^k / (2k+1)!, nested; 40 digits, for traces
        series = 1 - series * s / (2 * k * (2 * k + 1))
    away = torch.where(near, torch.ones_like(y), y)
    return torch.where(near, series, torch.sin(away) / away)


# ------------------------------------------------------------------------------------------------- selections


def _extreme(pick: Callable[..., Tensor], x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The greatest or least entry, by `pick`; a tie has no derivative."""
    dims = tuple(range(x.ndim)) if dim is None or dim == () else dim
    value = pick(x, dim=dims, keepdim=True)
    value = value + kink(x - value).sum(dims, keepdim=True) if x.ndim else value
    return value if keepdim else value.squeeze(dims)


@rewrites("amax")
def _amax(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _extreme(torch.amax, x, dim, keepdim)


@rewrites("amin")
def _amin(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _extreme(torch.amin, x, dim, keepdim)


@rewrites("aminmax")
def _aminmax(x: Tensor, *, dim: Any = None, keepdim: bool = False) -> Any:
    return torch.return_types.aminmax((_amin(x, dim, keepdim), _amax(x, dim, keepdim)))  # type: ignore[call-arg]


@rewrites("max")
def _max(x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return kinked("maximum", torch.maximum, (x, other), {})
    if dim is None:
        return _amax(x)
    return torch.return_types.max((_amax(x, dim, keepdim), torch.argmax(x, dim, keepdim)))  # type: ignore[call-arg]


@rewrites("min")
def _min(x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return kinked("minimum", torch.minimum, (x, other), {})
    if dim is None:
        return _amin(x)
    return torch.return_types.min((_amin(x, dim, keepdim), torch.argmin(x, dim, keepdim)))  # type: ignore[call-arg]


def _marked(x: Tensor, dim: int) -> Tensor:
    """`x` without derivatives where entries along `dim` are equal: which of them is selected is not defined."""
    if x.ndim == 0 or x.shape[dim] < 2 or not x.is_floating_point():
        return x
    values, order = torch.sort(x, dim=dim)
    steps = torch.diff(values, dim=dim)
    edge = torch.zeros_like(values.narrow(dim, 0, 1))
    ties = torch.cat((kink(steps), edge), dim) + torch.cat((edge, kink(steps)), dim)
    group = torch.cat((edge, steps != 0), dim).cumsum(dim).to(torch.long)  # what is tied is marked as one
    ties = torch.zeros_like(ties).scatter_add(dim, group, ties).gather(dim, group)
    return x + ties.gather(dim, order.argsort(dim))


def _selects_along(last: int | None, *names: str, flat: bool = False) -> None:
    """Registers functions `f(x, …, dim, …)` that select entries along `dim`, an argument in place `last`."""
    for name in names:
        plain = getattr(torch, name)

        def select(x: Tensor, *args: Any, plain: Any = plain, **kwargs: Any) -> Any:
            dim = kwargs.get("dim", args[last] if last is not None and len(args) > last else None)
            if dim is None and flat:
                return plain(_marked(x.reshape(-1), 0).reshape(x.shape), *args, **kwargs)
            return plain(_marked(x, -1 if dim is None else dim), *args, **kwargs)

        REWRITES[name] = select


_selects_along(0, "sort", "mode", "cummax", "cummin")
_selects_along(0, "median", "nanmedian", flat=True)
_selects_along(1, "topk", "kthvalue")
_selects_along(1, "quantile", "nanquantile", flat=True)


@rewrites("msort")
def _msort(x: Tensor) -> Tensor:
    return torch.msort(_marked(x, 0))


def _pools(dims: int, *functions: Callable[..., Any]) -> None:
    for function in functions:

        def pool(x: Tensor, *args: Any, function: Any = function, **kwargs: Any) -> Any:
            return function(_marked(x.flatten(-dims), -1).reshape(x.shape), *args, **kwargs)

        REWRITES[function.__name__] = pool


_pools(1, torch.max_pool1d, torch.max_pool1d_with_indices, torch.adaptive_max_pool1d)
_pools(2, torch.max_pool2d, torch._C._nn.max_pool2d_with_indices, torch._C._nn.adaptive_max_pool2d)
_pools(3, torch._C._nn.adaptive_max_pool3d)


# ------------------------------------------------------------------------------------------------------- norms


def vector_norm(x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    p = 2.0 if p is None else float(p)
    dims = tuple(range(x.ndim)) if dim is None or dim == () else dim
    if x.is_complex():
        x = _abs(x)

    def total(y: Tensor) -> Tensor:
        return y.sum(dims, keepdim=keepdim) if x.ndim else y

    if p == 2:
        square = total(x * x)
        return root(torch.sqrt(square), square)
    if p == math.inf:
        return _extreme(torch.amax, _abs(x), dims, keepdim)
    if p == -math.inf:
        return _extreme(torch.amin, _abs(x), dims, keepdim)
    if p == 1:
        return total(_abs(x))
    if p == 0:
        return total((x != 0).to(x.dtype)) + total(kink(x))
    powers = x**p if p % 2 == 0 else _abs(x) ** p
    return total(powers) ** (1 / p)


@rewrites("linalg_vector_norm")
def _linalg_vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    return vector_norm(x, ord, dim, keepdim, dtype)


@rewrites("linalg_matrix_norm")
def _matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    A = A if dtype is None else A.to(dtype)
    rows, columns = (d % A.ndim for d in dim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord in (1, -1, math.inf, -math.inf):
        over, then = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = vector_norm(A, 1, over, keepdim=True)
        norm = _extreme(torch.amax if ord > 0 else torch.amin, sums, then, keepdim=True)
    else:
        sigma = REWRITES["linalg_svdvals"](A.movedim((rows, columns), (-2, -1)))
        pick = {"nuc": torch.sum, 2: torch.amax, -2: torch.amin}[ord]
        norm = pick(sigma, dim=-1).unsqueeze(min(rows, columns)).unsqueeze(max(rows, columns))
    return norm if keepdim else norm.squeeze((rows, columns))


@rewrites("linalg_norm")
def _linalg_norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    of_matrix = A.ndim == 2 if dim is None else isinstance(dim, Sequence) and len(dim) == 2
    if ord is not None and (of_matrix or isinstance(ord, str)):
        return _matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype)


@rewrites("norm")
def _norm(x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    return vector_norm(x, p, dim, keepdim, dtype)


@rewrites("dist")
def _dist(x: Tensor, other: Tensor, p: Any = 2) -> Tensor:
    return vector_norm(x - other, p)


@rewrites("cdist")
def _cdist(x1: Tensor, x2: Tensor, p: Any = 2.0, compute_mode: Any = None) -> Tensor:
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@rewrites("pdist")
def _pdist(x: Tensor, p: Any = 2.0) -> Tensor:
    i, j = torch.triu_indices(x.shape[0], x.shape[0], 1, device=x.device)
    return vector_norm(x[i] - x[j], p, -1)


@rewrites("pairwise_distance")
def _pairwise_distance(x1: Tensor, x2: Tensor, p: Any = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


@rewrites("cosine_similarity")
def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    norms = [vector_norm(x, 2, dim, keepdim=True) for x in (x1, x2)]
    u, v = (x / kinked("clamp_min", torch.clamp_min, (norm, eps), {}) for x, norm in zip((x1, x2), norms, strict=True))
    return (u * v).sum(dim)


@rewrites("std")
def _std(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    variance = torch.var(x, *args, **kwargs)
    return root(torch.sqrt(variance), variance)


@rewrites("std_mean")
def _std_mean(x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, *args, **kwargs)
    return root(torch.sqrt(variance), variance), mean
