"""Bounds of the quotients of two quadratic forms on many boxes, in float64 with every rounding inside."""

import math
from typing import Any

import torch
from torch import Tensor

from riemann._certified.boxes import Boxes
from riemann._certified.intervals import Interval, U, up
from riemann._certified.stacks import Stack


def quotients(Q: Interval, G: Interval) -> tuple[Tensor, Tensor]:
    """Bounds of Q(v) / G(v) for all v, of forms `(boxes, m, m)`: Gershgorin's discs in a frame that suits both.

    NaN where G is not certainly positive definite. The frame is computed as it comes: any one will do.
    """
    nearly, L = framed(Q.mid, G.mid)
    T = torch.linalg.solve_triangular(L.mT, torch.linalg.eigh(nearly)[1], upper=True)
    T = Interval(T, torch.zeros_like(T))
    Q, G = (_times(_transposed(T), _times(F, T)) for F in (Q, G))
    unit = _unit(G)
    off = up((G - unit).mid.abs() + (G - unit).rad).sum(-1).amax(-1)
    off = torch.where(off < 0.99, off * 1.000001, math.nan)
    diagonal = Interval(*(torch.diagonal(part, dim1=-2, dim2=-1) for part in (Q.mid, Q.rad)))
    beside = up((Q.mid.abs() * (1 - unit.mid) + Q.rad * (1 - unit.mid)).sum(-1), len(unit.mid[0]) + 30)
    low = (_exactly(diagonal.lower()) - _exactly(beside)).lower().amin(-1)
    high = (_exactly(diagonal.upper()) + _exactly(beside)).upper().amax(-1)
    near, far = (1 - off) * (1 - 4 * U), (1 + off) * (1 + 4 * U)
    low = torch.where(low > 0, low / far, low / near)
    high = torch.where(high > 0, high / near, high / far)
    return low - 4 * U * low.abs(), high + 4 * U * high.abs()


def framed(Q: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
    """Q in a frame that is orthonormal for G, nearly, and Cholesky's factor of G."""
    L, info = torch.linalg.cholesky_ex(G.nan_to_num(0.0, 0.0, 0.0))
    L = torch.where((info == 0)[:, None, None], L, torch.eye(G.shape[-1], dtype=G.dtype))
    half = torch.linalg.solve_triangular(L, Q.nan_to_num(0.0, 0.0, 0.0), upper=False)
    full = torch.linalg.solve_triangular(L, half.mT, upper=False)
    return ((full + full.mT) / 2).nan_to_num(0.0, 0.0, 0.0), L


def values(M: list[list[Any]], E: Boxes) -> Interval:
    """The values of a matrix of forms over the boxes, `(boxes, m, m)`."""
    form = lambda x: x if isinstance(x, Stack) else E.constant(x)
    entries = [[form(e).value for e in row] for row in M]
    stacked = lambda part: torch.stack([torch.stack([getattr(e, part) for e in row], -1) for row in entries], -2)
    return Interval(stacked("mid"), stacked("rad"))


def _exactly(x: Tensor) -> Interval:
    return Interval(x, torch.zeros_like(x))


def _unit(like: Interval) -> Interval:
    return _exactly(torch.eye(like.mid.shape[-1], dtype=torch.float64).expand_as(like.mid))


def _transposed(A: Interval) -> Interval:
    return Interval(A.mid.mT, A.rad.mT)


def _times(A: Interval, B: Interval) -> Interval:
    """The products of matrices."""
    k = A.mid.shape[-1]
    terms = Interval(A.mid[..., None], A.rad[..., None]) * Interval(B.mid[:, None], B.rad[:, None])
    size = terms.mid.abs().sum(-2)
    return Interval(terms.mid.sum(-2), up(terms.rad.sum(-2) + k * U * size, k + 30))
