"""The formulas of derivatives: of sums; of products, Leibniz; of functions of functions, Faà di Bruno."""

import functools
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic import second_order
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet


def add(A: Arithmetic, a: Any, b: Any, ndim: int) -> Tensor:
    """The sum of coefficients `(count, points, …)` of `ndim` axes, or of coefficients and a constant."""
    a_is = isinstance(a, Tensor) and a.ndim == ndim + 2
    if a_is and isinstance(b, Tensor) and b.ndim == ndim + 2:
        known, count = a.shape[0], b.shape[0]
        if known == count:
            return a + b
        a, b, count = (a, b, count) if known > count else (b, a, known)
        head = a[:count] + b
        return torch.cat([head, a[count:].expand(-1, -1, *head.shape[2:])])
    a, b = (a, b) if a_is else (b, a)
    head = a[:1] + b
    return head if a.shape[0] == 1 else torch.cat([head, a[1:].expand(-1, -1, *head.shape[2:])])


def product(A: Arithmetic, a: Tensor, b: Tensor, times: Callable[[Tensor, Tensor], Tensor] = torch.mul) -> Tensor:
    """Coefficients of a product of two jets, whose axes correspond; `times` is bilinear, with any axes in front."""
    O, p, q = A.orders, A.degree(a), A.degree(b)
    if p < q:
        return product(A, b, a, times if times is torch.mul else lambda s, t: times(t, s))
    if times is torch.mul and second_order.applies(A, a, b):
        return second_order.product(A, a, b)
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
    slopes = [t for t in terms[1:] if isinstance(t, Tensor)]
    if not _is_zero(terms[1]) and second_order.applies(A, c, *(t for t in terms if isinstance(t, Tensor))):
        y = second_order.composed(A, c, *terms[: O.order + 1])
        return still_at_poles(A, y, c, functools.reduce(torch.add, slopes)) if singular and slopes else y
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
    if singular and slopes:
        still = stays(A, c, ~functools.reduce(torch.add, slopes).isfinite())
        blocks[1:] = [torch.where(still, 0, block) for block in blocks[1:]]
    return torch.cat(blocks)


def still_at_poles(A: Arithmetic, y: Tensor, c: Tensor, slopes: Tensor) -> Tensor:
    """`y`, written in place, with derivatives 0 where slopes are infinite and the jet c stays."""
    if bool((infinite := ~slopes.isfinite()).any()):
        y[1:].masked_fill_(stays(A, c, infinite), 0)
    return y


def stays(A: Arithmetic, c: Tensor, where: Tensor) -> Tensor:
    """Where, among some places, a jet is taken for a constant: a doubt, for derivatives not asked for may differ."""
    still = where & (c[1:] == 0).all(0)
    if len(c) > 1:
        A.doubts.append(still)
    return still


def moves(A: Arithmetic, c: Tensor, where: Tensor) -> Tensor:
    """The other places."""
    return where & ~stays(A, c, where)


def strays(c: Tensor) -> Tensor:
    """Where a jet is infinite or NaN, and its derivatives: what replaces it, or is decided by it, tells none.

    With finite derivatives it is a constant that is not finite, and what was added to it. Nowhere for coefficients that
    are jets themselves: the mask would vary with what is NaN beside it.
    """
    if isinstance(c, Jet):
        return torch.zeros_like(c[0], dtype=torch.bool)
    return ~c[0].isfinite() & ~c[1:].isfinite().all(0)


def agree(a: Tensor, b: Tensor) -> Tensor:
    """Where two numbers are the same up to rounding, and finite."""
    gap = (a - b).abs()
    return (gap <= 64 * torch.finfo(gap.dtype).eps * (a.abs() + b.abs())) & gap.isfinite()


def _is_zero(term: Any) -> bool:
    return isinstance(term, numbers.Number) and term == 0
