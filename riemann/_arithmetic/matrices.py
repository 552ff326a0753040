"""Products of matrices of jets."""

import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from riemann._arithmetic import second_order
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet
from riemann._arithmetic.leibniz import product

SMALL = 4  # rows of matrices whose products compilers write out: one large product of them is slower


def matmul(A: Arithmetic, a: Any, b: Any) -> Tensor:
    """Coefficients of the product of matrices on the last two axes, of jets or constant tensors."""
    if a.shape[-1] == b.shape[-2] and a.shape[:-2] == b.shape[:-2]:
        for factor, other, axis in ((a, b, -1), (b, a, -2)):
            if isinstance(factor, Jet) and (diagonal := factor.whole_diagonal) is not None:
                return _scaled(A, A.coefficients(other), diagonal.unsqueeze(axis), -3 - axis)
    if isinstance(a, Jet) and isinstance(b, Jet):
        if a.ndim >= 2 and a.shape[:-2] == b.shape[:-2] and second_order.applies(A, a.c, b.c):
            return second_order.matmul(A, a.c, b.c)
        if a.ndim >= 2 and a.shape[:-2] == b.shape[:-2] and A.orders.order == 2 and A.orders.is_complete:
            if min(*a.shape[-2:], b.shape[-1]) > SMALL:
                return _all_by_all(A, a.c, b.c)
        is_small = a.shape[-1] <= SMALL
        return product(A, a.c, b.c, _written_out if is_small and isinstance(a.c, FakeTensor) else torch.matmul)
    if isinstance(a, Jet):
        return _with_matrix(a.c, b[0]) if _is_single(b) else a.c @ b
    if _is_single(a):
        return _with_matrix(b.c.mT, a[0].mT).mT
    return (b.c.mT @ a.mT).mT if a.ndim == 2 else a @ b.c


def _written_out(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, term by term: for compilers, whatever the layout."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def _scaled(A: Arithmetic, c: Tensor, d: Tensor, axis: int) -> Tensor:
    """A product with a diagonal matrix, which sums over an axis of c: NaN where a 0 beside the diagonal makes one."""
    y, infinite = product(A, d, c), ~c[0].isfinite()
    beside = infinite.sum(axis, keepdim=True) > infinite.long()
    if second_order.applies(A, y):
        y[0].masked_fill_(beside, math.nan)
        return y
    return torch.cat([torch.where(beside, math.nan, y[:1]), y[1:]])


def _is_single(a: Tensor) -> bool:
    """Whether a matrix is alone in its batch, as `einsum` makes one."""
    return a.ndim == 3 and a.shape[0] == 1


def _with_matrix(c: Tensor, b: Tensor) -> Tensor:
    """c @ b as one large product; torch makes one a point where the axes of c lie in another order."""
    return (c.flatten(0, -2) @ b).view(*c.shape[:-1], b.shape[-1])


def _all_by_all(A: Arithmetic, a: Tensor, b: Tensor) -> Tensor:
    """The same to second degree, coefficients `(count, points, *batch, m, l)`: one large product of all first ones."""
    O, m, l = A.orders, a.shape[-2], b.shape[-1]
    value, first, second = slice(0, 1), slice(0, O.counts[1]), slice(O.counts[1], None)
    left, right = a.movedim(0, -3), b.movedim(0, -2)  # (points, *batch, count, m, k) and (points, *batch, k, count, l)

    def pairs(i: slice, j: slice) -> Tensor:
        """Products of those with those, `(i, j, points, *batch, m, l)`."""
        y = left[..., i, :, :].flatten(-3, -2) @ right[..., j, :].flatten(-2)
        return y.unflatten(-1, (-1, l)).unflatten(-3, (-1, m)).movedim((-4, -2), (0, 1))

    low = pairs(first, first)
    blocks, terms = [low[0, :1]], []
    if len(a) > 1 and len(b) > 1:
        blocks.append(low[0, 1:] + low[1:, 0])
        ((_, I, _, J), _), crossed = O.splits[2], low[1:, 1:].flatten(0, 1)
        terms = [crossed.index_select(0, O.variables * I + J), crossed.index_select(0, O.variables * J + I)]
    elif len(low) > 1 or low.shape[1] > 1:
        blocks.append(low[0, 1:] if len(b) > 1 else low[1:, 0])
    terms += [pairs(second, value)[:, 0]] if A.degree(a) > 1 else []
    terms += [pairs(value, second)[0]] if A.degree(b) > 1 else []
    return torch.cat([*blocks, functools.reduce(torch.add, terms)] if terms else blocks)
