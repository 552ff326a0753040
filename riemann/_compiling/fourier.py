r"""Discrete Fourier transforms of few numbers as products with matrices.

$\hat a_k = \sum_j a_j e^{\mp 2 \pi i j k / n}$, minus forward. Torch's own know their shapes for one number of points
only, and compilers call them as they are.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
MOST = 64  # numbers of a transform that is written out


def _angles(a: Tensor, size: int, forward: bool) -> Tensor:
    r"""$\mp 2 \pi j k / n$, with jk as a whole number below n: no digit of the angle is lost."""
    j = torch.arange(size, device=a.device)
    turns = torch.outer(j, j).remainder(size).to(torch.float64)
    return (-2 if forward else 2) * math.pi / size * turns


def _along(a: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """Products of the vectors along an axis with a matrix."""
    return (a.movedim(dim, -1) @ matrix).movedim(-1, dim)


def _scaled(y: Tensor, sizes: Sequence[int], normalization: int) -> Tensor:
    """Over 1, the root, or all of the number of terms, as torch numbers these."""
    return y * math.prod(sizes) ** (-normalization / 2) if normalization else y


def _fits(a: Tensor, dim: Sequence[int], *more: int) -> bool:
    sizes = [a.shape[d] for d in dim]
    return all(isinstance(size, int) and size <= MOST for size in (*sizes, *more))


def c2c(a: Tensor, dim: list[int], normalization: int, forward: bool) -> Any:
    """Of complex numbers to complex ones."""
    if not _fits(a, dim):
        return NotImplemented
    for d in dim:
        angles = _angles(a, a.shape[d], forward)
        a = _along(a, d, torch.complex(angles.cos(), angles.sin()).to(a.dtype))
    return _scaled(a, [a.shape[d] for d in dim], normalization)


def r2c(a: Tensor, dim: list[int], normalization: int, onesided: bool) -> Any:
    """Of real numbers to complex ones; `onesided`, without the conjugates along the last axis of `dim`."""
    if not _fits(a, dim):
        return NotImplemented
    sizes, last = [a.shape[d] for d in dim], dim[-1]
    angles = _angles(a, sizes[-1], forward=True)[:, : sizes[-1] // 2 + 1 if onesided else None]
    y = torch.complex(_along(a, last, angles.cos().to(a.dtype)), _along(a, last, angles.sin().to(a.dtype)))
    return _scaled(c2c(y, dim[:-1], 0, True), sizes, normalization)


def c2r(a: Tensor, dim: list[int], normalization: int, last_dim_size: int) -> Any:
    """Back to real numbers, from those that are not conjugates of others along the last axis of `dim`."""
    if not _fits(a, dim, last_dim_size):
        return NotImplemented
    sizes, last = [*(a.shape[d] for d in dim[:-1]), last_dim_size], dim[-1]
    y = c2c(a, dim[:-1], 0, False)
    kept = last_dim_size // 2 + 1
    k = torch.arange(kept, device=a.device)
    twice = torch.where((k == 0) | (2 * k == last_dim_size), 1.0, 2.0).unsqueeze(-1).to(torch.float64)
    angles, y = _angles(a, last_dim_size, forward=False)[:kept], y.narrow(last, 0, kept)
    real, imag = y.real, y.imag
    y = _along(real, last, (twice * angles.cos()).to(real.dtype)) - _along(
        imag, last, (twice * angles.sin()).to(real.dtype)
    )
    return _scaled(y, sizes, normalization)


RULES = {aten._fft_c2c.default: c2c, aten._fft_r2c.default: r2c, aten._fft_c2r.default: c2r}
