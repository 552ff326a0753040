"""What torch differentiates wrongly, written with what it differentiates right.

Three tables, keyed by the name of the torch function:

- `REWRITES`: a replacement with the same value and right derivatives of every order;
- `KINKS`: where a function has no derivative, so that the derivative there can be NaN instead of a wrong number;
- `REFUSED`: what cannot be written so, with what to write instead.

The sweep over torch's own operator database (tests/test_operators.py) is the proof that they are complete.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

REWRITES: dict[str, Callable[..., Any]] = {}


def _rewrites(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(replacement: Callable[..., Any]) -> Callable[..., Any]:
        REWRITES.update(dict.fromkeys(names, replacement))
        return replacement

    return register


# ------------------------------------------------------------------------------------------------ kinks and roots


def kink(y: Tensor, at: Tensor) -> Tensor:
    """0, whose derivatives are NaN where `at` holds and `y` varies, and 0 elsewhere (sqrt(s) at s = 0, guarded)."""
    s = torch.where(at, y * 0, torch.ones_like(y))
    return torch.where(at, torch.sqrt(s), torch.zeros_like(s))


def root(square: Tensor) -> Tensor:
    """sqrt(square), remembering its smooth square: `norm(x) ** 2` has derivatives at 0, `norm(x)` has none."""
    r = torch.sqrt(square)
    r.riemann_square = square  # type: ignore[attr-defined]
    return r


def square_of(x: Any) -> Tensor | None:
    """The smooth square of `x`, if `x` was made by `root`."""
    return getattr(x, "riemann_square", None)


def _zero(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x == 0


def _integer(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x == torch.round(x)


def _clamped(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    at = torch.zeros_like(x, dtype=torch.bool)
    for bound in (min, max):
        at = at if bound is None else at | (x == bound)
    return at


KINKS: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(
        ("sign", "sgn", "heaviside", "copysign", "relu", "leaky_relu", "prelu", "elu", "selu", "celu"), _zero
    ),
    **dict.fromkeys(("i0e", "i1e", "special_i0e", "special_i1e", "softsign", "nn_functional_softsign"), _zero),
    **dict.fromkeys(("floor", "ceil", "trunc", "fix", "frac"), _integer),
    "round": lambda x, *, decimals=0: _integer(x * 10**decimals + 0.5),
    **dict.fromkeys(("fmod", "remainder", "floor_divide"), lambda x, y: _integer(x / y)),
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max"), _clamped),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0, inplace=False: _clamped(x, min_val, max_val),
    "relu6": lambda x, inplace=False: _clamped(x, 0, 6),
    "hardswish": lambda x, inplace=False: _clamped(x, -3, 3),
    "hardshrink": lambda x, lambd=0.5: _clamped(x, -lambd, lambd),
    "softshrink": lambda x, lambd=0.5: _clamped(x, -lambd, lambd),
    "threshold": lambda x, threshold, value, inplace=False: _clamped(x, threshold),
}

PIECEWISE_LINEAR = frozenset(
    (
        "relu",
        "relu_",
        "leaky_relu",
        "leaky_relu_",
        "prelu",
        "hardtanh",
        "hardtanh_",
        "relu6",
        "hardshrink",
        "softshrink",
    )
    + ("threshold", "threshold_", "rrelu", "rrelu_", "hardsigmoid", "hardswish")
)


@_rewrites("abs", "absolute", "__abs__")
def _abs(x: Tensor) -> Tensor:
    if x.is_complex():
        return torch.abs(x)
    y = torch.abs(x) + kink(x, x == 0)
    y.riemann_square = x * x  # type: ignore[attr-defined]
    return y


@_rewrites("sqrt")
def _sqrt(x: Tensor) -> Tensor:
    return root(x)


@_rewrites("hypot")
def _hypot(x: Tensor, other: Tensor) -> Tensor:
    return root(x * x + other * other)


@_rewrites("sinc", "special_sinc")
def _sinc(x: Tensor) -> Tensor:
    y = math.pi * x
    near = y.abs() < 1
    s = torch.where(near, y, torch.zeros_like(y)) ** 2
    series = torch.ones_like(s)
    for k in range(12, 0, -1):  # sum of (-s)^k / (2k+1)!, nested
        series = 1 - series * s / (2 * k * (2 * k + 1))
    away = torch.where(near, torch.ones_like(y), y)
    return torch.where(near, series, torch.sin(away) / away)


@_rewrites("maximum", "fmax")
def _maximum(x: Tensor, other: Tensor) -> Tensor:
    return torch.maximum(x, other) + kink(x - other, x == other)


@_rewrites("minimum", "fmin")
def _minimum(x: Tensor, other: Tensor) -> Tensor:
    return torch.minimum(x, other) + kink(x - other, x == other)


def _extreme(pick: Callable[..., Tensor], x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    dims = tuple(range(x.ndim)) if dim is None or dim == () else dim
    value = pick(x, dim=dims, keepdim=True)
    value = value + kink(value, (x == value).sum(dims, keepdim=True) > 1) if x.ndim else value
    return value if keepdim else value.squeeze(dims)


@_rewrites("amax")
def _amax(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _extreme(torch.amax, x, dim, keepdim)


@_rewrites("amin")
def _amin(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _extreme(torch.amin, x, dim, keepdim)


@_rewrites("aminmax")
def _aminmax(x: Tensor, *, dim: Any = None, keepdim: bool = False) -> Any:
    return torch.return_types.aminmax((_amin(x, dim, keepdim), _amax(x, dim, keepdim)))  # type: ignore[call-arg]


@_rewrites("max")
def _max(x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return _maximum(x, other)
    if dim is None:
        return _amax(x)
    return torch.return_types.max((_amax(x, dim, keepdim), torch.argmax(x, dim, keepdim)))  # type: ignore[call-arg]


@_rewrites("min")
def _min(x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return _minimum(x, other)
    if dim is None:
        return _amin(x)
    return torch.return_types.min((_amin(x, dim, keepdim), torch.argmin(x, dim, keepdim)))  # type: ignore[call-arg]


def _ties(y: Tensor, dim: int) -> Tensor:
    """Where a sorted array meets its neighbour: the order, so the derivative, is not defined there."""
    same = torch.diff(y, dim=dim) == 0
    edge = torch.zeros_like(y.narrow(dim, 0, 1), dtype=torch.bool)
    return torch.cat((same, edge), dim) | torch.cat((edge, same), dim)


@_rewrites("sort", "msort")
def _sort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    y, order = torch.sort(x, dim=dim, descending=descending, stable=stable)
    y = y + kink(y, _ties(y, dim)) if x.ndim and x.shape[dim] else y
    return torch.return_types.sort((y, order))  # type: ignore[call-arg]


# ------------------------------------------------------------------------------------------------------- norms


def _vector_norm(x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    p = 2.0 if p is None else float(p)
    dims = tuple(range(x.ndim)) if dim is None or dim == () else dim
    if x.is_complex():
        x = root(torch.view_as_real(x).square().sum(-1))

    def total(y: Tensor) -> Tensor:
        return y.sum(dims, keepdim=keepdim) if x.ndim else y

    if p == 2:
        return root(total(x * x))
    if p == math.inf:
        return _extreme(torch.amax, _abs(x), dims, keepdim)
    if p == -math.inf:
        return _extreme(torch.amin, _abs(x), dims, keepdim)
    if p == 1:
        return total(_abs(x))
    if p == 0:
        return total((x != 0).to(x.dtype)) + total(kink(x, x == 0))
    powers = x**p if p % 2 == 0 else _abs(x) ** p
    return total(powers) ** (1 / p)


@_rewrites("linalg_vector_norm")
def _linalg_vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    return _vector_norm(x, ord, dim, keepdim, dtype)


@_rewrites("linalg_matrix_norm")
def _matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    A = A if dtype is None else A.to(dtype)
    rows, columns = (d % A.ndim for d in dim)
    if ord == "fro":
        return _vector_norm(A, 2, (rows, columns), keepdim)
    if ord in (1, -1, math.inf, -math.inf):
        over, then = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = _vector_norm(A, 1, over, keepdim=True)
        norm = _extreme(torch.amax if ord > 0 else torch.amin, sums, then, keepdim=True)
    else:
        sigma = _svdvals(A.movedim((rows, columns), (-2, -1)))
        pick = {"nuc": torch.sum, 2: torch.amax, -2: torch.amin}[ord]
        norm = pick(sigma, dim=-1).unsqueeze(min(rows, columns)).unsqueeze(max(rows, columns))
    return norm if keepdim else norm.squeeze((rows, columns))


@_rewrites("linalg_norm")
def _linalg_norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    if isinstance(ord, str) or (
        ord is not None and (A.ndim == 2 and dim is None or isinstance(dim, Sequence) and len(dim) == 2)
    ):
        return _matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return _vector_norm(A, ord, dim, keepdim, dtype)


@_rewrites("norm")
def _norm(x: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    if p == "nuc":
        return _matrix_norm(x, p, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return _vector_norm(x, 2 if p == "fro" else p, dim, keepdim, dtype)


@_rewrites("dist")
def _dist(x: Tensor, other: Tensor, p: Any = 2) -> Tensor:
    return _vector_norm(x - other, p)


@_rewrites("cdist")
def _cdist(x1: Tensor, x2: Tensor, p: Any = 2.0, compute_mode: Any = None) -> Tensor:
    return _vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@_rewrites("pdist")
def _pdist(x: Tensor, p: Any = 2.0) -> Tensor:
    i, j = torch.triu_indices(x.shape[0], x.shape[0], 1, device=x.device)
    return _vector_norm(x[i] - x[j], p, -1)


@_rewrites("pairwise_distance")
def _pairwise_distance(x1: Tensor, x2: Tensor, p: Any = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    return _vector_norm(x1 - x2 + eps, p, -1, keepdim)


@_rewrites("cosine_similarity")
def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    norms = [_vector_norm(x, 2, dim, keepdim=True) for x in (x1, x2)]
    u, v = (x / torch.clamp_min(norm, eps) for x, norm in zip((x1, x2), norms, strict=True))
    return (u * v).sum(dim)


# ---------------------------------------------------------------------------------------------- linear algebra


def _symmetric(A: Tensor, upper: bool) -> Tensor:
    """The symmetric matrix that LAPACK sees: it reads one triangle, torch's derivative reads both."""
    return A.triu() + A.triu(1).mT if upper else A.tril() + A.tril(-1).mT


