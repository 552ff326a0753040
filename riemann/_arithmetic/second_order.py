"""The sums of `leibniz` to second degree, written in place: the same numbers in fewer passes over memory.

Of eager calls only: not where gradients or operations are recorded, nor inside transforms.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.orders import Orders

PIECE = 2**17  # numbers that are made together
SMALL = 8  # numbers up to which the rows and columns of matrices are short
LINES = 27, 2**8  # multiplications, and numbers of a coefficient, up to which every product by itself is faster
FEW = 2**11  # numbers of a coefficient up to which calls cost more than passes over memory


def applies(A: Arithmetic, *coefficients: Tensor) -> bool:
    """Whether sums may be written in place: no more than all second derivatives are asked for, nothing is recorded."""
    a = coefficients[0]
    if A.anew or A.orders.order > 2 or not A.orders.is_complete:
        return False
    for c in coefficients:
        if c.dtype != a.dtype or c.requires_grad:
            return False
    return True


def _together(a: torch.Size, b: torch.Size) -> torch.Size:
    """The shape of what is made of two, where torch's own function would take as long as a product."""
    return a if a == b else torch.broadcast_shapes(a, b)


def _repeated(c: Tensor, shape: torch.Size) -> Tensor:
    """Coefficients of a shape, in memory: torch broadcasts along short axes slowly."""
    return c if c.shape[1:] == shape else c.expand(c.shape[0], *shape).contiguous()


def _add_pairs(O: Orders, y: Tensor, a: Tensor, b: Tensor, value: int = 1) -> None:
    """Adds $D_i a D_j b$ to the second derivatives of y."""
    if y.numel() <= FEW * y.shape[0]:
        I, J = O.pairs
        y[O.counts[1] :].addcmul_(a.index_select(0, I), b.index_select(0, J), value=value)
        return
    for i, others, row in O.rows:
        y[row].addcmul_(a[i], b[others], value=value)


def product(A: Arithmetic, a: Tensor, b: Tensor) -> Tensor:
    """Coefficients of the product of two jets, entry by entry, b of no higher degree than a."""
    O, known, low = A.orders, a.shape[0], b.shape[0]
    shape = _together(a.shape[1:], b.shape[1:])
    if len(shape) > 1 and shape[-1] <= SMALL:
        a, b = (a, a) if b is a else (_repeated(a, shape), _repeated(b, shape))
    y = a.new_empty(known if low == 1 else O.counts[-1], *shape)
    torch.mul(a, b[:1], out=y[:known])
    if known < y.shape[0]:
        y[known:] = 0
    if low > 1:
        y[1:low].addcmul_(a[:1], b[1:])
    if low > 1 and O.order == 2:
        _add_pairs(O, y, a, b, 2 if b is a else 1)
        if b is not a:
            _add_pairs(O, y, b, a)
    return y


def composed(A: Arithmetic, c: Tensor, f: Tensor, df: Tensor | float, ddf: Tensor | float = 0) -> Tensor:
    """Coefficients of f(a) from its value and derivatives at the value of a."""
    O, known = A.orders, c.shape[0]
    y = c.new_empty(O.counts[-1], *_together(c.shape[1:], f.shape))
    y[0] = f
    torch.mul(c[1:], df, out=y[1:known])
    if known < y.shape[0]:
        y[known:] = 0
    if O.order == 2:
        _add_pairs(O, y, ddf * c[: O.counts[1]], c)
    return y


def reciprocal(A: Arithmetic, c: Tensor) -> Tensor:
    """Coefficients of y = 1 / a, degree by degree from y a = 1."""
    O, known = A.orders, c.shape[0]
    y, first = c.new_empty(O.counts[-1], *c.shape[1:]), slice(1, O.counts[1])
    torch.reciprocal(c[0], out=y[0])
    minus = -y[0]
    torch.mul(c[1:], y[0], out=y[1:known])
    y[first] *= minus
    if O.order == 2:
        if known < y.shape[0]:
            y[known:] = 0
        _add_pairs(O, y, c, y)
        _add_pairs(O, y, y, c)
        y[O.counts[1] :] *= minus
    return y


def matmul(A: Arithmetic, a: Tensor, b: Tensor) -> Tensor:
    """Coefficients `(count, *batch, m, l)` of a product of matrices; of $a a^T$ half of the terms, and transposes."""
    own, (m, k), l = is_transposed(a, b), a.shape[-2:], b.shape[-1]
    if max(m, k, l) > SMALL:
        return _times_own_transpose(A, a) if own else _by_large_products(A, a, b)
    in_lines = m * k * l > LINES[0] and a[0].numel() > LINES[1]
    y = (_in_lines if in_lines else _one_by_one)(A, a, b, own)
    if own:
        y = y + y.mT
        y[0] *= 0.5
    return y


