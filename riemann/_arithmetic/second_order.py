"""The sums of `leibniz` to second degree, written in place: the same numbers in fewer passes over memory.

Of eager calls only: not where gradients or operations are recorded, nor inside transforms.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic

PIECE = 2**17  # numbers that are made together


def applies(A: Arithmetic, *coefficients: Tensor) -> bool:
    """Whether sums may be written in place: all second derivatives are asked for, and nothing is recorded."""
    a = coefficients[0]
    return (
        A.orders.order == 2
        and A.orders.is_complete
        and not A.anew
        and all(c.dtype == a.dtype and not c.requires_grad for c in coefficients)
    )


def _together(a: torch.Size, b: torch.Size) -> torch.Size:
    """The shape of what is made of two, where torch's own function would take as long as a product."""
    return a if a == b else torch.broadcast_shapes(a, b)


def product(A: Arithmetic, a: Tensor, b: Tensor) -> Tensor:
    """Coefficients of the product of two jets, entry by entry, b of no higher degree than a."""
    O, twice = A.orders, b is a
    count = len(a) if len(b) == 1 else O.counts[2]
    y = a.new_empty(count, *_together(a.shape[1:], b.shape[1:]))
    torch.mul(a, b[:1], out=y[: len(a)])
    y[len(a) :] = 0
    if len(b) > 1:
        y[1 : len(b)].addcmul_(a[:1], b[1:])
        for i, others, row in O.rows:
            y[row].addcmul_(a[i], b[others], value=2 if twice else 1)
            if not twice:
                y[row].addcmul_(a[others], b[i])
    return y


def composed(A: Arithmetic, f: Tensor, df: Tensor | float, ddf: Tensor | float, c: Tensor) -> Tensor:
    """Coefficients of f(a) from its value and derivatives at the value of a."""
    O = A.orders
    y = c.new_empty(O.counts[2], *_together(c.shape[1:], f.shape))
    y[0] = f
    torch.mul(c[1:], df, out=y[1 : len(c)])
    y[len(c) :] = 0
    slope = ddf * c[1 : O.counts[1]]
    for i, others, row in O.rows:
        y[row].addcmul_(slope[i - 1], c[others])
    return y


def reciprocal(A: Arithmetic, c: Tensor) -> Tensor:
    """Coefficients of y = 1 / a, degree by degree from y a = 1."""
    O = A.orders
    y, first = c.new_empty(O.counts[2], *c.shape[1:]), slice(1, O.counts[1])
    torch.reciprocal(c[0], out=y[0])
    minus = -y[0]
    torch.mul(c[1:], y[0], out=y[1 : len(c)])
    y[len(c) :] = 0
    y[first] *= minus
    for i, others, row in O.rows:
        y[row].addcmul_(c[i], y[others]).addcmul_(c[others], y[i])
    y[O.counts[1] :] *= minus
    return y


def matmul(A: Arithmetic, a: Tensor, b: Tensor) -> Tensor:
    """Coefficients `(count, *batch, m, l)` of a product of matrices: few large products for each of the batch."""
    if is_transposed(a, b):
        return _times_own_transpose(A, a)
    O, batch, m, l = A.orders, a.shape[1:-2], a.shape[-2], b.shape[-1]
    first = slice(0, O.counts[1])
    left = a.flatten(1, -3).transpose(0, 1)  # (batch, count, m, k)
    right = b.flatten(1, -3).permute(1, 2, 0, 3)  # (batch, k, count, l)
    low, right_low = left[:, first].contiguous(), right[:, :, first].contiguous()

    def one_by(i: int, many: Tensor) -> Tensor:
        return (low[:, i] @ many.flatten(2)).unflatten(2, (-1, l)).permute(2, 0, 1, 3)

    def by_one(many: Tensor, i: int) -> Tensor:
        return (many.flatten(1, 2) @ right_low[:, :, i]).unflatten(1, (-1, m)).transpose(0, 1)

    mixed = len(a) > 1 and len(b) > 1
    y = a.new_empty(O.counts[2] if mixed else max(len(a), len(b)), len(left), m, l)
    for some in _pieces(y[: len(a)]):
        y[some] = by_one(left[:, some], 0)
    y[len(a) :] = 0
    for some in _pieces(y[: len(b)], start=1):
        y[some] += one_by(0, right[:, :, some])
    if mixed:
        for i, others, row in O.rows:
            y[row] += one_by(i, right_low[:, :, others])
            y[row] += by_one(low[:, others], i)
    return y.view(len(y), *batch, m, l)


def _pieces(y: Tensor, start: int = 0) -> Iterator[slice]:
    """Coefficients some at a time: what is made of them needs no new memory, which would cost more than products."""
    step = max(1, PIECE * len(y) // max(1, y.numel()))
    return (slice(k, min(k + step, len(y))) for k in range(start, len(y), step))


def is_transposed(a: Tensor, b: Tensor) -> bool:
    """Whether b is the transpose of a: the same numbers in memory, read the other way."""
    return (
        a.shape == b.mT.shape
        and a.stride() == b.mT.stride()
        and a.data_ptr() == b.data_ptr()
        and a.dtype == b.dtype
        and (a.is_conj(), a.is_neg()) == (b.is_conj(), b.is_neg())
    )


def _times_own_transpose(A: Arithmetic, a: Tensor) -> Tensor:
    """Coefficients of $a a^T$: half of the terms, and their transposes."""
    O, batch, m = A.orders, a.shape[1:-2], a.shape[-2]
    left = a.flatten(1, -3).transpose(0, 1)
    low = left[:, : O.counts[1]].contiguous()
    y = a.new_empty(O.counts[2] if len(a) > 1 else 1, len(left), m, m)

    def half(i: int, many: Tensor) -> Tensor:
        return (low[:, i] @ many.flatten(1, 2).mT).unflatten(2, (-1, m)).permute(2, 0, 1, 3)

    for some in _pieces(y[: len(a)]):
        y[some] = half(0, left[:, some])
    y[len(a) :] = 0
    if len(a) > 1:
        for i, others, row in O.rows:
            y[row] += half(i, low[:, others])
    for some in _pieces(y):
        y[some] = y[some] + y[some].mT
    y[0] *= 0.5
    return y.view(len(y), *batch, m, m)
