"""Eigenvalues, singular values, QR, the pseudoinverse and the exponential of matrices."""

import functools
import math
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet, Refused, is_seen, rule
from riemann._arithmetic.leibniz import moves, product, stays
from riemann._arithmetic.linear_algebra import _hermitian, blocks_of, inverse, mixed_terms


def _crowded(values: Tensor) -> Tensor:
    """Where values, in order, meet to half their digits."""
    scale = values.abs().amax(-1, keepdim=True)
    close = torch.diff(values, dim=-1).abs() <= torch.finfo(values.dtype).eps ** 0.5 * scale
    edge = torch.zeros_like(values[..., :1], dtype=torch.bool)
    return torch.cat((close, edge), -1) | torch.cat((edge, close), -1)


def _sizes(c: Tensor) -> Tensor:
    """Of the coefficients of matrices, one for each: 0 where the matrix is."""
    return c.abs().sum((-2, -1))


def eigen(A: Arithmetic, c: Tensor, values: Tensor, vectors: Tensor, some: int) -> tuple[Tensor, Tensor]:
    """Coefficients of the first `some` eigenvalues and eigenvectors of Hermitian matrices, from all at the points."""
    a = [vectors.mH @ b @ vectors for b in blocks_of(A, c)]
    n = values.shape[-1]
    eye = torch.eye(n, some, dtype=torch.bool, device=c.device)
    gap = torch.where(eye, 1, values[..., None, :some] - values[..., :, None])  # a gradient passes where nothing is 0
    y = [eye.to(c.dtype).expand(1, *gap.shape[1:])]
    logs = [torch.diag_embed(values[..., :some]).to(c.dtype)]
    for k in range(1, len(a)):
        R = a[k] @ y[0] + mixed_terms(A, a, y, k) - mixed_terms(A, y, logs, k)
        diagonal = R.diagonal(dim1=-2, dim2=-1).real if R.is_complex() else R.diagonal(dim1=-2, dim2=-1)
        norm = mixed_terms(A, [t.conj() for t in y], y, k, lambda p, q: (p * q).sum(-2))
        own = -0.5 * norm if isinstance(norm, Tensor) else torch.zeros_like(diagonal)
        off = R / torch.where((R == 0) & (gap == 0), 1, gap)
        widened = torch.zeros_like(off)
        widened[..., :some, :] = torch.diag_embed(own.to(off.dtype))
        y.append(torch.where(eye, widened, off))
        logs.append(torch.diag_embed(diagonal).to(c.dtype))
    lambdas = torch.cat([l.diagonal(dim1=-2, dim2=-1) for l in logs])
    return lambdas.real if lambdas.is_complex() else lambdas, vectors @ torch.cat(y)


@rule("_linalg_eigh", "linalg_eigh")
def _eigh(A: Arithmetic, a: Jet, UPLO: str = "L", compute_v: bool = True) -> Any:
    c = _hermitian(a.c, UPLO == "U")
    values, vectors = torch.linalg.eigh(c[:1])
    lambdas, V = eigen(A, c, values, vectors, a.shape[-1])
    lost = moves(A, _sizes(c).unsqueeze(-1), _crowded(values[0])) if a.shape[-1] else values[0] != 0
    lambdas = A.unknown_from(lambdas, lost)
    V = A.unknown_from(V, lost.unsqueeze(-2))
    return Jet(lambdas), Jet(V)


@rule("linalg_eigvalsh")
def _eigvalsh(A: Arithmetic, a: Jet, UPLO: str = "L") -> Jet:
    return _eigh(A, a, UPLO)[0]