def _lu(A: Tensor) -> tuple[Tensor, Tensor]:
    """The diagonal of U in A = P L U, and the sign of P."""
    lu, pivots = torch.linalg.lu_factor(A)
    swaps = (pivots != torch.arange(1, A.shape[-1] + 1, device=A.device, dtype=pivots.dtype)).sum(-1)
    return lu.diagonal(dim1=-2, dim2=-1), 1 - 2 * (swaps % 2).to(A.dtype)


@_rewrites("det", "linalg_det")
def _det(A: Tensor) -> Tensor:
    n = A.shape[-1]
    if n == 0:
        return A.new_ones(A.shape[:-2])
    if n == 1:
        return A[..., 0, 0]
    if n == 2:
        return A[..., 0, 0] * A[..., 1, 1] - A[..., 0, 1] * A[..., 1, 0]
    if n == 3:  # a polynomial: right where A is singular, too
        return (A[..., 0, :] * torch.linalg.cross(A[..., 1, :], A[..., 2, :])).sum(-1)
    diagonal, det = _lu(A)
    for pivot in diagonal.unbind(-1):
        det = det * pivot
    return det


@_rewrites("slogdet", "linalg_slogdet")
def _slogdet(A: Tensor) -> Any:
    diagonal, sign = _lu(A)
    sign = sign * torch.sign(diagonal).prod(-1)
    return torch.return_types.linalg_slogdet((sign, torch.log(torch.abs(diagonal)).sum(-1)))  # type: ignore[call-arg]


