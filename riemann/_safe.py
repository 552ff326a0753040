"""The function mode under which every user's function runs, so that torch differentiates it right or not at all.

Inside `Safe`, calls of torch functions are rewritten, guarded at their kinks, or refused (the tables of `_rewrites`);
Python numbers keep the dtype of the tensors they meet; fresh tensors have the dtype and device of the point and can be
filled in place under `vmap`; and what would cut a value off from its derivatives raises.
"""

import contextlib
import functools
import inspect
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode

from riemann._rewrites import KINKS, PIECEWISE_LINEAR, REFUSED, REWRITES, kink, square_of

_FIRST = ("input", "self", "A", "x")
_POWERS = frozenset(("pow", "__pow__", "square", "mul", "__mul__", "multiply"))
# 0-dim tensors times a Python number get float64 tangents from torch, whatever their dtype.
_SCALED = frozenset(
    ("mul", "__mul__", "__rmul__", "multiply", "div", "__div__", "__rdiv__", "divide", "true_divide", "__truediv__")
    + (
        "__rtruediv__",
        "mul_",
        "div_",
        "__imul__",
        "__itruediv__",
        "__idiv__",
        "lerp",
        "xlogy",
        "special_xlogy",
        "atan2",
    )
    + ("hypot", "logaddexp", "fmod", "remainder", "copysign")
)
_FRESH = frozenset(
    ("zeros", "ones", "empty", "full", "eye", "linspace", "logspace", "arange", "tensor", "as_tensor", "asarray")
    + ("scalar_tensor", "zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty")
    + ("new_full", "new_tensor", "clone")
)
_OWN_DTYPE = frozenset(("zeros", "ones", "empty", "full", "eye", "linspace", "logspace", "arange", "tensor", "as_tensor")
                       + ("asarray", "scalar_tensor"))  # fmt: skip
_COPIES = frozenset(("tensor", "as_tensor", "asarray", "new_tensor"))
_WRITTEN_IN_PYTHON = ("torch.nn.functional", "torch.functional")
_CUTS = {
    "detach": "it cuts the value off from its derivatives",
    "detach_": "it cuts the value off from its derivatives",
    "item": "it turns a tensor into a number, which has no derivatives",
    "tolist": "it turns a tensor into numbers, which have no derivatives",
    "numpy": "it turns a tensor into an array, which has no derivatives; use the torch function of the same name",
    "__array__": "numpy has no derivatives; use the torch function of the same name",
    "__float__": "it turns a tensor into a number, which has no derivatives; use torch functions, not `math`",
    "__int__": "it turns a tensor into a number, which has no derivatives",
    "__complex__": "it turns a tensor into a number, which has no derivatives",
    "__index__": "the value of a coordinate cannot be an index: the metric would branch on data",
    "__bool__": "the metric would branch on the value of a coordinate; use `torch.where`",
    "data": "it cuts the value off from its derivatives",
}
_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


