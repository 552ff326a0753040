"""What torch differentiates wrongly, written with what it differentiates right, or refused.

`REWRITES` holds replacements with the same value and right derivatives of every order, `REFUSED` what cannot be
written so, with what to write instead. Keys are the names of torch's functions below Python (`torch.batch_norm`, not
`torch.nn.functional.batch_norm`): Python functions are entered. The sweep over torch's own operator database
(tests/test_operators.py) is the proof that the tables are complete.
"""

import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from riemann._arithmetic import special_functions
from riemann._arithmetic.surface import affine, layer_norm
from riemann._kinks import REWRITES, kink, kinked, number, rewrites


class Refused(Exception):
    """What a function does that has no right derivatives, and what to write instead: the end of a sentence."""


# ---------------------------------------------------------------------------------------------- linear algebra


def _symmetric(A: Tensor, upper: bool) -> Tensor:
    """The Hermitian matrix that LAPACK sees: it reads one triangle, torch's derivative reads both."""
    return A.triu() + A.triu(1).mH if upper else A.tril() + A.tril(-1).mH


def _lu(A: Tensor) -> tuple[Tensor, Tensor]:
    """The diagonal of U in A = P L U, and the sign of P."""
    lu, pivots, _ = torch.linalg.lu_factor_ex(A)
    swaps = (pivots != torch.arange(1, A.shape[-1] + 1, device=A.device, dtype=pivots.dtype)).sum(-1)
    return lu.diagonal(dim1=-2, dim2=-1), 1 - 2 * (swaps % 2).to(A.dtype)


@rewrites("det", "linalg_det")
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


@rewrites("slogdet", "linalg_slogdet")
def _slogdet(A: Tensor) -> Any:
    diagonal, sign = _lu(A)
    sign = sign * torch.sgn(diagonal).prod(-1)
    return torch.return_types.linalg_slogdet((sign, torch.log(torch.abs(diagonal)).sum(-1)))  # type: ignore[call-arg]


@rewrites("logdet")
def _logdet(A: Tensor) -> Tensor:
    sign, log_abs_det = _slogdet(A)
    return torch.where(sign < 0, torch.full_like(log_abs_det, math.nan), log_abs_det)


@rewrites("linalg_solve")
def _solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and A.shape[:-1] == B.shape)
    B = B.unsqueeze(-1) if vector else B
    X = torch.linalg.inv(A) @ B if left else B @ torch.linalg.inv(A)
    return X.squeeze(-1) if vector else X


@rewrites("linalg_solve_ex")
def _solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    info = torch.linalg.inv_ex(A, check_errors=check_errors).info
    return torch.return_types.linalg_solve_ex((_solve(A, B, left=left), info))  # type: ignore[call-arg]


@rewrites("linalg_tensorsolve")
def _tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    if dims is not None:
        last = [d % A.ndim for d in dims]
        A = A.permute([d for d in range(A.ndim) if d not in last] + last)
    shape = A.shape[B.ndim :]
    return _solve(A.reshape(B.numel(), B.numel()), B.reshape(-1)).reshape(shape)


@rewrites("linalg_lu_solve", "lu_solve")
def _lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    P, L, U = torch.lu_unpack(LU, pivots)
    A = P @ L @ U
    return _solve(A.mH if adjoint else A, B, left=left)


def _lu_solve_method(B: Tensor, LU: Tensor, pivots: Tensor) -> Tensor:  # torch.lu_solve puts the right-hand side first
    return _lu_solve(LU, pivots, B)


REWRITES["lu_solve"] = _lu_solve_method


@rewrites("cholesky_inverse")
def _cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device)
    inverse = torch.linalg.solve_triangular(L, eye, upper=upper)
    return inverse @ inverse.mH if upper else inverse.mH @ inverse


@rewrites("cholesky_solve")
def _cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    return torch.cholesky_solve(B, L.triu() if upper else L.tril(), upper=upper)


@rewrites("linalg_cholesky", "cholesky")
def _cholesky(A: Tensor, upper: bool = False) -> Tensor:
    return torch.linalg.cholesky(_symmetric(A, upper), upper=upper)


@rewrites("linalg_cholesky_ex")
def _cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    return torch.linalg.cholesky_ex(_symmetric(A, upper), upper=upper, check_errors=check_errors)