@rule("_linalg_svd", "linalg_svd")
def _svd(A: Arithmetic, a: Jet, full_matrices: bool = False, compute_uv: bool = True, *, driver: Any = None) -> Any:
    """By the eigenvectors of [[0, A], [A^H, 0]] with eigenvalues sigma: (u, v) / sqrt 2."""
    m, n = a.shape[-2:]
    k, c = min(m, n), a.c
    U, sigma, Vh = torch.linalg.svd(c[:1], full_matrices=True)
    zeros = [c.new_zeros((*c.shape[:-2], size, size)) for size in (m, n)]
    both = torch.cat([torch.cat([zeros[0], c], -1), torch.cat([c.mH, zeros[1]], -1)], -2)
    left, right = U[..., :k], Vh.mH[..., :k]
    columns = [torch.cat([left, right], -2) * 0.5**0.5, torch.cat([left, -right], -2) * 0.5**0.5]
    rest = [
        torch.cat([U[..., k:], torch.zeros((*U.shape[:-2], n, m - k), dtype=c.dtype, device=c.device)], -2),
        torch.cat([torch.zeros((*U.shape[:-2], m, n - k), dtype=c.dtype, device=c.device), Vh.mH[..., k:]], -2),
    ]
    vectors = torch.cat([*columns, *rest], -1)
    values = torch.cat([sigma, -sigma, sigma.new_zeros((*sigma.shape[:-1], m + n - 2 * k))], -1)
    lambdas, W = eigen(A, both, values, vectors, k)
    lost = moves(A, _sizes(c).unsqueeze(-1), _crowded(sigma[0]) | (sigma[0] == 0))
    lambdas = A.unknown_from(torch.cat([sigma, lambdas[1:]]), lost)
    W = A.unknown_from(W, lost.unsqueeze(-2)) * 2**0.5
    of_U, of_V = W[..., :m, :], W[..., m:, :]
    if full_matrices:
        of_U, of_V = (
            torch.cat([t, A.padded(extra, len(t)) * 1], -1) if extra.shape[-1] else t
            for t, extra in ((of_U, U[..., k:]), (of_V, Vh.mH[..., k:]))
        )
        if m > k:
            of_U = torch.cat(
                [of_U[:1], torch.cat([of_U[1:, ..., :k], torch.full_like(of_U[1:, ..., k:], math.nan)], -1)]
            )
        if n > k:
            of_V = torch.cat(
                [of_V[:1], torch.cat([of_V[1:, ..., :k], torch.full_like(of_V[1:, ..., k:], math.nan)], -1)]
            )
    return Jet(of_U), Jet(lambdas), Jet(of_V.mH)


@rule("linalg_svdvals")
def _svdvals(A: Arithmetic, a: Jet, *, driver: Any = None) -> Jet:
    return _svd(A, a)[1]


@rule("linalg_qr")
def _qr(A: Arithmetic, a: Jet, mode: str = "reduced") -> Any:
    m, n = a.shape[-2:]
    if len(a.c) == 1:
        return tuple(map(Jet, torch.linalg.qr(a.c, mode)))
    if m < n or (mode == "complete" and m > n):
        raise Refused("has derivatives only where the factor Q is determined; use `mode='reduced'` of a tall matrix")
    b = blocks_of(A, a.c)
    Q, R = torch.linalg.qr(b[0])
    eye = torch.eye(n, dtype=Q.dtype, device=Q.device).expand(R.shape)
    inverse = torch.linalg.solve_triangular(R, eye, upper=True)
    qs, rs = [Q], [R]
    for k in range(1, len(b)):
        W = (b[k] - mixed_terms(A, qs, rs, k)) @ inverse
        M = Q.mH @ W
        S = 0.5 * mixed_terms(A, [q.mH for q in qs], qs, k)
        low = (M + S).tril(-1)
        omega = low - low.mH
        if M.is_complex():
            omega = omega + 1j * torch.diag_embed((M + S).diagonal(dim1=-2, dim2=-1).imag)
        rs.append((M + S - omega) @ R)
        qs.append(Q @ (omega - S) + W - Q @ M)
    return Jet(torch.cat(qs)), Jet(torch.cat(rs))


@rule("linalg_pinv", "pinverse")
def _pinv(A: Arithmetic, a: Jet, *_: Any, hermitian: bool = False, **__: Any) -> Jet:
    """Of matrices of full rank."""
    c, m, n = _hermitian(a.c, upper=False) if hermitian else a.c, *a.shape[-2:]
    times = functools.partial(product, A, times=torch.matmul)
    if m >= n:
        x = times(inverse(A, times(c.mH, c)), c.mH)
    else:
        x = times(c.mH, inverse(A, times(c, c.mH)))
    value = torch.linalg.pinv(c[:1])
    k = min(m, n)
    full = torch.linalg.matrix_rank(c[:1].detach()) == k
    known = full | stays(A, _sizes(c), ~full)
    rest = torch.where(known[..., None, None], x[1:], math.nan)
    return Jet(torch.cat([value, rest]))


@rule("linalg_matrix_exp", "matrix_exp")
def _matrix_exp(A: Arithmetic, a: Jet) -> Jet:
    """The power series of A / 2^k, squared k times."""
    c = a.c
    size = c[0].detach().abs().sum(-1).amax() if c[0].numel() else c.new_zeros(())
    k = _squarings(size)
    times = functools.partial(product, A, times=torch.matmul)
    b = c / 2**k
    one = torch.eye(c.shape[-1], dtype=c.dtype, device=c.device)
    y = A.padded(one.expand(1, *c.shape[1:]), len(c))
    for j in range(14, 0, -1):
        y = times(b, y) / j
        y = torch.cat([y[:1] + one, y[1:]])
    for _ in range(k):
        y = times(y, y)
    return Jet(torch.cat([torch.linalg.matrix_exp(c[:1]), y[1:]]))


def _squarings(size: Tensor) -> int:
    """So many that the series converges in 14 terms; as many as most need where the size cannot be looked at."""
    if not is_seen(size) or not bool(torch.isfinite(size)):
        return 10
    return max(0, math.ceil(math.log2(max(float(size), 1e-30))) + 2)