class Safe(TorchFunctionMode):
    """Right derivatives or an error for the function that runs inside.

    Args:
        x: the point, as the function gets it (inside `vmap`): its dtype and device are those of fresh tensors.
        level: the `vmap` level at which points are batched; what is batched there or above depends on the point.
        name: how messages call the function.
    """

    def __init__(self, x: Tensor, level: int, name: str = "metric"):
        super().__init__()
        self.x, self.level, self.name = x, level, name
        self.zero = x.new_zeros(())
        self.piecewise_linear: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = "data" if func == _DATA else getattr(func, "__name__", str(func))
        if name == "__get__":
            return func(*args, **kwargs)
        if not args and kwargs:
            first = next((kwargs.pop(key) for key in _FIRST if key in kwargs), None)
            args = () if first is None else (first,)
        if name in _CUTS and args and self.depends(args[0]):
            raise ValueError(f"the {self.name} calls `{name}` on a value that depends on the point: {_CUTS[name]}.")
        if name in _FRESH:
            return self.fresh(name, func, args, kwargs)
        if name in _POWERS and (power := _even_power(name, args)) is not None:
            return power
        if name in REFUSED and name not in REWRITES:
            raise ValueError(f"the {self.name} calls `{name}`, {REFUSED[name]}.")
        if name in _SCALED:
            args = self.scaled(args)
        if name in PIECEWISE_LINEAR:
            self.piecewise_linear.add(name.rstrip("_"))
        try:
            return self.call(name, func, args, kwargs)
        except RuntimeError as error:
            if _is_refusal_of_torch(error):
                raise ValueError(
                    f"the {self.name} calls `{name}`, which torch cannot differentiate here ({_first_line(error)}). "
                    f"Write it with elementwise operations, sums, products, `torch.linalg.inv` or `torch.where`."
                ) from error
            raise

    def call(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """`func` with right derivatives: rewritten, with its kinks marked, or as it is."""
        if "out" in kwargs:
            raise ValueError(
                f"the {self.name} calls `{name}` with `out=`, which has no derivatives; assign the result."
            )
        base = name[:-1] if name.endswith("_") and not name.endswith("__") else name
        if name != base and (base in REWRITES or base in KINKS) and name not in REWRITES:
            return args[0].copy_(self.call(base, getattr(torch.Tensor, base, func), args, kwargs))
        if name in REWRITES:
            return REWRITES[name](*args, **kwargs)
        if name in KINKS and _is_floating(args[0]):
            kwargs.pop("inplace", None)
            return func(*args, **kwargs) + kink(args[0], KINKS[name](*args, **kwargs))
        if isinstance(func, types.FunctionType) and func.__module__ in _WRITTEN_IN_PYTHON:
            with self:  # a function written in Python: what it calls is to be seen, too
                return _body(func)(*args, **kwargs)
        return func(*args, **kwargs)

    def depends(self, value: Any) -> bool:
        """Whether a tensor depends on the point: it is batched at the level of the points, or inside."""
        while isinstance(value, Tensor) and _functorch.is_functorch_wrapped_tensor(value):
            if _functorch.is_batchedtensor(value) and _functorch.maybe_get_level(value) >= self.level:
                return True
            value = _functorch.get_unwrapped(value)
        return False

    def fresh(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """A fresh tensor, batched so that `vmap` lets it be filled, in the point's dtype and device if none is said."""
        if name in _COPIES:
            data = args[1] if name == "new_tensor" else args[0]
            if isinstance(data, Tensor) and name != "tensor":
                return func(*args, **kwargs)
            if any(self.depends(leaf) for leaf in _leaves(data)):
                raise ValueError(
                    f"the {self.name} puts values that depend on the point into `torch.{name}([...])`, which copies "
                    "numbers and drops their derivatives. Use `torch.stack([...])` (of rows, for a matrix)."
                )
        if name in _OWN_DTYPE:
            if kwargs.get("device") is None and self.x.device.type != "cpu":
                kwargs["device"] = self.x.device
            if kwargs.get("dtype") is None:
                kwargs.pop("dtype", None)
                if func(*args, **kwargs).dtype == torch.get_default_dtype():
                    kwargs["dtype"] = self.x.dtype
        y = func(*args, **kwargs)
        if not y.is_floating_point() or y.requires_grad or self.depends(y):
            return y
        return y + self.zero.to(y.dtype)

    def scaled(self, args: tuple) -> tuple:
        """The arguments with Python numbers made tensors of the dtype of the tensors beside them."""
        dtypes = [a.dtype for a in args if isinstance(a, Tensor)]
        if not dtypes or dtypes[0] not in (torch.float32, torch.float16, torch.bfloat16):
            return args
        return tuple(
            torch.scalar_tensor(a, dtype=dtypes[0], device=self.x.device) if isinstance(a, int | float) else a
            for a in args
        )


def _is_floating(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, list | tuple):
        for item in data:
            yield from _leaves(item)
    else:
        yield data


def _even_power(name: str, args: tuple) -> Tensor | None:
    """`norm(x) ** 2` and its like, from the smooth square that a root remembers."""
    square = square_of(args[0])
    if square is None:
        return None
    if name == "square" or (len(args) == 2 and args[1] is args[0]):
        return square
    if name in ("pow", "__pow__") and isinstance(args[1], int | float) and args[1] % 2 == 0:
        return square ** (args[1] // 2)
    return None


def _is_refusal_of_torch(error: RuntimeError) -> bool:
    text = str(error)
    return any(words in text for words in ("forward AD", "Batching rule", "randomness", "ZeroTensor")) or (
        text.startswith("vmap:") and "data-dependent" not in text and "inplace" not in text
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")[:160]


@functools.cache
def _body(func: types.FunctionType) -> types.FunctionType:
    """A Python function of torch with its own dispatch switched off, so that the mode sees the calls inside it."""
    never = {key: _no for key in ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")}
    twin = types.FunctionType(
        func.__code__, {**func.__globals__, **never}, func.__name__, func.__defaults__, func.__closure__
    )
    twin.__kwdefaults__ = func.__kwdefaults__
    return twin


def _no(*_: Any) -> bool:
    return False


# -------------------------------------------------------------------------------- what a function mode cannot see

_BAD_ATEN = frozenset(
    ("_linalg_det", "linalg_det", "_linalg_slogdet", "_linalg_solve_ex", "linalg_lu_solve", "cholesky_inverse")
    + ("native_layer_norm", "linalg_householder_product", "scatter_reduce", "max_pool3d_with_indices", "_cdist_forward")
)


class _Audit(TorchDispatchMode):
    """Refuses, by name, operations that reach the kernels without having passed through `Safe` (TorchScript)."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.refusal = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        operation = func.overloadpacket.__name__
        if operation in _BAD_ATEN:
            self.refusal = (
                f"the {self.name} calls `{operation}` where riemann cannot make its derivatives right (inside "
                "`torch.jit.script` or `torch.ops`). Write that part as plain Python."
            )
            raise ValueError(self.refusal)
        return func(*args, **(kwargs or {}))


_audited: "weakref.WeakSet[Any]" = weakref.WeakSet()


def _audited_before(f: Any) -> bool:
    """Whether `f` has been through the audit; remembers it. What cannot be remembered is audited each time."""
    try:
        known = f in _audited
        _audited.add(f)
    except TypeError:  # unhashable, or without weak references
        return False
    return known


@contextlib.contextmanager
def _audit(f: Callable, name: str) -> Iterator[None]:
    """Runs the body under `_Audit` the first time that `f` is met."""
    f = getattr(f, "__func__", inspect.unwrap(f))
    if torch.compiler.is_compiling() or _audited_before(f):
        yield
        return
    audit = _Audit(name)
    try:
        with audit:
            yield
    except Exception as error:
        _audited.discard(f)
        if audit.refusal and audit.refusal != str(error):  # TorchScript wraps what is raised inside it
            raise ValueError(audit.refusal) from None
        raise


def call(f: Callable[[Tensor], Any], x: Tensor, level: int, name: str, order: int) -> Any:
    """`f(x)` at one point, inside the transforms that differentiate it, under `Safe`."""
    if any(isinstance(mode, Safe) for mode in _get_current_function_mode_stack()):
        return f(x)
    safe = Safe(x, level, name)
    device = x.device.type
    autocast = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else contextlib.nullcontext()
    with autocast, _audit(f, name), safe:
        y = f(x)
    if order >= 2 and safe.piecewise_linear:
        warnings.warn(
            f"the {name} calls {', '.join(sorted(safe.piecewise_linear))}: piecewise linear, so its second derivatives "
            "are 0 between kinks and the curvature misses what happens at them. Use a smooth activation (tanh, "
            "softplus, silu).",
            stacklevel=2,
        )
    return y
