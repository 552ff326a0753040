r"""Kronecker factors of $E[a a^T \otimes g]$: their sums, their damped inverses, their error."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

_EIGH = 30  # n³ operations that take as long as an eigendecomposition does: 15 products (7 to 24, n = 512 to 32)


class Factors(NamedTuple):
    """Sums over data: of a aᵀ, of g, of 1."""

    A: Tensor
    B: Tensor
    count: Tensor

    def __add__(self, other: "Factors") -> "Factors":  # type: ignore[override]
        return Factors(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def factors(a: Tensor, g: Tensor | None, m: int) -> Factors:
    """Sums over a batch; `g` is None for the identity of m dimensions."""
    count = a.new_full((), len(a))
    return Factors(a.mT @ a, count * torch.eye(m, dtype=a.dtype, device=a.device) if g is None else g.sum(0), count)


def damped_inverses(A: Tensor, B: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    r"""The inverses of $A + \pi\sqrt\lambda\, I$ and $B + \sqrt\lambda/\pi\, I$; pseudo-inverses where $\lambda = 0$.

    $\pi^2$ is the ratio of the mean eigenvalues of A and B.
    """
    pi = (A.diagonal().mean() / B.diagonal().mean()).sqrt()
    pi = torch.where(pi.isfinite() & (pi > 0), pi, torch.ones_like(pi))  # one of them is 0
    root = math.sqrt(damping)
    return _inverse(A, pi * root if damping else None), _inverse(B, root / pi if damping else None)


def _inverse(A: Tensor, shift: Tensor | None) -> Tensor:
    """The inverse of a positive semidefinite A + shift I; without a shift, the pseudo-inverse."""
    values, vectors = torch.linalg.eigh(A)
    if shift is None:
        floor = len(A) * torch.finfo(A.dtype).eps * values[-1]
        inverse = torch.where(values > floor, 1 / values, torch.zeros_like(values))
    else:
        inverse = 1 / (values.clamp_min(0) + shift)
    return (vectors * inverse) @ vectors.mT


def refresh_operations(count: float, n: int, m: int, columns: int) -> float:
    """Of the factors of a layer from n to m at `count` data, and their inverses; g is pulled back by `columns`."""
    factors = 2 * count * (n**2 + columns * (m**2 + n * m))
    return factors + (_EIGH + 2) * (n**3 + m**3)


def step_operations(count: float, n: int, m: int) -> float:
    """Of such a layer in each step: forward, backward, and the product with the inverses."""
    return 6 * count * n * m + 2 * (n**2 * m + n * m**2)


def relative_error(a: Tensor, g: Tensor | None) -> float:
    r"""$\| E[a a^T \otimes g] - A \otimes B \| / \| E[a a^T \otimes g] \|$ from inner products of data, never dense.

    $E[a a^T \otimes g] - A \otimes B = E[a a^T \otimes (g - B)]$, and $\langle a a^T, b b^T \rangle = (a \cdot b)^2$.
    """
    if g is None or not bool(g.any()):
        return 0.0
    aa = (a @ a.mT) ** 2
    centred, g = (g - g.mean(0)).flatten(1), g.flatten(1)
    square = (aa * (centred @ centred.mT)).sum().clamp_min(0)
    return float((square / (aa * (g @ g.mT)).sum()).sqrt())
