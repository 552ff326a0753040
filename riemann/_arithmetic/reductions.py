"""Sums of exponentials, variances and norms."""

import math
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.arguments import cast, is_discrete
from riemann._arithmetic.choices import _abs, compare
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.elementwise import difference_of, function_of, product_of, root_of, sum_of
from riemann._arithmetic.jet import Jet, rule, wrapped
from riemann._arithmetic.moves import _sum
from riemann._arithmetic.powers import _pow
from riemann._arithmetic.selections import _over


def _shifted(A: Arithmetic, a: Jet, dim: Any) -> tuple[Jet, Tensor]:
    """a minus its greatest value, which is taken for a constant: the result does not depend on it."""
    axes = [wrapped(d, a.ndim) + 1 for d in ([dim] if isinstance(dim, int) else dim)] if a.ndim else []
    top = a.c[0].detach().amax(axes, keepdim=True) if axes else a.c[0].detach()
    top = torch.where(top.isfinite(), top, 0).unsqueeze(0)
    return Jet(torch.cat([a.c[:1] - top, a.c[1:]])), top


@rule("logsumexp")
def _logsumexp(A: Arithmetic, a: Jet, dim: Any, keepdim: bool = False) -> Jet:
    a = a if not is_discrete(a) else cast(A, a, torch.get_default_dtype())
    low, top = _shifted(A, a, dim)
    y = function_of(A, "log", _sum(A, function_of(A, "exp", low), dim, True)).c
    y = torch.cat([y[:1] + top, y[1:]])
    axes = [wrapped(d, a.ndim) + 2 for d in ([dim] if isinstance(dim, int) else dim)] if a.ndim else []
    return Jet(y if keepdim or not axes else y.squeeze(axes))


@rule("_safe_softmax")
def _safe_softmax(A: Arithmetic, a: Jet, dim: int, dtype: Any = None) -> Jet:
    """softmax, 0 where all powers are."""
    y = _softmax(A, a, dim)
    empty = (a.c[0] == -math.inf).all(wrapped(dim, a.ndim) + 1, keepdim=True) if a.ndim else a.c[0] == -math.inf
    return Jet(torch.where(empty, 0, y.c))


@rule("_softmax")
def _softmax(A: Arithmetic, a: Jet, dim: int, half_to_float: Any = False, **_: Any) -> Jet:
    powers = function_of(A, "exp", _shifted(A, a, dim)[0])
    total = function_of(A, "reciprocal", _sum(A, powers, dim, True))
    y = product_of(A, powers, total)
    head = torch.softmax(a.c[0], wrapped(dim, a.ndim) + 1 if a.ndim else 0).unsqueeze(0)
    return Jet(torch.cat([head, y.c[1:]])) if a.ndim else y


@rule("_log_softmax")
def _log_softmax(A: Arithmetic, a: Jet, dim: int, half_to_float: bool = False) -> Jet:
    return difference_of(A, a, _logsumexp(A, a, dim, True))


@rule("logcumsumexp")
def _logcumsumexp(A: Arithmetic, a: Jet, dim: int) -> Jet:
    if a.ndim == 0:
        return Jet(a.c)
    columns = [Jet(a.c.narrow(wrapped(dim, a.ndim) + 2, 0, k + 1)) for k in range(a.shape[dim])]
    found = [_logsumexp(A, column, dim, True).c for column in columns]
    count = max(map(len, found)) if found else 1
    return Jet(torch.cat([A.padded(c, count) for c in found], wrapped(dim, a.ndim) + 2)) if found else Jet(a.c)


