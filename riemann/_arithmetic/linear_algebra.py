r"""Inverses, solutions and factorisations: degree by degree from the equation that defines them.

Where $F(A, X) = 0$ is bilinear, the derivative of degree k of X stands in it once with the values of the rest, beside
the terms of Leibniz with derivatives of lower degree, which are known.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet, Refused, is_seen, rule
from riemann._arithmetic.leibniz import product


def blocks_of(A: Arithmetic, c: Tensor) -> list[Tensor]:
    """The derivatives of each degree, `(count, points, …)`."""
    c = A.padded(c, A.orders.counts[-1])
    return [A.orders.block(c, k) for k in range(A.orders.order + 1)]


def mixed_terms(
    A: Arithmetic, a: list[Tensor], b: list[Tensor], k: int, times: Callable[..., Tensor] = torch.matmul
) -> Any:
    """The terms of Leibniz for degree k in which neither factor is a value."""
    terms = [times(a[p].index_select(0, I), b[q].index_select(0, J)) for p, I, q, J in A.orders.splits[k]]
    return functools.reduce(torch.add, terms) if terms else 0


def both_of(A: Arithmetic, *args: Any) -> list[Tensor]:
    """Coefficients of matrices, constants too, with batch axes that broadcast."""
    ndim = max(a.ndim for a in args)
    return [A.coefficients(a)[(slice(None), slice(None), *[None] * (ndim - a.ndim))] for a in args]


def inverse(A: Arithmetic, c: Tensor) -> Tensor:
    """Coefficients of the inverse of matrices."""
    a = blocks_of(A, c)
    x = [torch.linalg.inv_ex(a[0])[0]]
    for k in range(1, len(a)):
        x.append(-x[0] @ (a[k] @ x[0] + mixed_terms(A, a, x, k)))
    return torch.cat(x)


def solved(A: Arithmetic, c: Tensor, b: Tensor, value: Tensor, inverse: Tensor) -> Tensor:
    """Coefficients of X in A X = B from its value and the inverse of the value of A, `(1, points, …, n, n)`."""
    a, b = blocks_of(A, c), blocks_of(A, b)
    x = [value]
    for k in range(1, len(a)):
        x.append(inverse @ (b[k] - a[k] @ x[0] - mixed_terms(A, a, x, k)))
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
    c, d = both_of(A, a, b)
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
    c, d = both_of(A, a, b)
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
    b = blocks_of(A, _hermitian(a.c, upper))
    L, info = torch.linalg.cholesky_ex(b[0])
    if check_errors and is_seen(info) and bool(info.any()):
        raise Refused("needs a positive-definite matrix at every point")
    L = torch.where((info != 0)[..., None, None], math.nan, L)
    eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape)
    inverse, x = torch.linalg.solve_triangular(L, eye, upper=False), [L]
    adjoint = lambda p, q: p @ q.mH
    for k in range(1, len(b)):
        S = inverse @ (b[k] - mixed_terms(A, x, x, k, adjoint)) @ inverse.mH
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
    b = blocks_of(A, P.mT @ a.c)
    eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape)
    of_L = torch.linalg.solve_triangular(L, eye, upper=False, unitriangular=True)
    of_U = torch.linalg.solve_triangular(U, eye, upper=True)
    ls, us = [L], [U]
    for k in range(1, len(b)):
        S = of_L @ (b[k] - mixed_terms(A, ls, us, k)) @ of_U
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
