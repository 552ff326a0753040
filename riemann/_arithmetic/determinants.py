"""Determinants, of singular matrices, too."""

import functools
import itertools
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet, rule
from riemann._arithmetic.leibniz import composed, product
from riemann._arithmetic.linear_algebra import blocks_of, inverse


def log_determinant(A: Arithmetic, c: Tensor) -> tuple[Tensor, Tensor]:
    """The sign (or phase) and coefficients of log |det| of regular matrices."""
    a = blocks_of(A, c)
    sign, value = _log_determinant_of(a[0])
    logs, x = [value], blocks_of(A, inverse(A, c))
    trace = lambda p, q: torch.einsum("...ij,...ji->...", p, q)
    for k in range(1, len(a)):
        total = trace(x[0], a[k])
        for p, I, q, J in A.orders.splits[k]:
            if _holds_first(A, k, q, J):
                total = total + trace(x[p].index_select(0, I), a[q].index_select(0, J))
        logs.append(total)
    y = torch.cat(logs)
    return sign, y.real if y.is_complex() else y


def _log_determinant_of(a: Tensor) -> tuple[Tensor, Tensor]:
    """Sign and log |det| by LU: torch's own have wrong forward derivatives."""
    LU, pivots, _ = torch.linalg.lu_factor_ex(a)
    swaps = (pivots != torch.arange(1, a.shape[-1] + 1, device=a.device, dtype=pivots.dtype)).sum(-1)
    diagonal = LU.diagonal(dim1=-2, dim2=-1)
    sign = (1 - 2 * (swaps % 2)).to(a.dtype) * torch.sgn(diagonal).prod(-1)
    return sign, diagonal.abs().log().sum(-1)


def _holds_first(A: Arithmetic, k: int, q: int, J: Tensor) -> bool:
    """Whether a term of Leibniz differentiates its second factor by the first variable of each index."""
    return any(J is second for second in _firsts(A.orders, k))


@functools.lru_cache(maxsize=256)
def _firsts(orders: Any, k: int) -> list[Tensor]:
    found, position = [], 0
    for p in range(1, k):
        for first in itertools.combinations(range(k), p):
            if 0 not in first:
                found.append(orders.splits[k][position][3])
            position += 1
    return found


def determinant(A: Arithmetic, c: Tensor) -> Tensor:
    """Coefficients of the determinant, of singular matrices, too."""
    n = c.shape[-1]
    times = functools.partial(product, A)

    def minus(p: Tensor, q: Tensor) -> Tensor:
        count = max(len(p), len(q))
        return A.padded(p, count) - A.padded(q, count)

    if n == 0:
        return torch.ones(c.shape[:-2], dtype=c.dtype, device=c.device)[:1]
    if n == 1:
        return c[..., 0, 0]
    if n == 2:
        return minus(times(c[..., 0, 0], c[..., 1, 1]), times(c[..., 0, 1], c[..., 1, 0]))
    if n == 3:
        u, v = c[..., 1, :], c[..., 2, :]
        cross = minus(times(u.roll(-1, -1), v.roll(-2, -1)), times(u.roll(-2, -1), v.roll(-1, -1)))
        return times(c[..., 0, :], cross).sum(-1)
    if n == 4:  # Laplace's expansion by pairs of columns
        left, right = [0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]
        upper, lower = (
            minus(times(c[..., r, left], c[..., r + 1, right]), times(c[..., r, right], c[..., r + 1, left]))
            for r in (0, 2)
        )
        sign = torch.tensor([1, -1, 1, 1, -1, 1], dtype=c.dtype, device=c.device)
        return (times(upper, lower.flip(-1)) * sign).sum(-1)
    rows, columns, parity = _pivots(c[0].detach())
    c = c.gather(-2, rows.unsqueeze(-1).expand(c.shape)).gather(-1, columns.unsqueeze(-2).expand(c.shape))
    k = n - 4  # regular if the rank is at least that
    P, Q, R, S = c[..., :k, :k], c[..., :k, k:], c[..., k:, :k], c[..., k:, k:]
    schur = minus(S, times(R, times(inverse(A, P), Q, torch.matmul), torch.matmul))
    sign, logs = log_determinant(A, P)
    head = sign[0] * logs[0].exp()
    first = composed(A, [head] * (A.orders.order + 1), logs)
    found = times(first, determinant(A, schur)) * parity
    lost = (head == 0).expand(found.shape)  # of rank n - 5 or less: at least five factors vanish
    return torch.where(lost, 0, found)


def _pivots(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns in the order of complete pivoting, and the sign of both permutations."""
    n = a.shape[-1]
    a = a.clone()
    rows = torch.arange(n, device=a.device).expand(a.shape[:-1]).clone()
    columns = rows.clone()
    parity = torch.ones(a.shape[:-2], dtype=a.dtype, device=a.device)
    for k in range(n):
        size = a[..., k:, k:].abs().nan_to_num().flatten(-2)
        place = size.argmax(-1)
        i, j = k + place // (n - k), k + place % (n - k)
        for axis, which, order in ((-2, i, rows), (-1, j, columns)):
            swap = torch.arange(n, device=a.device).expand(a.shape[:-1]).clone()
            swap.scatter_(-1, which.unsqueeze(-1), k)
            swap[..., k] = which
            order.copy_(order.gather(-1, swap))
            a = a.gather(axis, swap.unsqueeze(-1 if axis == -2 else -2).expand(a.shape))
            parity = torch.where(which == k, parity, -parity)
        pivot = a[..., k, k]
        safe = torch.where(pivot == 0, 1, pivot)
        if k + 1 < n:
            ratio = a[..., k + 1 :, k] / safe[..., None]
            a[..., k + 1 :, :] -= ratio.unsqueeze(-1) * a[..., k : k + 1, :]
    return rows.unsqueeze(0), columns.unsqueeze(0), parity


@rule("_linalg_det", "linalg_det", "det")
def _det(A: Arithmetic, a: Jet) -> Any:
    LU, pivots, _ = torch.linalg.lu_factor_ex(a.c[:1].detach())
    return Jet(determinant(A, a.c)), Jet(LU), Jet(pivots)


@rule("_linalg_slogdet", "linalg_slogdet", "slogdet")
def _slogdet(A: Arithmetic, a: Jet) -> Any:
    sign, logs = log_determinant(A, a.c)
    LU, pivots, _ = torch.linalg.lu_factor_ex(a.c[:1].detach())
    return Jet(sign), Jet(logs), Jet(LU), Jet(pivots)