@rule("var.correction")
def _var(A: Arithmetic, a: Jet, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> Jet:
    return Jet(_variance(A, a, dim, correction, keepdim)[0])


def _variance(A: Arithmetic, a: Jet, dim: Any, correction: Any, keepdim: bool) -> tuple[Tensor, Tensor]:
    dims = range(a.ndim) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    axes = [wrapped(d, a.ndim) + 2 for d in dims] if a.ndim else []
    count = math.prod(a.c.shape[d] for d in axes)
    mean = a.c.mean(axes, keepdim=True) if axes else a.c
    squares = product_of(A, centred := Jet(a.c - mean), centred).c
    y = squares.sum(axes, keepdim=keepdim) if axes else squares
    correction = 1 if correction is None else correction
    if count - correction <= 0:
        return torch.full_like(y, math.nan), mean
    return y / (count - correction), mean if keepdim or not axes else mean.squeeze(axes)


@rule("var", "var.dim")
def _var_by_flag(A: Arithmetic, a: Jet, *args: Any, unbiased: bool = True, keepdim: bool = False) -> Jet:
    return Jet(_variance(A, a, *_by_flag(args, unbiased, keepdim))[0])


@rule("std", "std.dim")
def _std_by_flag(A: Arithmetic, a: Jet, *args: Any, unbiased: bool = True, keepdim: bool = False) -> Jet:
    return root_of(A, Jet(_variance(A, a, *_by_flag(args, unbiased, keepdim))[0]))


def _by_flag(args: tuple, unbiased: bool, keepdim: bool) -> tuple[Any, int, bool]:
    """Axes, correction and `keepdim` of the older overloads: `(unbiased)` or `(dim, unbiased, keepdim)`."""
    dim = None if not args or isinstance(args[0], bool) else args[0]
    flags = [*args[0 if dim is None else 1 :]]
    unbiased = flags[0] if flags else unbiased
    return dim, int(unbiased), flags[1] if len(flags) > 1 else keepdim


@rule("var_mean", "var_mean.dim")
def _var_mean_by_flag(A: Arithmetic, a: Jet, *args: Any, unbiased: bool = True, keepdim: bool = False) -> Any:
    variance, mean = _variance(A, a, *_by_flag(args, unbiased, keepdim))
    return Jet(variance), Jet(mean)


@rule("std_mean", "std_mean.dim")
def _std_mean_by_flag(A: Arithmetic, a: Jet, *args: Any, unbiased: bool = True, keepdim: bool = False) -> Any:
    variance, mean = _var_mean_by_flag(A, a, *args, unbiased=unbiased, keepdim=keepdim)
    return root_of(A, variance), mean


@rule("var_mean.correction")
def _var_mean(A: Arithmetic, a: Jet, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> Any:
    variance, mean = _variance(A, a, dim, correction, keepdim)
    return Jet(variance), Jet(mean)


@rule("std.correction")
def _std(A: Arithmetic, a: Jet, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> Jet:
    return root_of(A, Jet(_variance(A, a, dim, correction, keepdim)[0]))


@rule("std_mean.correction")
def _std_mean(A: Arithmetic, a: Jet, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> Any:
    variance, mean = _variance(A, a, dim, correction, keepdim)
    return root_of(A, Jet(variance)), Jet(mean)


@rule("linalg_vector_norm")
def vector_norm(
    A: Arithmetic, a: Jet, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Jet:
    a = a if dtype is None else cast(A, a, dtype)
    p = 2.0 if ord is None else float(ord)
    dim = None if dim in ([], ()) else dim
    if p == 2 and not a.is_complex():
        return root_of(A, _sum(A, product_of(A, a, a), dim, keepdim))
    if p == 2:
        parts = torch.view_as_real(a.c)
        squares = sum_of(A, *(product_of(A, t, t) for t in map(Jet, parts.unbind(-1))))
        return root_of(A, _sum(A, squares, dim, keepdim))
    size = _abs(A, a)
    if math.isinf(p):
        return _over(A, size, dim, keepdim, torch.argmax if p > 0 else torch.argmin)
    if p == 1:
        return _sum(A, size, dim, keepdim)
    if p == 0:
        nonzero = cast(A, compare(A, torch.ne, a, 0), size.dtype)
        return _sum(A, nonzero, dim, keepdim)
    powers = _pow(A, a if p % 2 == 0 and not a.is_complex() else size, p)
    return _pow(A, _sum(A, powers, dim, keepdim), 1 / p)


@rule("norm")
def _norm(A: Arithmetic, a: Jet, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Jet:
    return vector_norm(A, a, p, dim, keepdim, dtype=dtype)


@rule("dist")
def _dist(A: Arithmetic, a: Any, b: Any, p: Any = 2) -> Jet:
    return vector_norm(A, difference_of(A, a, b), p)


@rule("_cdist_forward", "cdist", "_euclidean_dist")
def _cdist(A: Arithmetic, a: Any, b: Any, p: Any = 2.0, compute_mode: Any = None) -> Jet:
    def widened(t: Any, axis: int) -> Any:
        return Jet(t.c.unsqueeze(axis)) if isinstance(t, Jet) else t.unsqueeze(axis)

    return vector_norm(A, difference_of(A, widened(a, -2), widened(b, -3)), p, [-1])


@rule("_pdist_forward", "pdist")
def _pdist(A: Arithmetic, a: Jet, p: Any = 2.0) -> Jet:
    i, j = torch.triu_indices(a.shape[0], a.shape[0], 1, device=a.c.device)
    return vector_norm(A, Jet(a.c[:, :, i] - a.c[:, :, j]), p, [-1])
