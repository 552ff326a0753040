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
    waiting = a.waiting if isinstance(a, Jet) else None
    return waiting if isinstance(waiting, OuterProducts) else None


def _is_number(a: Any) -> bool:
    return isinstance(a, int | float) and not isinstance(a, bool)


def _times(c: Any, factor: Any) -> Any:
    return c if factor == 1 else c * factor


def _kept(A: Arithmetic, a: Any) -> Any:
    """Coefficients of a jet, or a constant, as they are now."""
    if isinstance(a, Jet):
        return a.c.clone() if a.is_written and not A.anew else a.c
    return a.clone() if isinstance(a, Tensor) else a


def of_product(A: Arithmetic, a: Any, b: Any) -> Jet | None:
    """a b where it is an outer product of vectors, or one of these and a number; else None."""
    for one, other in ((a, b), (b, a)):
        if _waiting(one) is not None:
            return _scaled(A, one, other)
    if not (isinstance(a, Jet) and isinstance(b, Jet)) or a.dtype != b.dtype:
        return None
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
    waiting = _waiting(a)
    assert waiting is not None
    if not waiting.is_single:
        return None
    column = waiting.columns[0]
    if isinstance(s, Tensor):
        if s.dtype != a.dtype or s.ndim > a.ndim or any(size != 1 for size in s.shape[-2:]):
            return None
        s = aligned(_kept(A, s), a.ndim) if isinstance(s, Jet) else s
        column = product(A, column, s) if s.ndim == column.ndim else column * s
    elif _is_number(s):
        column = column * s
    else:
        return None
    batch = torch.broadcast_shapes(column.shape[1:-2], waiting.shape[1:-2])
    shape = torch.Size((1, *batch, *waiting.shape[-2:]))
    return Jet(dataclasses.replace(waiting, shape=shape, columns=(column,)))


def of_sum(A: Arithmetic, a: Any, b: Any, alpha: Any) -> Jet | None:
    """a + alpha b where one of them waits and has the shape of the sum; else None."""
    like = next((t for t in (a, b) if _waiting(t) is not None), None)
    if like is None or not isinstance(alpha, numbers.Real) or not (_fits(a, like) and _fits(b, like)):
        return None
    columns, rows, rest = (), (), ()
    for t, factor in ((a, 1), (b, alpha)):
        if (waiting := _waiting(t)) is not None:
            columns += tuple(_times(c, factor) for c in waiting.columns)
            rows += waiting.rows
            rest += tuple(_times(c, factor) for c in waiting.rest)
        elif not (_is_number(t) and t == 0):  # where Python's own `sum` begins
            kept = _kept(A, t)
            rest += (_times(aligned(kept, like.ndim) if isinstance(t, Jet) else kept, factor),)
    return Jet(OuterProducts(A, like.waiting.shape, columns, rows, rest))


def _fits(t: Any, like: Jet) -> bool:
    """Whether a term may be added without another dtype or shape for the sum."""
    if not isinstance(t, Tensor):
        return _is_number(t)
    shape = t.shape if _waiting(t) is not None else torch.broadcast_shapes(t.shape, like.shape)
    return t.dtype == like.dtype and shape == like.shape


def of_axes(A: Arithmetic, a: Jet, axes: Sequence[int]) -> Jet | None:
    """The sum over axes of coefficients, where outer products wait and no axis is theirs; else None."""
    waiting = _waiting(a)
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