@_rewrites("logdet")
def _logdet(A: Tensor) -> Tensor:
    sign, log_abs_det = _slogdet(A)
    return torch.where(sign < 0, torch.full_like(log_abs_det, math.nan), log_abs_det)


@_rewrites("linalg_solve")
def _solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and A.shape[:-1] == B.shape)
    B = B.unsqueeze(-1) if vector else B
    X = torch.linalg.inv(A) @ B if left else B @ torch.linalg.inv(A)
    return X.squeeze(-1) if vector else X


@_rewrites("linalg_solve_ex")
def _solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    info = torch.linalg.inv_ex(A, check_errors=check_errors).info
    return torch.return_types.linalg_solve_ex((_solve(A, B, left=left), info))  # type: ignore[call-arg]


@_rewrites("linalg_tensorsolve", "tensorsolve")
def _tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    if dims is not None:
        last = [d % A.ndim for d in dims]
        A = A.permute([d for d in range(A.ndim) if d not in last] + last)
    shape = A.shape[B.ndim :]
    return _solve(A.reshape(B.numel(), B.numel()), B.reshape(-1)).reshape(shape)


@_rewrites("linalg_lu_solve", "lu_solve")
def _lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    P, L, U = torch.lu_unpack(LU, pivots)
    A = P @ L @ U
    return _solve(A.mH if adjoint else A, B, left=left)