def _crowding(sigma: Tensor, A: Tensor, kinks: Tensor | None = None) -> Tensor:
    """0 without derivatives where eigenvalues or singular values of A meet to half their digits, and A varies."""
    scale = sigma.abs().amax(-1, keepdim=True)
    close = torch.diff(sigma, dim=-1).abs() <= torch.finfo(sigma.dtype).eps ** 0.5 * scale
    edge = torch.zeros_like(sigma[..., :1], dtype=torch.bool)
    crowded = torch.cat((close, edge), -1) | torch.cat((edge, close), -1)
    crowded = crowded if kinks is None else crowded | kinks
    entries = (torch.view_as_real(A) if A.is_complex() else A).flatten(sigma.ndim - 1)
    marks = kink(entries, crowded.any(-1, keepdim=True).expand(entries.shape)).sum(-1, keepdim=True)
    return torch.where(crowded, marks, torch.zeros_like(sigma))


@rewrites("linalg_eigvalsh")
def _eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    w = torch.linalg.eigvalsh(_symmetric(A, UPLO == "U"))
    return w + _crowding(w, A) if A.shape[-1] else w


@rewrites("linalg_eigh")
def _eigh(A: Tensor, UPLO: str = "L") -> Any:
    w, V = torch.linalg.eigh(_symmetric(A, UPLO == "U"))
    if A.shape[-1]:
        mark = _crowding(w, A)
        w, V = w + mark, V + mark.unsqueeze(-2).to(V.dtype)
    return torch.return_types.linalg_eigh((w, V))  # type: ignore[call-arg]


@rewrites("linalg_svd")
def _linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: Any = None) -> Any:
    U, sigma, Vh = torch.linalg.svd(A, full_matrices=full_matrices, driver=driver)
    k = sigma.shape[-1]
    if k:
        mark = _crowding(sigma, A, sigma == 0)
        of_U, of_Vh = (torch.nn.functional.pad(mark, (0, size - k)) for size in (U.shape[-1], Vh.shape[-2]))
        U, sigma, Vh = U + of_U.unsqueeze(-2).to(U.dtype), sigma + mark, Vh + of_Vh.unsqueeze(-1).to(U.dtype)
    return torch.return_types.linalg_svd((U, sigma, Vh))  # type: ignore[call-arg]


@rewrites("svd")
def _svd(A: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    if not compute_uv:
        raise Refused("is outdated; use `torch.linalg.svdvals`")
    U, sigma, Vh = _linalg_svd(A, full_matrices=not some)
    return torch.return_types.svd((U, sigma, Vh.mH))  # type: ignore[call-arg]


@rewrites("linalg_svdvals")
def _svdvals(A: Tensor, *, driver: Any = None) -> Tensor:
    sigma = torch.linalg.svdvals(A, driver=driver)
    return sigma + _crowding(sigma, A, sigma == 0) if sigma.shape[-1] else sigma


@rewrites("linalg_pinv", "pinverse")
def _pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, **tolerances: Any) -> Tensor:
    A = _symmetric(A, upper=False) if hermitian else A
    return (
        torch.linalg.pinv(A, rcond, hermitian)
        if rcond is not None
        else torch.linalg.pinv(A, hermitian=hermitian, **tolerances)
    )


# ---------------------------------------------------------------------------------------------- neural network layers


rewrites("layer_norm")(layer_norm)


def _by_channel(parameter: Any, x: Tensor) -> Any:
    return None if parameter is None else parameter.reshape(-1, *[1] * (x.ndim - 2))


