"""Products, inverses and factorisations of ATen over arrays of elements, by name."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from riemann.bridge._arithmetic import OPERATIONS, Elements, each, filled, of_elements, operation


def _over_matrices(f: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """`f` of the matrices on the last two axes, over the axes before them, which broadcast."""
    batch = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
    flat = [np.broadcast_to(a, batch + a.shape[-2:]).reshape(-1, *a.shape[-2:]) for a in arrays]
    results = [f(*matrices) for matrices in zip(*flat, strict=True)]
    return filled((*batch, *results[0].shape), [c for result in results for c in result.flat])


@operation("mm", "bmm")
def _matmul(E: Elements, A: Any, B: Any) -> np.ndarray:
    return _over_matrices(E.matmul, of_elements(E, A), of_elements(E, B))


@operation("mv")
def _mv(E: Elements, A: Any, v: Any) -> np.ndarray:
    return _matmul(E, A, v[:, None])[:, 0]


@operation("dot", "vdot")
def _dot(E: Elements, u: Any, v: Any) -> np.ndarray:
    return _matmul(E, u[None, :], v[:, None])[0, 0]


@operation("addmm", "baddbmm", "addmv")
def _addmm(E: Elements, C: Any, A: Any, B: Any, beta: Any = 1, alpha: Any = 1) -> np.ndarray:
    product = _mv(E, A, B) if B.ndim == 1 else _matmul(E, A, B)
    scaled = C if beta == 1 else each(E, operator.mul, C, beta)
    return OPERATIONS["add"](E, scaled, product, alpha)


@operation("linalg_cross")
def _cross(E: Elements, u: np.ndarray, v: np.ndarray, dim: int = -1) -> np.ndarray:
    (a, b, c), (d, e, f) = (np.moveaxis(w, dim, 0) for w in np.broadcast_arrays(u, v))
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=dim)


@operation("linalg_inv_ex")
def _inverse(E: Elements, A: np.ndarray, check_errors: bool = False) -> Any:
    return _over_matrices(E.inverse, A), np.zeros(A.shape[:-2], dtype=int)


@operation("linalg_cholesky_ex")
def _cholesky(E: Elements, A: np.ndarray, upper: bool = False, check_errors: bool = False) -> Any:
    def factor(A: np.ndarray) -> np.ndarray:
        L = filled(A.shape, [E.number(0)] * A.size)
        for j in range(len(A)):
            L[j, j] = E.call("sqrt", E.clean(A[j, j] - E.total(c * c for c in L[j, :j])))
            for i in range(j + 1, len(A)):
                products = E.total(a * b for a, b in zip(L[i, :j], L[j, :j], strict=True))
                L[i, j] = E.clean((A[i, j] - products) / L[j, j])
        return L.T if upper else L

    return _over_matrices(factor, A.swapaxes(-2, -1) if upper else A), np.zeros(A.shape[:-2], dtype=int)


@operation("linalg_solve_triangular")
def _solve_triangular(
    E: Elements, A: np.ndarray, B: np.ndarray, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> np.ndarray:
    def solve(A: np.ndarray, B: np.ndarray) -> np.ndarray:
        X, n = filled(B.shape, [E.number(0)] * B.size), len(A)
        for i in reversed(range(n)) if upper else range(n):
            done = slice(i + 1, n) if upper else slice(0, i)
            for k in range(B.shape[1]):
                rest = B[i, k] - E.total(a * x for a, x in zip(A[i, done], X[done, k], strict=True))
                X[i, k] = E.clean(rest if unitriangular else E.quotient(rest, A[i, i]))
        return X

    A, B = of_elements(E, A), of_elements(E, B)
    if left:
        return _over_matrices(solve, A, B)
    upper = not upper
    return _over_matrices(lambda A, B: solve(A.T, B.T).T, A, B)


@operation("cholesky_solve")
def _cholesky_solve(E: Elements, B: np.ndarray, L: np.ndarray, upper: bool = False) -> np.ndarray:
    L = L.swapaxes(-2, -1) if upper else L
    Y = _solve_triangular(E, L, B, upper=False)
    return _solve_triangular(E, L.swapaxes(-2, -1), Y, upper=True)


@operation("linalg_lu_factor_ex")
def _lu_factor(E: Elements, A: np.ndarray, pivot: bool = True, check_errors: bool = False) -> Any:
    def factor(A: np.ndarray) -> np.ndarray:
        LU, pivots = A.copy(), []
        for k in range(len(A)):
            p = k + (E.pivot(list(LU[k:, k])) if pivot else 0)
            pivots.append(p + 1)
            LU[[k, p]] = LU[[p, k]]
            for i in range(k + 1, len(A)):
                LU[i, k] = E.clean(E.quotient(LU[i, k], LU[k, k]))
                LU[i, k + 1 :] = [
                    E.clean(a - LU[i, k] * b) for a, b in zip(LU[i, k + 1 :], LU[k, k + 1 :], strict=True)
                ]
        return np.column_stack([LU, filled((len(A),), pivots)])

    n = A.shape[-1]
    both = _over_matrices(factor, A)
    return both[..., :n], both[..., n].astype(int), np.zeros(A.shape[:-2], dtype=int)


@operation("lu_unpack")
def _lu_unpack(
    E: Elements, LU: np.ndarray, pivots: np.ndarray, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    n, zero, one = LU.shape[-1], E.number(0), E.number(1)
    eye = np.eye(n, dtype=bool)
    L = np.where(eye, one, np.where(np.tri(n, k=-1, dtype=bool), LU, zero))
    U = np.where(np.tri(n, k=-1, dtype=bool), zero, LU)
    P, _, _ = torch.lu_unpack(torch.zeros(LU.shape), torch.from_numpy(pivots.astype(np.int32)), unpack_data=False)
    return of_elements(E, P.numpy()), L, U


@operation("linalg_matrix_exp")
def _matrix_exp(E: Elements, A: np.ndarray) -> np.ndarray:
    return _over_matrices(E.exponential, A)