def _lu_solve_method(B: Tensor, LU: Tensor, pivots: Tensor) -> Tensor:  # torch.lu_solve puts the right-hand side first
    return _lu_solve(LU, pivots, B)


REWRITES["lu_solve"] = _lu_solve_method


@_rewrites("cholesky_inverse")
def _cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device)
    inverse = torch.linalg.solve_triangular(L, eye, upper=upper)
    return inverse @ inverse.mH if upper else inverse.mH @ inverse


@_rewrites("linalg_cholesky", "cholesky")
def _cholesky(A: Tensor, upper: bool = False) -> Tensor:
    return torch.linalg.cholesky(_symmetric(A, upper), upper=upper)


@_rewrites("linalg_cholesky_ex")
def _cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    return torch.linalg.cholesky_ex(_symmetric(A, upper), upper=upper, check_errors=check_errors)


def _crowded(sigma: Tensor) -> Tensor:
    """Where ascending or descending values meet to half their digits: single ones have no derivative there."""
    scale = sigma.abs().amax(-1, keepdim=True)
    close = torch.diff(sigma, dim=-1).abs() <= torch.finfo(sigma.dtype).eps ** 0.5 * scale
    edge = torch.zeros_like(sigma[..., :1], dtype=torch.bool)
    return torch.cat((close, edge), -1) | torch.cat((edge, close), -1)


@_rewrites("linalg_eigvalsh")
def _eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    w = torch.linalg.eigvalsh(_symmetric(A, UPLO == "U"))
    return w + kink(w, _crowded(w)) if A.shape[-1] else w


@_rewrites("linalg_eigh")
def _eigh(A: Tensor, UPLO: str = "L") -> Any:
    w, V = torch.linalg.eigh(_symmetric(A, UPLO == "U"))
    if A.shape[-1]:
        crowded = kink(w, _crowded(w))
        w, V = w + crowded, V + crowded.unsqueeze(-2).to(V.dtype)
    return torch.return_types.linalg_eigh((w, V))  # type: ignore[call-arg]


@_rewrites("linalg_svdvals")
def _svdvals(A: Tensor, *, driver: Any = None) -> Tensor:
    sigma = torch.linalg.svdvals(A, driver=driver)
    return sigma + kink(sigma, _crowded(sigma) | (sigma == 0)) if sigma.shape[-1] else sigma


@_rewrites("linalg_pinv", "pinverse")
def _pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, **tolerances: Any) -> Tensor:
    A = _symmetric(A, upper=False) if hermitian else A
    return (
        torch.linalg.pinv(A, rcond, hermitian)
        if rcond is not None
        else torch.linalg.pinv(A, hermitian=hermitian, **tolerances)
    )


