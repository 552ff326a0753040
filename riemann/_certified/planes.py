r"""Four-forms as quadratic forms on bivectors: $\omega(u \wedge v \wedge u \wedge v) = 0$, so they are 0 on planes.

A bound of $Q + \omega$ on all bivectors is one of Q on planes, whatever $\omega$ is. In four dimensions there is one
four-form up to a factor, and the best factor loses nothing (Thorpe, *Math. Ann.* 194, 1971); from five on planes are
cut out by several, and even the best may lose something.
"""

import functools
import itertools

import torch
from torch import Tensor

STAGES, STEPS = (0.3, 0.1, 0.03, 0.01, 0.003), 25  # of the ascent: how smooth, beside the size of the form


@functools.cache
def four_forms(n: int) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """For each of the unit four-forms: the places i < j, among pairs, of its entries, and their signs."""
    place = {pair: k for k, pair in enumerate(itertools.combinations(range(n), 2))}
    return tuple(
        ((place[a, b], place[c, d], 1), (place[a, c], place[b, d], -1), (place[a, d], place[b, c], 1))
        for a, b, c, d in itertools.combinations(range(n), 4)
    )


def best_shift(M: Tensor, G: Tensor, n: int) -> Tensor:
    r"""Coefficients of the $\omega$ for which the smallest eigenvalue of $M + \omega$ relative to G is largest, nearly.

    That eigenvalue is a concave function of them. Nothing depends on how good they are but how much is proved.

    Args:
        M: `(boxes, pairs, pairs)`.
        G: `(boxes, pairs, pairs)`.
        n: the dimension.

    Returns:
        `(boxes, four-forms)`; 0 where M or G is not known.
    """
    size = M.shape[-1]
    forms = M.new_zeros(len(four_forms(n)), size, size)
    for form, entries in zip(forms, four_forms(n), strict=True):
        for i, j, sign in entries:
            form[i, j] = form[j, i] = float(sign)
    L, info = torch.linalg.cholesky_ex(G.nan_to_num(0.0))
    good = (info == 0) & M.isfinite().flatten(1).all(1)
    L = torch.where(good[:, None, None], L, torch.eye(size, dtype=M.dtype))
    framed = lambda F, L: torch.linalg.solve_triangular(
        L, torch.linalg.solve_triangular(L, F, upper=False).mT, upper=False
    )
    A = framed(torch.where(good[:, None, None], M, 0.0), L)
    S = framed(forms.expand(len(M), -1, -1, -1), L[:, None])
    t = _on_a_line(A, S[:, 0])[:, None] if n == 4 else _ascended(A, S)
    return torch.where(good[:, None] & t.isfinite(), t, 0.0)


def _on_a_line(A: Tensor, S: Tensor) -> Tensor:
    smallest = lambda t: torch.linalg.eigvalsh(A + t[:, None, None] * S)[:, 0]
    w, size = torch.linalg.eigvalsh(A), torch.linalg.eigvalsh(S)[:, -1]
    high = (w[:, -1] - w[:, 0]) / size
    low = -high
    for _ in range(40):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        better = smallest(left) < smallest(right)
        low, high = torch.where(better, left, low), torch.where(better, high, right)
    return (low + high) / 2


def _ascended(A: Tensor, S: Tensor) -> Tensor:
    r"""Accelerated gradients of the smooth minimum $-\mu \log \mathrm{tr}\, e^{-(A + \omega) / \mu}$, by stages."""
    C = torch.linalg.inv(torch.linalg.cholesky(torch.einsum("bqij,brij->bqr", S, S)))  # to an orthonormal basis
    S = torch.einsum("brq,bqij->brij", C, S)
    shifted = lambda s: A + torch.einsum("br,brij->bij", s, S)
    smallest = lambda s: torch.linalg.eigvalsh(shifted(s))[:, 0]
    w = torch.linalg.eigvalsh(A)
    size = (w[:, -1] - w[:, 0]).clamp(min=1e-300)[:, None]
    best = s = A.new_zeros(S.shape[:2])
    for stage in STAGES:
        before = s
        for k in range(STEPS):
            ahead = s + (k / (k + 3)) * (s - before)
            w, v = torch.linalg.eigh(shifted(ahead))
            weights = torch.softmax(-w / (stage * size), -1)
            slope = torch.einsum("bk,bik,bjk,brij->br", weights, v, v, S)
            before, s = s, ahead + stage * size * slope
        best = torch.where((smallest(s) > smallest(best))[:, None], s, best)
    return torch.einsum("br,brq->bq", best, C)
