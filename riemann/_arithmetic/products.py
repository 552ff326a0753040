"""Products that are linear in each factor: matrices, convolutions, products of many numbers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.arguments import cast, is_discrete, promoted
from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.elementwise import function_of, product_of, sum_of
from riemann._arithmetic.jet import Jet, Refused, rule, wrapped
from riemann._arithmetic.leibniz import product
from riemann._arithmetic.matrices import matmul
from riemann._arithmetic.moves import of_values
from riemann._indices import matvec


@rule("mm", "bmm")
def _mm(A: Arithmetic, a: Any, b: Any) -> Jet:
    (a, b), _ = promoted(A, a, b)
    if is_discrete(a, b):
        return of_values(A, torch.matmul, a, b)
    return Jet(matmul(A, a, b).contiguous())  # as torch's lie in memory: of another layout `reshape` makes a copy


@rule("mv")
def _mv(A: Arithmetic, a: Any, v: Any) -> Jet:
    if isinstance(v, Jet) and not isinstance(a, Jet):
        return Jet(v.c @ a.mT)
    if not isinstance(v, Jet):
        return Jet(a.c @ v)
    return Jet(product(A, a.c, v.c, matvec))


@rule("dot")
def _dot(A: Arithmetic, u: Any, v: Any) -> Jet:
    if u.ndim != 1 or u.shape != v.shape:
        raise RuntimeError(f"inconsistent tensor sizes: the dot product of {tuple(u.shape)} and {tuple(v.shape)}")
    if not isinstance(v, Jet):
        u, v = v, u
    if not isinstance(u, Jet):
        return Jet(v.c @ u)
    return Jet(product(A, u.c, v.c, lambda p, q: (p * q).sum(-1)))


@rule("vdot")
def _vdot(A: Arithmetic, u: Any, v: Any) -> Jet:
    if isinstance(u, Jet):
        return _dot(A, Jet(u.c.conj()), v)
    return _dot(A, u.conj(), v)


def _added(A: Arithmetic, C: Any, y: Any, beta: Any, alpha: Any) -> Any:
    """beta C + alpha y; where beta is 0, C is not looked at."""
    if alpha != 1:
        y = Jet(y.c * alpha) if isinstance(y, Jet) else y * alpha
    if beta == 0:
        return y
    C = C if beta == 1 else product_of(A, C, beta) if isinstance(C, Jet) else C * beta
    return sum_of(A, C, y)


@rule("addmm", "baddbmm", "_sparse_addmm")
def _addmm(A: Arithmetic, C: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Jet:
    if not (isinstance(a, Jet) or isinstance(b, Jet)):
        return _added(A, C, a @ b, beta, alpha)
    return _added(A, C, _mm(A, a, b), beta, alpha)


@rule("addbmm")
def _addbmm(A: Arithmetic, C: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Jet:
    if not (isinstance(a, Jet) or isinstance(b, Jet)):
        return _added(A, C, (a @ b).sum(0), beta, alpha)
    y = _mm(A, a, b)
    return _added(A, C, Jet(y.c.sum(2)), beta, alpha)


@rule("addmv")
def _addmv(A: Arithmetic, C: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Jet:
    if not (isinstance(a, Jet) or isinstance(b, Jet)):
        return _added(A, C, a @ b, beta, alpha)
    return _added(A, C, _mv(A, a, b), beta, alpha)


@rule("addr")
def _addr(A: Arithmetic, C: Any, u: Any, v: Any, *, beta: Any = 1, alpha: Any = 1) -> Jet:
    def column(t: Any) -> Any:
        return Jet(t.c.unsqueeze(-1)) if isinstance(t, Jet) else t.unsqueeze(-1)

    if not (isinstance(u, Jet) or isinstance(v, Jet)):
        return _added(A, C, torch.outer(u, v), beta, alpha)
    return _added(A, C, product_of(A, column(u), v), beta, alpha)


@rule("linear")
def _linear(A: Arithmetic, a: Any, W: Any, bias: Any = None) -> Jet:
    Wt = Jet(W.c.mT) if isinstance(W, Jet) else W.mT
    if isinstance(a, Jet) and isinstance(Wt, Jet):
        if a.ndim == 1:
            y = Jet(product(A, a.c, Wt.c, lambda p, q: (p.unsqueeze(-2) @ q).squeeze(-2)))
        else:
            y = Jet(product(A, a.c, Wt.c.unsqueeze(2) if a.ndim > 2 else Wt.c, torch.matmul))
    else:
        y = Jet(a.c @ Wt) if isinstance(a, Jet) else Jet(a @ Wt.c if a.ndim > 1 else (a @ Wt.c))
    return y if bias is None else sum_of(A, y, bias)


@rule("linalg_cross")
def _cross(A: Arithmetic, u: Any, v: Any, *, dim: int = -1) -> Jet:
    ndim = max(u.ndim, v.ndim)
    axis = wrapped(dim, ndim) - ndim

    def rolled(t: Any, k: int) -> Any:
        return Jet(t.c.roll(k, axis)) if isinstance(t, Jet) else t.roll(k, axis)

    first = product_of(A, rolled(u, -1), rolled(v, -2))
    second = product_of(A, rolled(u, -2), rolled(v, -1))
    return sum_of(A, first, second, -1)


def bilinear(A: Arithmetic, f: Callable[[Tensor, Tensor], Tensor], a: Any, b: Any) -> Jet:
    """A product written for one point, linear in each factor."""

    def times(p: Tensor, q: Tensor) -> Tensor:
        p, q = (t.expand(max(len(p), len(q)), *t.shape[1:]) for t in (p, q))
        y = torch.func.vmap(f)(p.flatten(0, 1), q.flatten(0, 1))
        return y.unflatten(0, p.shape[:2])

    if isinstance(a, Jet) and isinstance(b, Jet):
        return Jet(product(A, a.c, b.c, times))
    dims = tuple(0 if isinstance(t, Jet) else None for t in (a, b))
    c = a.c if isinstance(a, Jet) else b.c
    y = torch.func.vmap(f, in_dims=dims)(*(t.c.flatten(0, 1) if isinstance(t, Jet) else t for t in (a, b)))
    return Jet(y.unflatten(0, c.shape[:2]))


@rule("convolution", "_convolution")
def _convolution(A: Arithmetic, a: Any, W: Any, bias: Any, *args: Any) -> Jet:
    if len(args) > 6:
        args = args[:6]

    def f(p: Tensor, q: Tensor) -> Tensor:
        return torch.ops.aten.convolution(p, q, None, *args)

    if isinstance(a, Jet) and not isinstance(W, Jet):  # coefficients and points among the batch, which leads
        y = Jet(f(a.c.flatten(0, 2), W).unflatten(0, a.c.shape[:3]))
    elif isinstance(W, Jet):
        y = bilinear(A, f, a, W)
    else:
        y = f(a, W)
    if bias is None:
        return y
    space = [1] * (a.ndim - 2)
    bias = Jet(bias.c.reshape(*bias.c.shape, *space)) if isinstance(bias, Jet) else bias.reshape(-1, *space)
    return sum_of(A, y, bias)


@rule("convolution_backward")
def _convolution_backward(A: Arithmetic, grad: Any, a: Any, W: Any, bias_sizes: Any, *args: Any) -> Any:
    """The gradients by input, weight and bias: each bilinear in `grad` and what it does not differentiate by."""
    *args, mask = args

    def by(k: int) -> Callable[[Tensor, Tensor], Tensor]:
        of = lambda g, p, q: torch.ops.aten.convolution_backward(g, p, q, None, *args, [k == 0, k == 1, False])[k]
        shape = a.shape if k == 0 else W.shape
        like = lambda g: g.new_zeros(shape)
        return (lambda g, q: of(g, like(g), q)) if k == 0 else (lambda g, p: of(g, p, like(g)))

    def product_by(k: int) -> Any:
        other = W if k == 0 else a
        if isinstance(grad, Jet) or isinstance(other, Jet):
            return bilinear(A, by(k), grad, other)
        return by(k)(grad, other)

    axes = [0, *range(2, grad.ndim)]
    of_bias = None
    if mask[2]:
        of_bias = Jet(grad.c.sum([d + 2 for d in axes])) if isinstance(grad, Jet) else grad.sum(axes)
    return product_by(0) if mask[0] else None, product_by(1) if mask[1] else None, of_bias


@rule("prod")
def _prod(A: Arithmetic, a: Jet, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Jet:
    a = cast(A, a, dtype) if dtype is not None else a
    if is_discrete(a):
        return of_values(A, lambda t: torch.prod(t) if dim is None else torch.prod(t, dim, keepdim), a)
    c = a.c.flatten(2).unsqueeze(-1) if dim is None else a.c.unsqueeze(-1) if a.ndim == 0 else a.c
    axis = 2 if dim is None or a.ndim == 0 else wrapped(dim, a.ndim) + 2
    factors = list(c.unbind(axis))
    if not factors:
        one = torch.ones(c.shape[:axis] + c.shape[axis + 1 :], dtype=c.dtype, device=c.device)[:1]
        y = one
    else:
        while len(factors) > 1:  # pairwise: the same for a zero factor as for any
            pairs = [product(A, p, q) for p, q in zip(factors[::2], factors[1::2], strict=False)]
            factors = pairs + ([factors[-1]] if len(factors) % 2 else [])
        y = factors[0]
    if dim is None:
        y = y.squeeze(-1)
    elif a.ndim == 0:
        return Jet(y if y.ndim == 2 else y.squeeze(-1))
    return Jet(y.unsqueeze(axis) if keepdim and dim is not None else y)


@rule("cumprod")
def _cumprod(A: Arithmetic, a: Jet, dim: int, *, dtype: Any = None) -> Jet:
    a = cast(A, a, dtype) if dtype is not None else a
    if is_discrete(a):
        return of_values(A, lambda t: torch.cumprod(t, dim), a)
    if a.ndim == 0 or a.shape[dim] == 0:
        return Jet(a.c)
    axis = wrapped(dim, a.ndim) + 2
    columns = list(a.c.unbind(axis))
    for k in range(1, len(columns)):
        columns[k] = product(A, columns[k - 1], columns[k])
    count = max(map(len, columns))
    return Jet(torch.stack([A.padded(column, count) for column in columns], axis))


# ------------------------------------------------------------------------------------- layers of networks


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "batch_norm")
def _batch_norm(A: Arithmetic, a: Jet, weight: Any, bias: Any, mean: Any, variance: Any, *args: Any) -> Any:
    *flags, _, eps = args
    if mean is None or any(flags):
        raise Refused(
            "is in training mode, where its value at one point depends on the other points of the batch; call "
            "`.eval()` on the module first"
        )
    a = a if isinstance(a, Jet) else Jet(A.coefficients(a))
    space = [1] * (a.ndim - 2)

    def by_channel(p: Any) -> Any:
        return Jet(p.c.reshape(*p.c.shape[:2], -1, *space)) if isinstance(p, Jet) else p.reshape(-1, *space)

    spread = by_channel(variance)
    scale = function_of(A, "rsqrt", sum_of(A, spread, eps)) if isinstance(spread, Jet) else (spread + eps) ** -0.5
    y = sum_of(A, a, by_channel(mean), -1)
    y = product_of(A, y, scale)
    y = y if weight is None else product_of(A, y, by_channel(weight))
    y = y if bias is None else sum_of(A, y, by_channel(bias))
    return y, a.c.new_zeros(0), a.c.new_zeros(0)


@rule("_scaled_dot_product_flash_attention_for_cpu")
def _attention(A: Arithmetic, q: Any, k: Any, v: Any, dropout_p: float = 0.0, is_causal: bool = False, *,
               attn_mask: Any = None, scale: Any = None) -> Any:  # fmt: skip
    """softmax(q k^T / sqrt d) v, and the logarithm of the sums that it divides by."""
    from riemann._arithmetic.reductions import _logsumexp, _softmax

    if dropout_p:
        raise Refused("is random in training mode; call `.eval()` on the module first")
    scores = _mm(A, q, Jet(k.c.mT) if isinstance(k, Jet) else k.mT)
    scores = product_of(A, scores, q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.where(attn_mask, 0.0, -torch.inf)
        scores = sum_of(A, scores, attn_mask)
    return _mm(A, _softmax(A, scores, -1), v), _logsumexp(A, scores, -1)