@rewrites("group_norm")
def _group_norm(x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Tensor:
    y = layer_norm(x.reshape(x.shape[0], groups, -1), (x[0].numel() // groups,), eps=eps).reshape(x.shape)
    return affine(y, _by_channel(weight, x), _by_channel(bias, x))


@rewrites("batch_norm")
def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float,
                eps: float, *_: Any) -> Tensor:  # fmt: skip
    if training or mean is None:
        raise Refused(
            "is in training mode, where its value at one point depends on the other points of the batch; call "
            "`.eval()` on the module first"
        )
    scale = (_by_channel(variance, x) + eps) ** -0.5
    return affine((x - _by_channel(mean, x)) * scale, _by_channel(weight, x), _by_channel(bias, x))


@rewrites("instance_norm")
def _instance_norm(x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, use_input_stats: bool, momentum: float,
                   eps: float, *_: Any) -> Tensor:  # fmt: skip
    if not use_input_stats:
        return _batch_norm(x, weight, bias, mean, variance, False, momentum, eps)
    if mean is not None:
        raise Refused("is in training mode and would change its running statistics; call `.eval()` on the module first")
    return _group_norm(x, x.shape[1], weight, bias, eps)


@rewrites("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "native_dropout")
def _dropout(x: Tensor, p: float, train: bool) -> Tensor:
    if train and p > 0:
        raise Refused("is random in training mode; call `.eval()` on the module first (or pass `training=False`)")
    return x


@rewrites("scaled_dot_product_attention")
def _attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
               *, scale: Any = None, enable_gqa: bool = False) -> Tensor:  # fmt: skip
    _dropout(q, dropout_p, True)
    if enable_gqa:
        k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], -3) for t in (k, v))
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None:
        scores = torch.where(attn_mask, scores, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return torch.softmax(scores, -1) @ v


def _reduced(loss: Tensor, reduction: int) -> Tensor:
    """Losses below Python get their reduction as a number: none, mean, sum."""
    return (loss, loss.mean(), loss.sum())[reduction]


@rewrites("huber_loss")
def _huber_loss(x: Tensor, y: Tensor, reduction: int = 1, delta: float = 1.0) -> Tensor:
    d = x - y
    far = d.abs() - delta
    loss = torch.where(far < 0, 0.5 * d * d, delta * (far + 0.5 * delta))
    return _reduced(loss + kink(far, order=2), reduction)


@rewrites("soft_margin_loss")
def _soft_margin_loss(x: Tensor, y: Tensor, reduction: int = 1) -> Tensor:
    return _reduced(torch.log1p(torch.exp(-y * x)), reduction)


@rewrites("binary_cross_entropy_with_logits")
def _binary_cross_entropy_with_logits(
    x: Tensor, y: Tensor, weight: Any = None, pos_weight: Any = None, reduction: int = 1
) -> Tensor:
    positive = 1 if pos_weight is None else 1 + (pos_weight - 1) * y
    loss = (1 - y) * x - positive * torch.nn.functional.logsigmoid(x)
    return _reduced(loss if weight is None else loss * weight, reduction)


@rewrites("poisson_nll_loss")
def _poisson_nll_loss(x: Tensor, y: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    loss = torch.exp(x) - y * x if log_input else x - y * torch.log(x + eps)
    if full:
        many = torch.where(y > 1, y, 1.0)
        loss = loss + torch.where(y > 1, many * torch.log(many) - many + 0.5 * torch.log(2 * math.pi * many), 0.0)
    return _reduced(loss, reduction)


def _with_constant_weights(plain: Any) -> Any:
    def loss(x: Tensor, target: Tensor, weight: Any = None, *args: Any, **kwargs: Any) -> Tensor:
        if weight is not None and is_functorch_wrapped_tensor(weight):
            raise Refused("torch does not differentiate by its weights; multiply by them yourself")
        return plain(x, target, weight, *args, **kwargs)

    return loss


REWRITES["nll_loss_nd"] = _with_constant_weights(torch._C._nn.nll_loss_nd)
REWRITES["binary_cross_entropy"] = _with_constant_weights(torch._C._nn.binary_cross_entropy)
REWRITES["cross_entropy_loss"] = _with_constant_weights(torch._C._nn.cross_entropy_loss)


@rewrites("silu")
def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


@rewrites("mish")
def _mish(x: Tensor) -> Tensor:
    return x * torch.tanh(torch.nn.functional.softplus(x))


@rewrites("logit", "special_logit")
def _logit(x: Tensor, eps: float | None = None) -> Tensor:
    x = x if eps is None else kinked("clamp", torch.clamp, (x, eps, 1 - eps), {})
    return torch.log(x) - torch.log1p(-x)


@rewrites("l1_loss")
def _l1_loss(x: Tensor, y: Tensor, reduction: int = 1) -> Tensor:
    return _reduced(torch.abs(x - y) + kink(x - y), reduction)


@rewrites("hardsigmoid")
def _hardsigmoid(x: Tensor) -> Tensor:
    return kinked("clamp", torch.clamp, (x * number(1 / 6, x) + number(0.5, x), 0.0, 1.0), {})


@rewrites("glu")
def _glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


@rewrites("cumprod")
def _cumprod(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    if x.ndim == 0 or x.shape[dim] == 0:
        return x * 1
    columns = list(x.unbind(dim))
    for k in range(1, len(columns)):
        columns[k] = columns[k - 1] * columns[k]
    return torch.stack(columns, dim)


@rewrites("scatter_reduce")
def _scatter_reduce(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    if reduce != "sum":
        raise Refused(f"torch differentiates wrongly for {reduce!r}; use a product or a maximum over a padded axis")
    return torch.scatter_reduce(x, dim, index, src, reduce, include_self=include_self)


# ------------------------------------------------------------------------------------------------------- expressions


def _expanded_det(A: Tensor) -> Tensor:
    """A polynomial, by expansion along the first row, where that is short."""
    n = A.shape[-1]
    if n <= 3 or n > 6:
        return _det(A)
    others = [[k for k in range(n) if k != j] for j in range(n)]
    return sum((-1) ** j * A[..., 0, j] * _expanded_det(A[..., 1:, :][..., others[j]]) for j in range(n))


def _plain_logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    return torch.log(torch.exp(input).sum(dim, keepdim))


# The shortest expressions with right derivatives at points in general position: no case by case, nothing for stability.
GENERIC: dict[str, Any] = {
    **dict.fromkeys(("pow", "float_power", "__pow__"), torch.pow),
    **dict.fromkeys(("sinc", "special_sinc"), torch.sinc),
    **dict.fromkeys(("det", "linalg_det"), _expanded_det),
    "logdet": lambda A: torch.log(_expanded_det(A)),
    **dict.fromkeys(("logsumexp", "special_logsumexp"), _plain_logsumexp),
}

REWRITES.update(
    {
        **dict.fromkeys(
            ("polygamma", "special_polygamma"), lambda a, b: special_functions.polygamma(*_order_first(a, b))
        ),
        **dict.fromkeys(
            ("digamma", "special_digamma", "special_psi"), functools.partial(special_functions.polygamma, 0)
        ),
        **dict.fromkeys(("lgamma", "special_gammaln"), special_functions.lgamma),
    }
)


def _order_first(a: Any, b: Any) -> tuple[Any, Any]:
    """The arguments of `polygamma(n, x)`, which the method `x.polygamma(n)` has the other way round."""
    return (b, a) if isinstance(a, Tensor) else (a, b)


# ------------------------------------------------------------------------------------------------------- refusals

_WRONG = "torch differentiates wrongly in forward mode"

_WITHOUT_DERIVATIVES = (
    ["airy_ai", "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p"]
    + [f"{kind}bessel_{letter}{k}" for kind, letters in (("", "jy"), ("modified_", "ik"), ("scaled_modified_", "k"))
       for letter in letters for k in (0, 1)]
    + [f"{kind}chebyshev_polynomial_{letter}" for kind in ("", "shifted_") for letter in "tuvw"]
    + ["spherical_bessel_j0"]
)  # fmt: skip

# Traced, these stay what they are: the tables of expressions and of series know their derivatives.
EXACT = frozenset(
    "polygamma special_polygamma digamma special_digamma special_psi lgamma special_gammaln".split()
    + [f"special_{name}" for name in _WITHOUT_DERIVATIVES if "bessel" in name and "spherical" not in name]
)

REFUSED: dict[str, str] = {
    "linalg_householder_product": f"{_WRONG}; multiply the reflections I - tau v v^T yourself",
    "orgqr": f"{_WRONG}; multiply the reflections I - tau v v^T yourself",
    "max_pool3d": f"{_WRONG}; use `unfold` and `amax`",
    "max_pool3d_with_indices": f"{_WRONG}; use `unfold` and `amax`",
    "linear_cross_entropy": f"{_WRONG}; use `cross_entropy(linear(x, weight), target)`",
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit"), f"{_WRONG}; use `torch.nn.functional.batch_norm`"
    ),
    "as_strided": "reads memory that `vmap` lays out otherwise; use indexing",
    "native_layer_norm": f"{_WRONG}; use `torch.nn.functional.layer_norm`",
    **dict.fromkeys(
        ("linalg_eig", "linalg_eigvals"),
        f"{_WRONG}; use `torch.linalg.eigh` of a symmetric matrix, or traces of powers of this one",
    ),
    "linalg_lstsq": f"{_WRONG}; use `torch.linalg.pinv(A) @ B`",
    "triangular_solve": "torch cannot differentiate under `vmap`; use `torch.linalg.solve_triangular`",
    **dict.fromkeys(
        [f"special_{name}" for name in _WITHOUT_DERIVATIVES],
        "torch takes for a constant; write a series or an integral of it with elementary functions",
    ),
    "nextafter": "torch takes for a constant; write `x + step`",
    "renorm": "has kinks; divide by `torch.linalg.vector_norm` where you mean to",
    "custom_function_call": (
        "is a custom `torch.autograd.Function`, whose second derivatives torch takes for zero in forward mode; write "
        "its forward with plain torch operations"
    ),
}
