r"""Inverses, factorisations and spectra: degree by degree from the equation that defines them.

Where $F(A, X) = 0$ is bilinear, the derivative of degree k of X stands in it once with the values of the rest, beside
the terms of Leibniz with derivatives of lower degree, which are known.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.jet import Arithmetic, Jet, Refused, is_seen, rule
from riemann._arithmetic.leibniz import composed, is_constant, product


def _blocks(A: Arithmetic, c: Tensor) -> list[Tensor]:
    """The derivatives of each degree, `(count, points, …)`."""
    c = A.padded(c, A.orders.counts[-1])
    return [A.orders.block(c, k) for k in range(A.orders.order + 1)]


def _mixed(A: Arithmetic, a: list[Tensor], b: list[Tensor], k: int, times: Callable[..., Tensor] = torch.matmul) -> Any:
    """The terms of Leibniz for degree k in which neither factor is a value."""
    terms = [times(a[p].index_select(0, I), b[q].index_select(0, J)) for p, I, q, J in A.orders.splits[k]]
    return functools.reduce(torch.add, terms) if terms else 0


def _both(A: Arithmetic, *args: Any) -> list[Tensor]:
    """Coefficients of matrices, constants too, with batch axes that broadcast."""
    ndim = max(a.ndim for a in args)
    return [A.coefficients(a)[(slice(None), slice(None), *[None] * (ndim - a.ndim))] for a in args]


def inverse(A: Arithmetic, c: Tensor) -> Tensor:
    """Coefficients of the inverse of matrices."""
    a = _blocks(A, c)
    x = [torch.linalg.inv_ex(a[0])[0]]
    for k in range(1, len(a)):
        x.append(-x[0] @ (a[k] @ x[0] + _mixed(A, a, x, k)))
    return torch.cat(x)


def solved(A: Arithmetic, c: Tensor, b: Tensor, value: Tensor, inverse: Tensor) -> Tensor:
    """Coefficients of X in A X = B from its value and the inverse of the value of A, `(1, points, …, n, n)`."""
    a, b = _blocks(A, c), _blocks(A, b)
    x = [value]
    for k in range(1, len(a)):
        x.append(inverse @ (b[k] - a[k] @ x[0] - _mixed(A, a, x, k)))
    return torch.cat(x)


@rule("linalg_inv_ex")
def _inv_ex(A: Arithmetic, a: Jet, *, check_errors: bool = False) -> Any:
    y = inverse(A, a.c)
    return Jet(y), Jet(torch.linalg.inv_ex(a.c[:1].detach())[1])


@rule("_linalg_check_errors", "linalg_check_errors")
def _check_errors(A: Arithmetic, *_: Any, **__: Any) -> None:
    """A matrix that cannot be factorised gives NaN or infinity at its point, and the metric is said to be singular."""


rule("inverse", "linalg_inv")(lambda A, a: Jet(inverse(A, a.c)))


@rule("_linalg_solve_ex", "linalg_solve_ex")
def _solve_ex(A: Arithmetic, a: Any, b: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    vector = b.ndim == 1 or (a.ndim - 1 == b.ndim and a.shape[:-1] == b.shape)
    if vector:
        b = Jet(b.c.unsqueeze(-1)) if isinstance(b, Jet) else b.unsqueeze(-1)
    c, d = _both(A, a, b)
    if not left:
        c, d = c.mT, d.mT
    inverse = torch.linalg.inv_ex(c[:1])[0]  # not `solve`, whose forward derivatives are wrong in torch
    x = solved(A, c, d, inverse @ d[:1], inverse)
    x = x if left else x.mT
    info = torch.linalg.inv_ex(c[:1].detach())[1]
    LU, pivots, _ = torch.linalg.lu_factor_ex(c[:1].detach())
    return Jet(x.squeeze(-1) if vector else x), Jet(LU), Jet(pivots), Jet(info)


@rule("linalg_solve_triangular")
def _solve_triangular(
    A: Arithmetic, a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Jet:
    c, d = _both(A, a, b)
    c = c.triu() if upper else c.tril()
    if unitriangular:
        eye = torch.eye(c.shape[-1], dtype=c.dtype, device=c.device)
        strict = c.triu(1) if upper else c.tril(-1)
        c = torch.cat([strict[:1] + eye, strict[1:]])
    if not left:
        c, d, upper = c.mT, d.mT, not upper
    value = torch.linalg.solve_triangular(c[:1], d[:1], upper=upper)
    eye = torch.eye(c.shape[-1], dtype=c.dtype, device=c.device).expand(c[:1].shape)
    x = solved(A, c, d, value, torch.linalg.solve_triangular(c[:1], eye, upper=upper))
    return Jet(x if left else x.mT)


@rule("triangular_solve")
def _triangular_solve(A: Arithmetic, b: Any, a: Any, upper: bool = True, transpose: bool = False,
                      unitriangular: bool = False) -> Any:  # fmt: skip
    if transpose:
        a, upper = (Jet(a.c.mT) if isinstance(a, Jet) else a.mT), not upper
    return _solve_triangular(A, a, b, upper=upper, unitriangular=unitriangular), a


@rule("cholesky_solve", "_cholesky_solve_helper")
def _cholesky_solve(A: Arithmetic, b: Any, L: Any, upper: bool = False) -> Jet:
    def transposed(t: Any) -> Any:
        return Jet(t.c.mH) if isinstance(t, Jet) else t.mH

    L = transposed(L) if upper else L
    y = _solve_triangular(A, L, b, upper=False)
    return _solve_triangular(A, transposed(L), y, upper=True)


@rule("cholesky_inverse")
def _cholesky_inverse(A: Arithmetic, L: Jet, upper: bool = False) -> Jet:
    eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.c.device)
    return _cholesky_solve(A, eye, L, upper)


def _hermitian(c: Tensor, upper: bool) -> Tensor:
    """What LAPACK sees of matrices: it reads one triangle."""
    return c.triu() + c.triu(1).mH if upper else c.tril() + c.tril(-1).mH


@rule("cholesky")
def _cholesky(A: Arithmetic, a: Jet, upper: bool = False) -> Jet:
    return _cholesky_ex(A, a, upper=upper)[0]


@rule("linalg_cholesky_ex")
def _cholesky_ex(A: Arithmetic, a: Jet, *, upper: bool = False, check_errors: bool = False) -> Any:
    b = _blocks(A, _hermitian(a.c, upper))
    L, info = torch.linalg.cholesky_ex(b[0])
    if check_errors and is_seen(info) and bool(info.any()):
        raise Refused("needs a positive-definite matrix at every point")
    L = torch.where((info != 0)[..., None, None], math.nan, L)
    eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape)
    inverse, x = torch.linalg.solve_triangular(L, eye, upper=False), [L]
    adjoint = lambda p, q: p @ q.mH
    for k in range(1, len(b)):
        S = inverse @ (b[k] - _mixed(A, x, x, k, adjoint)) @ inverse.mH
        x.append(L @ (S.tril(-1) + 0.5 * torch.diag_embed(S.diagonal(dim1=-2, dim2=-1))))
    y = torch.cat(x)
    return Jet(y.mH if upper else y), Jet(info)


def _permutation(pivots: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """The matrix of the exchanges of rows that pivots stand for."""
    order = torch.arange(n, device=pivots.device).expand(*pivots.shape[:-1], n)
    for i, j in enumerate((pivots - 1).long().split(1, -1)):
        here, there = order[..., i : i + 1], order.gather(-1, j)
        order = order.scatter(-1, j, here)
        order = torch.cat([order[..., :i], there, order[..., i + 1 :]], -1)
    return (order.unsqueeze(-2) == torch.arange(n, device=pivots.device).unsqueeze(-1)).to(dtype)


@rule("linalg_lu_factor_ex")
def _lu_factor_ex(A: Arithmetic, a: Jet, *, pivot: bool = True, check_errors: bool = False) -> Any:
    if a.shape[-1] != a.shape[-2]:
        raise Refused("has no rule for derivatives of a matrix that is not square; use `torch.linalg.qr`")
    LU, pivots, info = torch.linalg.lu_factor_ex(a.c[:1], pivot=pivot)
    P, U = _permutation(pivots, a.shape[-1], LU.dtype), LU.triu()
    L = LU.tril(-1) + torch.eye(a.shape[-1], dtype=LU.dtype, device=LU.device)
    b = _blocks(A, P.mT @ a.c)
    eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape)
    of_L = torch.linalg.solve_triangular(L, eye, upper=False, unitriangular=True)
    of_U = torch.linalg.solve_triangular(U, eye, upper=True)
    ls, us = [L], [U]
    for k in range(1, len(b)):
        S = of_L @ (b[k] - _mixed(A, ls, us, k)) @ of_U
        ls.append(L @ S.tril(-1))
        us.append(S.triu() @ U)
    packed = [LU, *(l.tril(-1) + u for l, u in zip(ls[1:], us[1:], strict=True))]
    return Jet(torch.cat(packed)), Jet(pivots), Jet(info)


@rule("lu_unpack")
def _lu_unpack(A: Arithmetic, LU: Any, pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    c, p = A.coefficients(LU), A.coefficients(pivots)
    P = _permutation(p, c.shape[-2], c.dtype)
    eye = torch.eye(c.shape[-2], c.shape[-1], dtype=c.dtype, device=c.device)
    k = min(c.shape[-2:])
    strict = c.tril(-1)[..., :k]
    L = torch.cat([strict[:1] + eye[:, :k], strict[1:]])
    return Jet(P), Jet(L), Jet(c.triu()[..., :k, :])


@rule("linalg_lu_solve")
def _lu_solve(A: Arithmetic, LU: Any, pivots: Any, b: Any, *, left: bool = True, adjoint: bool = False) -> Jet:
    P, L, U = _lu_unpack(A, LU, pivots)
    a = product(A, product(A, P.c, L.c, torch.matmul), U.c, torch.matmul)
    return _solve_ex(A, Jet(a.mH if adjoint else a), b, left=left)[0]


# ------------------------------------------------------------------------------------------ determinants


def log_determinant(A: Arithmetic, c: Tensor) -> tuple[Tensor, Tensor]:
    """The sign (or phase) and coefficients of log |det| of regular matrices."""
    a = _blocks(A, c)
    sign, value = _log_determinant_of(a[0])
    logs, x = [value], _blocks(A, inverse(A, c))
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


# ----------------------------------------------------------------------------------------------- spectra


def _crowded(values: Tensor) -> Tensor:
    """Where values, in order, meet to half their digits."""
    scale = values.abs().amax(-1, keepdim=True)
    close = torch.diff(values, dim=-1).abs() <= torch.finfo(values.dtype).eps ** 0.5 * scale
    edge = torch.zeros_like(values[..., :1], dtype=torch.bool)
    return torch.cat((close, edge), -1) | torch.cat((edge, close), -1)


def eigen(A: Arithmetic, c: Tensor, values: Tensor, vectors: Tensor, some: int) -> tuple[Tensor, Tensor]:
    """Coefficients of the first `some` eigenvalues and eigenvectors of Hermitian matrices, from all at the points."""
    a = [vectors.mH @ b @ vectors for b in _blocks(A, c)]
    n = values.shape[-1]
    gap = values[..., None, :some] - values[..., :, None]
    y = [torch.eye(n, some, dtype=c.dtype, device=c.device).expand(1, *gap.shape[1:])]
    logs = [torch.diag_embed(values[..., :some]).to(c.dtype)]
    for k in range(1, len(a)):
        R = a[k] @ y[0] + _mixed(A, a, y, k) - _mixed(A, y, logs, k)
        diagonal = R.diagonal(dim1=-2, dim2=-1).real if R.is_complex() else R.diagonal(dim1=-2, dim2=-1)
        norm = _mixed(A, [t.conj() for t in y], y, k, lambda p, q: (p * q).sum(-2))
        own = -0.5 * norm if isinstance(norm, Tensor) else torch.zeros_like(diagonal)
        off = torch.where(R == 0, 0, R / gap)
        eye = torch.eye(n, some, dtype=torch.bool, device=c.device)
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
    lost = _crowded(values[0]) & ~is_constant(c).all(-1).all(-1).unsqueeze(-1) if a.shape[-1] else values[0] != 0
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
    lost = (_crowded(sigma[0]) | (sigma[0] == 0)) & ~is_constant(c).all(-1).all(-1).unsqueeze(-1)
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
    b = _blocks(A, a.c)
    Q, R = torch.linalg.qr(b[0])
    eye = torch.eye(n, dtype=Q.dtype, device=Q.device).expand(R.shape)
    inverse = torch.linalg.solve_triangular(R, eye, upper=True)
    qs, rs = [Q], [R]
    for k in range(1, len(b)):
        W = (b[k] - _mixed(A, qs, rs, k)) @ inverse
        M = Q.mH @ W
        S = 0.5 * _mixed(A, [q.mH for q in qs], qs, k)
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
    rest = torch.where(full[..., None, None] | is_constant(c).all(-1).all(-1)[None, ..., None, None], x[1:], math.nan)
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