# ---------------------------------------------------------------------------------------------- neural network layers


@_rewrites("layer_norm")
def _layer_norm(x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    centred = x - x.mean(dims, keepdim=True)
    return _affine(centred * (centred.square().mean(dims, keepdim=True) + eps) ** -0.5, weight, bias)


def _affine(y: Tensor, weight: Any, bias: Any) -> Tensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _by_channel(parameter: Any, x: Tensor) -> Any:
    return None if parameter is None else parameter.reshape(-1, *[1] * (x.ndim - 2))


@_rewrites("group_norm")
def _group_norm(x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Tensor:
    y = _layer_norm(x.reshape(x.shape[0], groups, -1), (x[0].numel() // groups,), eps=eps).reshape(x.shape)
    return _affine(y, _by_channel(weight, x), _by_channel(bias, x))


@_rewrites("batch_norm")
def _batch_norm(x: Tensor, mean: Any, variance: Any, weight: Any = None, bias: Any = None, training: bool = False,
                momentum: float = 0.1, eps: float = 1e-5, *_: Any) -> Tensor:  # fmt: skip
    if training or mean is None:
        raise ValueError(
            "the metric uses BatchNorm in training mode: its value at one point would depend on the other points of "
            "the batch. Call `.eval()` on the module first."
        )
    scale = (_by_channel(variance, x) + eps) ** -0.5
    return _affine((x - _by_channel(mean, x)) * scale, _by_channel(weight, x), _by_channel(bias, x))


@_rewrites("instance_norm")
def _instance_norm(x: Tensor, mean: Any = None, variance: Any = None, weight: Any = None, bias: Any = None,
                   use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5, *_: Any) -> Tensor:  # fmt: skip
    if not use_input_stats:
        return _batch_norm(x, mean, variance, weight, bias, eps=eps)
    return _group_norm(x, x.shape[1], weight, bias, eps)


@_rewrites("glu")
def _glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


@_rewrites("hardsigmoid")
def _hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    return torch.clamp(x / 6 + 0.5, 0, 1) + kink(x, _clamped(x, -3, 3))


@_rewrites("cumprod")
def _cumprod(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    if x.ndim == 0 or x.shape[dim] == 0:
        return x * 1
    columns = list(x.unbind(dim))
    for k in range(1, len(columns)):
        columns[k] = columns[k - 1] * columns[k]
    return torch.stack(columns, dim)


@_rewrites("scatter_reduce", "scatter_reduce_")
def _scatter_reduce(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    if reduce != "sum":
        raise ValueError(f'the metric calls scatter_reduce(…, "{reduce}"), {REFUSED["scatter_reduce"]}')
    return torch.scatter_reduce(x, dim, index, src, reduce, include_self=include_self)


# ----------------------------------------------------------------------------------------------------- refusals

_WRONG = "whose derivatives torch gets wrong in forward mode"

REFUSED: dict[str, str] = {
    "linalg_householder_product": f"{_WRONG}; multiply the reflections I - tau v v^T yourself",
    "orgqr": f"{_WRONG}; multiply the reflections I - tau v v^T yourself",
    "scatter_reduce": f"{_WRONG}; use a product or a maximum over a padded axis",
    "max_pool3d": f"{_WRONG}; use `unfold` and `amax`",
    "max_pool3d_with_indices": f"{_WRONG}; use `unfold` and `amax`",
    "linear_cross_entropy": f"{_WRONG}; use `cross_entropy(linear(x, weight), target)`",
    "native_layer_norm": f"{_WRONG}; use `torch.nn.functional.layer_norm`",
    "renorm": "which has kinks; divide by `torch.linalg.vector_norm` where you mean to",
    "custom_function_call": (
        "a custom `torch.autograd.Function`, whose second derivatives torch takes for zero in forward mode; "
        "write its forward with plain torch operations"
    ),
}
