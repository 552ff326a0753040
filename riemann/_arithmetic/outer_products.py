r"""Sums of outer products wait until they are read: then all of them are one product of matrices.

$\sum_a s_a u_a v_a^T$, however it is spelled, is a product of the matrix of the columns $s_a u_a$ and that of the rows
$v_a^T$. What waits is only ever multiplied by a number, added to, or summed; anything else reads it.
"""

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet, aligned
from riemann._arithmetic.leibniz import add, product
from riemann._arithmetic.matrices import SMALL, matmul


@dataclasses.dataclass(frozen=True, eq=False)
class OuterProducts:
    """Terms whose sum is a jet, of coefficients that nobody writes to.

    Attributes:
        shape: of the coefficients, `(1, points, *batch, n, m)`.
        columns: of each term, coefficients `(count, points, *batch, n, k)`; axes of the batch may have length 1.
        rows: of each term, `(count, points, *batch, k, m)`.
        rest: coefficients `(count, points, …)`, constants and numbers that are added.
    """

    arithmetic: Arithmetic
    shape: torch.Size
    columns: tuple[Tensor, ...]
    rows: tuple[Tensor, ...]
    rest: tuple[Any, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        return self.columns[0].dtype

    @property
    def device(self) -> torch.device:
        return self.columns[0].device

    @property
    def is_single(self) -> bool:
        """Whether it is one outer product, to which nothing is added."""
        return len(self.columns) == 1 and self.columns[0].shape[-1] == 1 and not self.rest

    def made(self) -> Tensor:
        """The coefficients of the sum."""
        A = self.arithmetic
        with A.caller:
            if len(self.columns) == 1 and self.columns[0].shape[-1] == 1:
                y = product(A, self.columns[0], self.rows[0])
            else:
                columns = torch.cat(self._alike(self.columns, -1), -1)
                y = matmul(A, Jet(columns), Jet(torch.cat(self._alike(self.rows, -2), -2)))
            for more in self.rest:
                y = add(A, y, more, len(self.shape) - 2)
            y = y.expand(len(y), *self.shape[1:]).contiguous()
        A.bytes += y.numel() * y.element_size()
        return y

    def _alike(self, factors: Sequence[Tensor], axis: int) -> list[Tensor]:
        """Factors that differ in the length of an axis alone."""
        count = max(map(len, factors))
        return [self.arithmetic.padded(c, count).expand(-1, *self.shape[1:-2], -1, -1) for c in factors]

    def summed(self, axes: Sequence[int]) -> "OuterProducts":
        """The sum over axes of the batch: their terms side by side."""

        def side_by_side(c: Tensor, axis: int) -> Tensor:
            c = c.expand(*c.shape[:2], *self.shape[2:-2], *c.shape[-2:])
            k = len(axes)
            return c.movedim([*axes, axis], [*range(-k - 1, 0)]).flatten(-k - 1).movedim(-1, axis)

        shape = torch.Size(s for k, s in enumerate(self.shape) if k not in axes)
        columns = tuple(side_by_side(c, -1) for c in self.columns)
        rows = tuple(side_by_side(c, -2) for c in self.rows)
        return OuterProducts(self.arithmetic, shape, columns, rows)


def _waiting(a: Any) -> OuterProducts | None:
    return a.waiting if isinstance(a, Jet) else None


def _kept(A: Arithmetic, a: Any) -> Any:
    """Coefficients of a jet, or a constant, as they are now."""
    if isinstance(a, Jet):
        return a.c.clone() if a.is_written and not A.anew else a.c
    return a.clone() if isinstance(a, Tensor) else a


def of_product(A: Arithmetic, a: Any, b: Any) -> Jet | None:
    """a b where it is an outer product of vectors, or one of these and a number; else None."""
    if not (isinstance(a, Jet) and isinstance(b, Jet)) or a.dtype != b.dtype:
        a, b = (a, b) if _waiting(a) is not None else (b, a)
        return _scaled(A, a, b) if _waiting(a) is not None else None
    if _waiting(a) is not None or _waiting(b) is not None:
        return _scaled(A, a, b) if _waiting(a) is not None else _scaled(A, b, a)
    if A.orders.order == 0 or max(a.ndim, b.ndim) < 2 or not (a.is_floating_point() or a.is_complex()):
        return None
    if a.ndim < 2 or a.shape[-1] != 1:
        a, b = b, a
    (n, one), (other, m) = a.shape[-2:] if a.ndim > 1 else (0, 0), (1, *b.shape)[-2:] if b.ndim else (0, 0)
    if (one, other) != (1, 1) or min(n, m) <= SMALL:
        return None
    ndim = max(a.ndim, b.ndim)
    column, row = (aligned(_kept(A, t), ndim) for t in (a, b))
    batch = torch.broadcast_shapes(column.shape[1:-2], row.shape[1:-2])
    return Jet(OuterProducts(A, torch.Size((1, *batch, n, m)), (column,), (row,)))


def _scaled(A: Arithmetic, a: Jet, s: Any) -> Jet | None:
    """s a of what waits, by its columns; None where s is no number, or a has more than one term."""
    waiting = a.waiting
    assert waiting is not None
    if not waiting.is_single:
        return None
    column = waiting.columns[0]
    if isinstance(s, Tensor):
        if s.dtype != a.dtype or s.ndim > a.ndim or any(size != 1 for size in s.shape[-2:]):
            return None
        s = aligned(_kept(A, s), a.ndim) if isinstance(s, Jet) else s
        column = product(A, column, s) if s.ndim == column.ndim else column * s
    elif isinstance(s, int | float) and not isinstance(s, bool):
        column = column * s
    else:
        return None
    batch = torch.broadcast_shapes(column.shape[1:-2], waiting.shape[1:-2])
    shape = torch.Size((1, *batch, *waiting.shape[-2:]))
    return Jet(dataclasses.replace(waiting, shape=shape, columns=(column,)))


def of_sum(A: Arithmetic, a: Any, b: Any, alpha: Any) -> Jet | None:
    """a + alpha b where one of them waits and has the shape of the sum; else None."""
    first, second = _waiting(a), _waiting(b)
    whole = first or second
    if whole is None or not isinstance(alpha, numbers.Real):
        return None
    other = (a if second else b) if not (first and second) else None
    like = a if first else b
    if isinstance(other, Tensor):
        if other.dtype != like.dtype or torch.broadcast_shapes(other.shape, like.shape) != like.shape:
            return None
    elif other is not None and (not isinstance(other, int | float) or isinstance(other, bool)):
        return None
    if first and second and (a.shape != b.shape or a.dtype != b.dtype):
        return None
    columns, rows, rest = (), (), ()
    for t, times in ((a, 1), (b, alpha)):
        if isinstance(t, int | float) and t == 0:  # where Python's own `sum` begins
            continue
        if (waiting := _waiting(t)) is None:
            kept = _kept(A, t)
            kept = aligned(kept, like.ndim) if isinstance(t, Jet) else kept
            rest += (kept if times == 1 else kept * times,)
            continue
        columns += waiting.columns if times == 1 else tuple(c * times for c in waiting.columns)
        rows += waiting.rows
        rest += waiting.rest if times == 1 else tuple(c * times for c in waiting.rest)
    return Jet(OuterProducts(A, whole.shape, columns, rows, rest))


def of_axes(A: Arithmetic, a: Jet, axes: Sequence[int]) -> Jet | None:
    """The sum over axes of coefficients, where outer products wait and no axis is theirs; else None."""
    waiting = a.waiting
    if waiting is None or waiting.rest or not axes or max(axes) >= a.ndim or len(waiting.columns) > 1:
        return None
    return Jet(waiting.summed(axes))


def of_stack(A: Arithmetic, tensors: Sequence[Any], dim: int) -> Jet | None:
    """Outer products that wait, along a new axis that comes before theirs; else None."""
    found = [_waiting(t) for t in tensors]
    if dim > tensors[0].ndim - 2 or not all(w is not None and w.is_single for w in found):
        return None
    if len({(t.shape, t.dtype) for t in tensors}) > 1:
        return None
    columns = torch.stack(found[0]._alike([w.columns[0] for w in found], -1), dim + 2)
    rows = torch.stack(found[0]._alike([w.rows[0] for w in found], -2), dim + 2)
    shape = list(found[0].shape)
    shape.insert(dim + 2, len(found))
    return Jet(OuterProducts(A, torch.Size(shape), (columns,), (rows,)))
