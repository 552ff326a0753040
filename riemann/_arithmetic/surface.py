"""What is seen of a user's function above its operations: fresh tensors, and what would cut values off.

Operations get right derivatives where they are performed (`jet.Arithmetic`). Here are the calls that never become
operations on values, those whose meaning is that of the point's dtype, and the few functions of which torch's own
derivatives, which the user's function takes itself, are wrong.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch import pyfunctorch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _pop_mode_temporarily

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.fresh import Fresh, writes
from riemann._arithmetic.jet import Refusal
from riemann._messages.frames import called
from riemann._messages.remedies import CUTS, PYTHON

OWN_DTYPE = frozenset(
    "zeros ones empty full eye linspace logspace arange tensor as_tensor asarray scalar_tensor".split()
)
OF_SHAPES = frozenset(
    "zeros_like ones_like empty_like full_like new_zeros new_ones new_empty new_full new_tensor".split()
)
LIKE_ANOTHER = frozenset("to type_as expand_as view_as reshape_as".split())
COPIES = frozenset(("tensor", "as_tensor", "asarray", "new_tensor"))
_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


class Surface(TorchFunctionMode):
    """The calls of a user's function.

    Args:
        x: the point, whose dtype and device fresh tensors have.
        arithmetic: what performs the operations.
    """

    def __init__(self, x: Tensor, arithmetic: Arithmetic):
        super().__init__()
        self.x, self.arithmetic, self.name = x, arithmetic, arithmetic.name
        self.outer, self.constants = len(arithmetic.stack), Fresh()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if self.outer:
            args, kwargs = self.lifted(args), self.lifted(kwargs)
        name = getattr(func, "__name__", "")
        before, self.arithmetic.called = self.arithmetic.called, name
        try:
            handler = functools.partial(_HANDLERS[name], self, name, func) if name in _HANDLERS else None
            if name in self.arithmetic.instead:
                func, handler = self.arithmetic.instead[name], None
            if _functorch.get_dynamic_layer_stack_depth() > self.outer:
                return self.among_transforms(name, func, handler, args, kwargs)
            return handler(args, kwargs) if handler else func(*args, **kwargs)
        finally:
            self.arithmetic.called = before

    def among_transforms(self, name: str, func: Any, handler: Any, args: tuple, kwargs: dict) -> Any:
        """A call inside the function's own transforms: of constants it is done outside, for they may be kept.

        At the first write of what is not constant into such a tensor, one of the transforms takes its place.
        """
        if name in OF_SHAPES or (name in LIKE_ANOTHER and not self.varies(args[0])):
            args = tuple(self.stand_in(a) if k or name in OF_SHAPES else a for k, a in enumerate(args))
        varies = [a for a in _tensors((args, kwargs)) if self.varies(a)]
        if varies and writes(name) and args[0] in self.constants:
            zero = torch.zeros_like(varies[0]).sum()
            self.constants.replace(args[0], lambda y: y + zero.to(y.dtype), forget=True)
        if varies:
            return handler(args, kwargs) if handler else func(*args, **kwargs)
        with pyfunctorch.temporarily_clear_interpreter_stack():
            result = handler(args, kwargs) if handler else func(*args, **kwargs)
            self.constants.note(func, args, kwargs, result)
        return result

    def depends(self, value: Any) -> bool:
        """Whether a tensor depends on the point."""
        if not isinstance(value, Tensor):
            return False
        with torch._C.DisableTorchFunction():
            while _functorch.is_functorch_wrapped_tensor(value):
                value = _functorch.get_unwrapped(value)
            return self.arithmetic.holds(value)

    def varies(self, a: Any) -> bool:
        """Whether a value depends on the point, or on a variable of a transform."""
        return isinstance(a, Tensor) and (_functorch.is_functorch_wrapped_tensor(a) or self.depends(a))

    def stand_in(self, a: Any) -> Any:
        """A constant of the same shape, dtype and device."""
        if not self.varies(a):
            return a
        with pyfunctorch.temporarily_clear_interpreter_stack():
            return torch.empty((), dtype=a.dtype, device=a.device).expand(a.shape)

    def lifted(self, tree: Any) -> Any:
        """Tensors of the caller's transforms as jets of constants."""
        if isinstance(tree, tuple | list):
            return (
                type(tree)(map(self.lifted, tree))
                if not hasattr(tree, "_fields")
                else type(tree)(*map(self.lifted, tree))
            )
        if isinstance(tree, dict):
            return {key: self.lifted(value) for key, value in tree.items()}
        if not isinstance(tree, Tensor) or not self.arithmetic.is_of_caller(tree):
            return tree
        if self.depends(tree):
            raise Refusal(
                f"the {self.name} mixes a transform of its own with tensors of one around riemann, where derivatives "
                "would be lost; give the tensors to the metric as parameters of a module, and use `backward`"
            )
        with _pop_mode_temporarily():
            return self.arithmetic.constant(tree)

    # -------------------------------------------------------------------------------------- what is done to a call

    def cut(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """What has no derivatives, allowed for constants."""
        if name == "__get__":
            if func != _DATA:
                return func(*args, **kwargs)
            name = "data"
        if any(map(self.depends, args)):
            python = called()
            if python.startswith("torch.nn.parameter"):
                name = "Parameter"
            for known, why in PYTHON.items() if python else ():
                if known in python:
                    raise Refusal(f"the {self.name} calls `{python}`, which {why}.")
            raise Refusal(f"the {self.name} calls `{name}` on a value that depends on the point, which {CUTS[name]}.")
        return func(*(a.detach() if isinstance(a, Tensor) else a for a in args), **kwargs)

    def fresh(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """A fresh tensor in the point's dtype and on its device, if none is said."""
        if name in COPIES:
            data = args[1] if name == "new_tensor" else args[0] if args else kwargs["data"]
            if isinstance(data, Tensor) and name != "tensor":
                return func(*args, **kwargs)
            if any(map(self.depends, _tensors(data))):
                raise Refusal(
                    f"the {self.name} puts values that depend on the point into `torch.{name}([...])`, which copies "
                    "numbers and drops their derivatives. Use `torch.stack([...])` (of rows, for a matrix)."
                )
        if name in OWN_DTYPE:
            kwargs = dict(kwargs)
            if kwargs.get("device") is None and self.x.device.type != "cpu":
                kwargs["device"] = self.x.device
            if kwargs.get("dtype") is None and kwargs.get("out") is None:
                kwargs.pop("dtype", None)
                if func(*args, **kwargs).dtype == torch.get_default_dtype():
                    kwargs["dtype"] = self.x.dtype
        return func(*args, **kwargs)

    def getitem(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """An index that depends on the point picks along its axis, as a number does."""
        x, index = args
        parts = list(index) if isinstance(index, tuple) else [index]
        if not any(_is_position(p) and self.depends(p) for p in parts):
            return func(*args, **kwargs)
        widened = tuple(p.unsqueeze(0) if _is_position(p) and self.depends(p) else p for p in parts)
        if sum(isinstance(p, Tensor | list) for p in parts) > 1:  # they broadcast against each other
            return func(x, index, **kwargs) if not all(map(_is_position, parts)) else func(x, widened)[0]
        axis = parts.index(next(p for p in parts if _is_position(p))) if len(parts) == 1 else _axis_of(parts)
        return func(x, widened).squeeze(axis)

    def of_instances(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """Of each channel of a point by itself: torch takes it for a batch in training, of channels."""
        if func is not torch.nn.functional.instance_norm:
            return func(*args, **kwargs)
        given = inspect.signature(func).bind(*args, **kwargs).arguments
        if not given.get("use_input_stats", True):
            return func(*args, **kwargs)
        x = given["input"]
        return _group_norm(x, x.shape[1], given.get("weight"), given.get("bias"), given.get("eps", 1e-5))

    def trained(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """A layer that in training mode makes the value at one point depend on others."""
        if kwargs.get("training") or (len(args) > 5 and args[5]):
            raise Refusal(
                f"the {self.name} calls `{name}`, which is in training mode, where its value at one point depends on "
                "the other points of the batch; call `.eval()` on the module first."
            )
        return func(*args, **kwargs)

    def rewritten(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """A function of which torch takes wrong derivatives, where it takes them: the user's own."""
        inner = any(
            isinstance(a, Tensor) and (_functorch.is_functorch_wrapped_tensor(a) or a.requires_grad)
            for a in (*args, *kwargs.values())
        )
        return REWRITTEN[name](*args, **kwargs) if inner else func(*args, **kwargs)


def _is_position(p: Any) -> bool:
    return isinstance(p, Tensor) and p.ndim == 0 and not p.is_floating_point() and p.dtype != torch.bool


def _axis_of(parts: list[Any]) -> int:
    """The axis of the result that stands for the only tensor among the parts of an index."""
    place = next(k for k, p in enumerate(parts) if _is_position(p))
    before = parts[:place]
    if Ellipsis in before:
        after = parts[place + 1 :]
        return -1 - sum(p is not None and not isinstance(p, int) or p is None for p in after)
    return sum(not isinstance(p, int) or isinstance(p, bool) for p in before)


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, dict):
        return _tensors(list(tree.values()))
    if isinstance(tree, tuple | list):
        return [leaf for branch in tree for leaf in _tensors(branch)]
    return [tree] if isinstance(tree, Tensor) else []


# -------------------------------------------------------------------- functions of which torch's derivatives are wrong


def _solve(A: Tensor, B: Tensor, *, left: bool = True, out: Any = None) -> Tensor:
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and A.shape[:-1] == B.shape)
    B = B.unsqueeze(-1) if vector else B
    inverse = torch.linalg.inv_ex(A).inverse
    X = inverse @ B if left else B @ inverse
    return X.squeeze(-1) if vector else X


def _lu(A: Tensor) -> tuple[Tensor, Tensor]:
    """The diagonal of U in A = P L U, and the sign of P."""
    LU, pivots, _ = torch.linalg.lu_factor_ex(A)
    swaps = (pivots != torch.arange(1, A.shape[-1] + 1, device=A.device, dtype=pivots.dtype)).sum(-1)
    return LU.diagonal(dim1=-2, dim2=-1), 1 - 2 * (swaps % 2).to(A.dtype)


def _det(A: Tensor) -> Tensor:
    if A.shape[-1] == 1:
        return A[..., 0, 0]
    if A.shape[-1] == 2:
        return A[..., 0, 0] * A[..., 1, 1] - A[..., 0, 1] * A[..., 1, 0]
    if A.shape[-1] == 3:
        return (A[..., 0, :] * torch.linalg.cross(A[..., 1, :], A[..., 2, :])).sum(-1)
    diagonal, sign = _lu(A)
    return functools.reduce(torch.mul, diagonal.unbind(-1), sign)


def _slogdet(A: Tensor) -> Any:
    diagonal, sign = _lu(A)
    sign = sign * torch.sgn(diagonal).prod(-1)
    return torch.return_types.linalg_slogdet((sign, torch.log(torch.abs(diagonal)).sum(-1)))  # type: ignore[call-arg]


def _logdet(A: Tensor) -> Tensor:
    sign, log_abs_det = _slogdet(A)
    return log_abs_det * torch.where(
        sign < 0, torch.nan, torch.ones_like(sign)
    )  # derivatives are not known there either


def layer_norm(x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    centred = x - x.mean(dims, keepdim=True)
    return affine(centred * (centred.square().mean(dims, keepdim=True) + eps) ** -0.5, weight, bias)


def affine(y: Tensor, weight: Any, bias: Any) -> Tensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _group_norm(x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Tensor:
    y = layer_norm(x.reshape(x.shape[0], groups, -1), (x[0].numel() // groups,), eps=eps).reshape(x.shape)
    weight, bias = (None if p is None else p.reshape(-1, *[1] * (x.ndim - 2)) for p in (weight, bias))
    return affine(y, weight, bias)


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, dim=-1)


def _attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
               *, scale: Any = None, enable_gqa: bool = False) -> Tensor:  # fmt: skip
    q = torch.nn.functional.dropout(q, dropout_p) if dropout_p else q  # refused there
    if enable_gqa:
        k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], -3) for t in (k, v))
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None:
        scores = torch.where(attn_mask, scores, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return torch.softmax(scores, -1) @ v


REWRITTEN: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("det", "linalg_det"), _det),
    **dict.fromkeys(("slogdet", "linalg_slogdet"), _slogdet),
    "logdet": _logdet,
    "linalg_solve": _solve,
    "layer_norm": layer_norm,
    "group_norm": _group_norm,
    "glu": _glu,
    "cdist": _cdist,
}


def _corrcoef(X: Tensor) -> Tensor:
    """Without torch's cut at 1, where the diagonal is."""
    C = torch.cov(X)
    if C.ndim == 0:
        return C / C
    d = torch.sqrt(C.diagonal())
    one = torch.eye(C.shape[-1], dtype=torch.bool, device=C.device)
    return torch.where(one, 1.0, C / d[:, None] / d[None, :])


def _lp_pool(axes: int, x: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False):
    """Without torch's `sign(y) * relu(abs(y))` of the mean y, which is y."""
    pool = torch.nn.functional
    if math.isinf(norm_type):
        largest = (pool.max_pool1d, pool.max_pool2d, pool.max_pool3d)[axes - 1]
        sign = math.copysign(1.0, norm_type)
        return sign * largest(sign * x.abs(), kernel_size, stride, 0, 1, ceil_mode)
    average = (pool.avg_pool1d, pool.avg_pool2d, pool.avg_pool3d)[axes - 1]
    count = math.prod(kernel_size) if isinstance(kernel_size, tuple | list) else kernel_size**axes
    return (average(x**norm_type, kernel_size, stride, 0, ceil_mode) * count) ** (1 / norm_type)


def _gaussian_nll_loss(x: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6,
                       reduction: str = "mean") -> Tensor:  # fmt: skip
    """Without torch's look at whether a variance is negative: NaN there."""
    if isinstance(var, Tensor) and var.shape != x.shape and var.shape == x.shape[:-1]:
        var = var.unsqueeze(-1)
    var = torch.as_tensor(var)
    var = torch.where(var < 0, torch.nan, var.clamp(min=eps))
    loss = 0.5 * (torch.log(var) + (x - target) ** 2 / var + (math.log(2 * math.pi) if full else 0.0))
    return {"mean": torch.mean, "sum": torch.sum, "none": torch.clone}[reduction](loss)


def _rrelu(x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: Any = False):
    """In evaluation no number is drawn."""
    if training:
        return torch.rrelu(x, lower, upper, True)  # refused there
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2, inplace is True)


def _bilinear(x: Tensor, y: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    return affine(torch.einsum("...i,oij,...j->...o", x, weight, y), None, bias)


ALWAYS = {
    "bilinear": _bilinear,
    "scaled_dot_product_attention": _attention,
    "corrcoef": _corrcoef,
    **{f"lp_pool{axes}d": functools.partial(_lp_pool, axes) for axes in (1, 2, 3)},
    "gaussian_nll_loss": _gaussian_nll_loss,
    "rrelu": _rrelu,
}
"""Functions whose operations hide what they compute."""

_HANDLERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(CUTS, Surface.cut),
    **dict.fromkeys((*OWN_DTYPE, *COPIES), Surface.fresh),
    **dict.fromkeys(REWRITTEN, Surface.rewritten),
    **dict.fromkeys(ALWAYS, lambda self, name, func, args, kwargs: ALWAYS[name](*args, **kwargs)),
    "__getitem__": Surface.getitem,
    "batch_norm": Surface.trained,
    "instance_norm": Surface.of_instances,
    "__get__": Surface.cut,  # of `.data`
}