def _one_by_one(A: Arithmetic, a: Tensor, b: Tensor, half: bool) -> Tensor:
    """Of small matrices: every product by itself, of each coefficient at each point."""
    O, batch, m, l = A.orders, a.shape[1:-2], a.shape[-2], b.shape[-1]
    a, b = (c.flatten(1, -3) for c in (a, b))
    points = a.shape[1]
    y = a.new_zeros(O.counts[-1] if len(a) > 1 and len(b) > 1 else max(len(a), len(b)), points, m, l).flatten(0, 1)

    def add(start: int, p: Tensor, q: Tensor) -> None:
        y[start * points : (start + len(p)) * points].baddbmm_(p.flatten(0, 1), q.flatten(0, 1))

    add(0, a, b[:1].expand(len(a), -1, -1, -1))
    if len(b) > 1 and not half:
        add(1, a[:1].expand(len(b) - 1, -1, -1, -1), b[1:])
    if len(a) > 1 and len(b) > 1 and O.order == 2:
        I, J = O.pairs
        add(O.counts[1], a.index_select(0, I), b.index_select(0, J))
        if not half:
            add(O.counts[1], a.index_select(0, J), b.index_select(0, I))
    return y.view(-1, *batch, m, l)


def _in_lines(A: Arithmetic, a: Tensor, b: Tensor, half: bool) -> Tensor:
    """Of small matrices: at each point those of all coefficients side by side, as few larger products."""
    O, batch, m, l = A.orders, a.shape[1:-2], a.shape[-2], b.shape[-1]
    a, b = (c.flatten(1, -3) for c in (a, b))
    mixed, n, low = len(a) > 1 and len(b) > 1, O.variables, O.counts[min(1, O.order)]
    rows = a.transpose(0, 1).flatten(1, 2)  # (points, count m, k)
    columns = rows.mT if half else b.permute(1, 2, 0, 3).flatten(2)  # (points, k, count l)
    y = a.new_empty(O.counts[-1] if mixed else max(len(a), len(b)), a.shape[1], m, l)
    y[: len(b)] = (a[0] @ columns).unflatten(2, (-1, l)).permute(2, 0, 1, 3)
    y[len(b) :] = 0
    if len(a) > 1 and not half:
        y[1 : len(a)] += (rows[:, m:] @ b[0]).unflatten(1, (-1, m)).transpose(0, 1)
    if mixed and O.order == 2:
        pairs = rows[:, m : low * m] @ columns[:, :, l : low * l]
        pairs = pairs.view(-1, n, m, n, l).permute(1, 3, 0, 2, 4).flatten(0, 1)
        I, J = (places - 1 for places in O.pairs)
        y[low:] += pairs.index_select(0, I * n + J)
        if not half:
            y[low:] += pairs.index_select(0, J * n + I)
    return y.view(len(y), *batch, m, l)


def _by_large_products(A: Arithmetic, a: Tensor, b: Tensor) -> Tensor:
    """Of large matrices: a row of coefficients at a time."""
    O, batch, m, l = A.orders, a.shape[1:-2], a.shape[-2], b.shape[-1]
    first = slice(0, O.counts[min(1, O.order)])
    left = a.flatten(1, -3).transpose(0, 1)  # (batch, count, m, k)
    right = b.flatten(1, -3).permute(1, 2, 0, 3)  # (batch, k, count, l)
    low, right_low = left[:, first].contiguous(), right[:, :, first].contiguous()

    def one_by(i: int, many: Tensor) -> Tensor:
        return (low[:, i] @ many.flatten(2)).unflatten(2, (-1, l)).permute(2, 0, 1, 3)

    def by_one(many: Tensor, i: int) -> Tensor:
        return (many.flatten(1, 2) @ right_low[:, :, i]).unflatten(1, (-1, m)).transpose(0, 1)

    mixed = len(a) > 1 and len(b) > 1
    y = a.new_empty(O.counts[-1] if mixed else max(len(a), len(b)), len(left), m, l)
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
    low = left[:, : O.counts[min(1, O.order)]].contiguous()
    y = a.new_empty(O.counts[-1] if len(a) > 1 else 1, len(left), m, m)

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
