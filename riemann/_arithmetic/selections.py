"""What selects among its entries: the derivatives of what is selected, unless others tie with it and differ."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.arguments import is_discrete
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet, Refused, rule, wrapped
from riemann._arithmetic.leibniz import agree, moves, strays
from riemann._arithmetic.moves import of_values


def _tied(A: Arithmetic, c: Tensor, y: Tensor, axis: int) -> Tensor:
    """The selected entries y (axis kept), unknown from the degree on at which entries of equal value differ from it.

    All derivatives are unknown where an entry strays.
    """
    count, constants = A.orders.counts[-1], len(c) == 1
    blocks, unknown = [y[:1]], strays(c).any(axis - 1, keepdim=True)
    c, y = A.padded(c, count), A.padded(y, count)
    ties = c[0] == y[0]
    differ = ties & ~agree(c, y)
    for k in range(1, A.orders.order + 1):
        block = A.orders.block(differ, k)
        if len(block):
            unknown = unknown | block.any(0).any(axis - 1, keepdim=True)
        blocks.append(torch.where(unknown, math.nan, A.orders.block(y, k)))
    if not constants:  # those of higher degree decide which entry comes first
        A.doubts.append((ties.sum(axis - 1, keepdim=True) > 1) & ~unknown)
    return torch.cat(blocks)


def _picked(A: Arithmetic, a: Jet, index: Tensor, axis: int) -> Tensor:
    """Entries along an axis of the coefficients, `index` of shape `(points, …)`."""
    return a.c.gather(axis, index.unsqueeze(0).expand(len(a.c), *index.shape))


def _with_jumps(index: Tensor, c: Tensor) -> Jet:
    """Positions, which jump where what was selected is not determined."""
    jumps = c[1:].isnan().any(0)
    return Jet(index.unsqueeze(0), jumps)


def _extreme_along(A: Arithmetic, a: Jet, dim: int, keepdim: bool, pick: Callable[..., Tensor]) -> tuple[Jet, Jet]:
    if a.ndim == 0:
        return Jet(a.c), Jet(torch.zeros_like(a.c[:1], dtype=torch.long))
    axis = wrapped(dim, a.ndim) + 2
    index = pick(a.c[0].detach(), axis - 1, keepdim=True)
    y = _tied(A, a.c, _picked(A, a, index, axis), axis)
    positions = _with_jumps(index, y)
    if keepdim:
        return Jet(y), positions
    return Jet(y.squeeze(axis)), Jet(index.squeeze(axis - 1).unsqueeze(0), positions.jumps.squeeze(axis - 1))


def _flattened(a: Jet, dims: Any) -> tuple[Jet, list[int]]:
    """The axes to reduce, flattened into a last one."""
    over = sorted(wrapped(d, a.ndim) for d in dims)
    kept = [d for d in range(a.ndim) if d not in over]
    c = a.c.permute(0, 1, *(d + 2 for d in kept), *(d + 2 for d in over)).flatten(2 + len(kept))
    return Jet(c), over


def _over(A: Arithmetic, a: Jet, dim: Any, keepdim: bool, pick: Callable[..., Tensor]) -> Jet:
    if a.ndim == 0:
        return Jet(a.c)
    dims = range(a.ndim) if dim is None or dim == [] or dim == () else [dim] if isinstance(dim, int) else dim
    flat, over = _flattened(a, dims)
    c = _extreme_along(A, flat, -1, False, pick)[0].c
    if keepdim:
        for d in over:
            c = c.unsqueeze(d + 2)
    return Jet(c)


def _number_or(A: Arithmetic, name: str, a: Jet, *args: Any, **kwargs: Any) -> Any:
    return of_values(A, lambda t: getattr(torch, name)(t, *args, **kwargs), a)


def _register_extremes(name: str, pick: Callable[..., Tensor]) -> None:
    def whole(A: Arithmetic, a: Jet, dim: Any = None, keepdim: bool = False) -> Any:
        if is_discrete(a):
            return _number_or(A, name, a, *(() if dim is None else (dim, keepdim)))
        if dim is None:
            return _over(A, a, None, False, pick)
        return _extreme_along(A, a, dim, keepdim, pick)

    def over(A: Arithmetic, a: Jet, dim: Any = (), keepdim: bool = False) -> Jet:
        if is_discrete(a):
            return _number_or(A, "a" + name, a, dim, keepdim)
        return _over(A, a, dim, keepdim, pick)

    def position(A: Arithmetic, a: Jet, dim: Any = None, keepdim: bool = False) -> Jet:
        if is_discrete(a):
            return _number_or(A, "arg" + name, a, dim, keepdim)
        if dim is None:
            flat = Jet(a.c.flatten(2) if a.ndim else a.c.unsqueeze(2))
            place = _extreme_along(A, flat, 0, False, pick)[1]
            shape = -1, *[1] * (a.ndim if keepdim else 0)
            return Jet(place.c[0].reshape(shape).unsqueeze(0), place.jumps.reshape(shape))
        return _extreme_along(A, a, dim, keepdim, pick)[1]

    rule(name)(whole)
    rule("a" + name)(over)
    rule("arg" + name)(position)


_register_extremes("max", torch.argmax)


_register_extremes("min", torch.argmin)


@rule("aminmax")
def _aminmax(A: Arithmetic, a: Jet, *, dim: Any = None, keepdim: bool = False) -> Any:
    return _over(A, a, dim, keepdim, torch.argmin), _over(A, a, dim, keepdim, torch.argmax)


def _sorted(A: Arithmetic, a: Jet, dim: int, descending: bool, stable: bool = True) -> tuple[Tensor, Tensor]:
    """Coefficients in order, unknown where entries tie and differ, and positions."""
    axis = wrapped(dim, a.ndim) + 2
    index = torch.sort(a.c[0].detach(), dim=axis - 1, descending=descending, stable=True)[1]
    y = A.padded(_picked(A, a, index, axis), A.orders.counts[-1])
    if y.shape[axis] < 2:
        return y, index
    low, high = y.narrow(axis, 0, y.shape[axis] - 1), y.narrow(axis, 1, y.shape[axis] - 1)
    tie = low[0] == high[0]
    differ = tie & ~agree(low, high)
    edge = torch.zeros_like(y[0].narrow(axis - 1, 0, 1), dtype=torch.bool)
    group = torch.cat([edge, ~tie], axis - 1).cumsum(axis - 1)  # what ties is unknown as one
    blocks, unknown = [y[:1]], strays(y).any(axis - 1, keepdim=True)
    for k in range(1, A.orders.order + 1):
        block = A.orders.block(differ, k).any(0)
        marks = torch.cat([edge, block], axis - 1) | torch.cat([block, edge], axis - 1)
        counted = torch.zeros_like(group).scatter_add(axis - 1, group, marks.long()).gather(axis - 1, group)
        unknown = unknown | (counted > 0)
        blocks.append(torch.where(unknown, math.nan, A.orders.block(y, k)))
    if len(a.c) > 1:
        A.doubts.append(tie & ~unknown.narrow(axis - 1, 1, y.shape[axis] - 1))
    return torch.cat(blocks), index


@rule("sort")
def _sort(A: Arithmetic, a: Jet, dim: int = -1, descending: bool = False, *, stable: Any = None) -> Any:
    if a.ndim == 0:
        return Jet(a.c), Jet(torch.zeros_like(a.c[:1], dtype=torch.long))
    if is_discrete(a):
        return of_values(A, lambda t: torch.sort(t, dim=dim, descending=descending), a)
    y, index = _sorted(A, a, dim, descending)
    return Jet(y), _with_jumps(index, y)


@rule("argsort")
def _argsort(A: Arithmetic, a: Jet, dim: int = -1, descending: bool = False, *, stable: Any = None) -> Jet:
    return _sort(A, a, dim, descending)[1]


@rule("msort")
def _msort(A: Arithmetic, a: Jet) -> Jet:
    return _sort(A, a, 0)[0]


@rule("topk")
def _topk(A: Arithmetic, a: Jet, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    y, index = _sort(A, a, dim, largest)
    if a.ndim == 0:
        return y, index
    axis = wrapped(dim, a.ndim) + 2
    return Jet(y.c.narrow(axis, 0, k)), Jet(index.c.narrow(axis, 0, k), index.jumps.narrow(axis - 1, 0, k))


@rule("kthvalue")
def _kthvalue(A: Arithmetic, a: Jet, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    return _ranked(A, a, k - 1, dim, keepdim)


def _ranked(A: Arithmetic, a: Jet, k: int, dim: int, keepdim: bool) -> Any:
    y, index = _sort(A, a, dim)
    if a.ndim == 0:
        return y, index
    axis = wrapped(dim, a.ndim) + 2
    parts = y.c.narrow(axis, k, 1), index.c.narrow(axis, k, 1), index.jumps.narrow(axis - 1, k, 1)
    if not keepdim:
        parts = parts[0].squeeze(axis), parts[1].squeeze(axis), parts[2].squeeze(axis - 1)
    return Jet(parts[0]), Jet(parts[1], parts[2])


@rule("median")
def _median(A: Arithmetic, a: Jet, dim: Any = None, keepdim: bool = False) -> Any:
    if dim is None:
        flat = Jet(a.c.flatten(2) if a.ndim else a.c.unsqueeze(2))
        return _ranked(A, flat, (flat.shape[0] - 1) // 2, 0, False)[0]
    if a.ndim == 0:
        return _sort(A, a)
    return _ranked(A, a, (a.shape[dim] - 1) // 2, dim, keepdim)


@rule("cummax")
def _cummax(A: Arithmetic, a: Jet, dim: int) -> Any:
    return _running(A, a, dim, torch.cummax, torch.argmax)


@rule("cummin")
def _cummin(A: Arithmetic, a: Jet, dim: int) -> Any:
    return _running(A, a, dim, torch.cummin, torch.argmin)


def _running(A: Arithmetic, a: Jet, dim: int, f: Callable[..., Any], pick: Callable[..., Tensor]) -> Any:
    if a.ndim == 0:
        return Jet(a.c), Jet(torch.zeros_like(a.c[:1], dtype=torch.long))
    axis = wrapped(dim, a.ndim) + 2
    index = f(a.c[0].detach(), axis - 1)[1]
    columns = []
    for k in range(a.shape[dim]):
        y = _picked(A, a, index.narrow(axis - 1, k, 1), axis)
        columns.append(_tied(A, a.c.narrow(axis, 0, k + 1), y, axis))
    y = torch.cat(columns, axis)
    return Jet(y), _with_jumps(index, y)


@rule("mode")
def _mode(A: Arithmetic, a: Jet, dim: int = -1, keepdim: bool = False) -> Any:
    if a.ndim == 0:
        return Jet(a.c), Jet(torch.zeros_like(a.c[:1], dtype=torch.long))
    axis = wrapped(dim, a.ndim) + 2
    index = torch.mode(a.c[0].detach(), axis - 1, keepdim=True)[1]
    y = _tied(A, a.c, _picked(A, a, index, axis), axis)
    positions = _with_jumps(index, y)
    if keepdim:
        return Jet(y), positions
    return Jet(y.squeeze(axis)), Jet(index.squeeze(axis - 1).unsqueeze(0), positions.jumps.squeeze(axis - 1))


def _positions(A: Arithmetic, boundaries: Any, numbers: Any, find: Callable[[Tensor, Tensor], Tensor]) -> Jet:
    """Where numbers stand among boundaries: it jumps where a number is one of them."""
    if not isinstance(numbers, Tensor):
        numbers = torch.as_tensor(numbers)
    dims = tuple(0 if isinstance(t, Jet) else None for t in (boundaries, numbers))
    b, v = (t.c[0].contiguous() if isinstance(t, Jet) else t for t in (boundaries, numbers))
    b_all, v_all = (t if d is not None else t.expand(A.points, *t.shape) for t, d in zip((b, v), dims, strict=True))
    index = _batched_search(find, b_all, v_all)
    lead = b_all.ndim - 1
    meets = (v_all.unsqueeze(-1) == _facing(b_all, v_all, lead)).any(-1)
    varies = torch.zeros_like(meets)
    if isinstance(numbers, Jet):
        varies = varies | moves(A, numbers.c, meets) | strays(numbers.c)
    if isinstance(boundaries, Jet):
        sizes = boundaries.c.abs().flatten(2).sum(-1) if boundaries.ndim else boundaries.c.abs()
        varies = varies | moves(A, sizes.reshape(*sizes.shape, *[1] * (meets.ndim - 1)), meets)
    return Jet(index.unsqueeze(0), varies)


def _facing(b: Tensor, v: Tensor, lead: int) -> Tensor:
    """Boundaries `(points, …, k)` against numbers `(points, …, m)`, to compare each with each."""
    if b.ndim == 2:
        return b.view(len(b), *[1] * (v.ndim - 1), b.shape[-1])
    return b.unsqueeze(-2)


def _batched_search(find: Callable[[Tensor, Tensor], Tensor], b: Tensor, v: Tensor) -> Tensor:
    lying = functools.partial(torch.clone, memory_format=torch.contiguous_format)  # below transforms, too
    if b.ndim == 2:
        return find(lying(b), lying(v.reshape(len(v), -1))).reshape(v.shape)
    return find(lying(b), lying(v))


@rule("searchsorted")
def _search(A: Arithmetic, boundaries: Any, numbers: Any, *, out_int32: bool = False, right: bool = False,
            side: Any = None, sorter: Any = None) -> Jet:  # fmt: skip
    if sorter is not None:
        raise Refused("has no rule for `sorter=`; sort the boundaries first")
    find = functools.partial(torch.searchsorted, out_int32=out_int32, right=right, side=side)
    return _positions(A, boundaries, numbers, find)


@rule("bucketize")
def _bucketize(A: Arithmetic, numbers: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Jet:
    return _search(A, boundaries, numbers, out_int32=out_int32, right=right)
