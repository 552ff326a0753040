"""What arguments must be: points, vectors at them, whole numbers. Values of points are looked at once, at the door."""

import contextlib
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import ParamSpec, TypeGuard, TypeVar

import torch
from torch import Tensor
from torch._C import _functorch

from riemann._arithmetic.jet import UNSEEN, is_seen
from riemann._points.faults import first

_PLACES = ("first", "second", "third", "fourth")
P = ParamSpec("P")
R = TypeVar("R")

_INSIDE: ContextVar[bool] = ContextVar("inside", default=False)
_ALIKE: ContextVar[bool] = ContextVar("alike", default=False)


def has_values(x: Tensor) -> bool:
    """Whether values can be looked at: outside transforms and compilation, on a device that has them."""
    return not (torch.compiler.is_compiling() or x.is_meta or UNSEEN.get()) and is_seen(x)


def has_layout(x: Tensor) -> bool:
    """Whether the layout of memory can be looked at, and is the same where what is done is done again."""
    recorded = torch._C._len_torch_dispatch_stack() > 0 and not _ALIKE.get()
    return not (recorded or torch.compiler.is_compiling() or x.is_meta) and is_seen(x)


@contextlib.contextmanager
def without_values(alike: bool = False) -> Iterator[None]:
    """Nothing looks at values inside, as in transforms: what is done is to be done again, for others.

    Those are of the same sizes and the same layout if they are `alike`.
    """
    tokens = UNSEEN.set(True), _ALIKE.set(alike)
    try:
        yield
    finally:
        UNSEEN.reset(tokens[0])
        _ALIKE.reset(tokens[1])


def check_count(name: str, value: int, least: int) -> None:
    """Raises unless an argument is a whole number, `least` or more."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"`{name}` is {value!r}, expected a whole number, {least} or more")


def check_points(x: Tensor, name: str = "x", function: str = "metric", order: Sequence[str] = ()) -> None:
    """Raises unless `x`, the argument of this name, is a tensor of finite floating-point coordinates `(*batch, n)`.

    The first argument is a `function`; the `order` is that of all.
    """
    shape = "(*batch, N, n)" if name == "points" else "(*batch, n)"
    wanted = f"`{name}` is a {type(x).__name__}, expected a torch.Tensor of shape {shape}"
    if callable(x):
        place = _PLACES[order.index(name) if name in order else 1]
        raise TypeError(f"{wanted}: the {function} is the first argument, the points are the {place}")
    if is_number(x) and order:
        raise TypeError(f"{wanted}; write the arguments in this order: {', '.join(order)}")
    if not isinstance(x, Tensor):
        is_array = isinstance(x, list | tuple | float | int) or hasattr(x, "__array__")
        raise TypeError(f"{wanted}; use `{to_tensor(name, x)}`" if is_array else wanted)
    if x.dtype.is_complex:
        raise TypeError(f"`{name}` has dtype {x.dtype}, expected float64 (or float32): coordinates are real numbers")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"`{name}` has dtype {x.dtype}, expected float64 (or float32); use `{name}.double()`")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"`{name}` has shape {tuple(x.shape)}, expected {shape}: coordinates on the last axis")
    check_dense(name, x)
    if has_values(x) and not _INSIDE.get():
        check_finite(x, name)


def surely_finite(y: Tensor) -> bool:
    """Whether one pass tells that all numbers are finite: a finite sum has finite terms only."""
    return math.isfinite(y.detach().sum().item())


def check_finite(x: Tensor, name: str = "x") -> None:
    """Raises unless all coordinates are finite."""
    if not bool(torch.isfinite(x).all()):
        where = first(~torch.isfinite(x).all(-1))
        raise ValueError(f"`{name}` is not finite at {where}: {x[where].tolist()}; remove such points")


@contextlib.contextmanager
def inside(x: Tensor) -> Iterator[None]:
    """What runs here works on points x that were checked, and on what is made of them: no values are looked at."""
    if not has_values(x):
        yield
        return
    token = _INSIDE.set(True)
    try:
        yield
    finally:
        _INSIDE.reset(token)


def door(f: Callable[P, R]) -> Callable[P, R]:
    """A function whose argument `points`, or else the second, are points: checked here, and trusted by all it calls."""
    parameters = inspect.signature(f).parameters.values()
    names = [p.name for p in parameters]
    order = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    place = names.index("points") if "points" in names else 1

    @functools.wraps(f)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        if len(args) <= place and names[place] not in kwargs:
            return f(*args, **kwargs)  # which says what is wrong
        x = args[place] if len(args) > place else kwargs[names[place]]
        check_points(x, names[place], names[0], order)  # type: ignore[arg-type]
        with inside(x):  # type: ignore[arg-type]
            return f(*args, **kwargs)

    return checking


def is_number(value: object) -> TypeGuard[float | int]:
    """Whether a value is a real number, of Python, NumPy or SymPy; no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def to_tensor(name: str, value: object) -> str:
    """The line to write where `value` is no tensor, without loss of digits: of a list, torch makes float32."""
    if isinstance(value, list | tuple) and value and all(isinstance(a, Tensor) for a in value):
        return f"torch.stack({name})"
    if str(getattr(value, "dtype", "")) == "object":
        return f"torch.as_tensor({name}.astype(float))"
    has_them = str(getattr(value, "dtype", "")) in ("float32", "float64")
    return f"torch.as_tensor({name})" if has_them else f"torch.as_tensor({name}, dtype=torch.float64)"


def check_dense(name: str, x: Tensor) -> None:
    """Raises for sparse tensors, of which torch can do little here."""
    if x.layout != torch.strided:
        raise TypeError(f"`{name}` is sparse, expected a dense tensor; use `{name}.to_dense()`")


def check_unmapped(*tensors: Tensor) -> None:
    """Raises under a `vmap` that hides values from an algorithm that needs them."""
    for x in tensors:
        if x.is_meta:
            raise ValueError("a solver looks at values, and tensors on the device `meta` have none")
        while _functorch.is_functorch_wrapped_tensor(x):
            if _functorch.is_batchedtensor(x):
                raise RuntimeError(
                    "a solver that chooses its steps looks at values, which `vmap` hides: give it all points at once, "
                    "of shape (*batch, n). `backward`, `torch.func.grad` and `torch.func.jvp` work"
                )
            x = _functorch.get_unwrapped(x)


def carry_derivatives(*tensors: Tensor) -> bool:
    """Whether derivatives of one of the tensors may be asked for."""
    return any(x.requires_grad or not has_values(x) for x in tensors)


def broadcast_vectors(x: Tensor, **vectors: Tensor) -> tuple[Tensor, ...]:
    """`x`, checked, and vectors with one common batch shape; raises unless all are alike in n, dtype and device."""
    check_points(x)
    return alike(x, **vectors)


def alike(x: Tensor, **vectors: Tensor) -> tuple[Tensor, ...]:
    """`broadcast_vectors` for points that are checked already."""
    for name, v in vectors.items():
        if not isinstance(v, Tensor):
            use = ": the metric is the first argument" if callable(v) else f"; use `torch.as_tensor({name}).to(x)`"
            raise TypeError(f"`{name}` is a {type(v).__name__}, expected a torch.Tensor of shape (*batch, n){use}")
        check_dense(name, v)
        if v.ndim == 0 or v.shape[-1] != x.shape[-1]:
            raise ValueError(f"`{name}` has shape {tuple(v.shape)}, expected (*batch, {x.shape[-1]}), as `x`")
        if v.dtype != x.dtype or v.device != x.device:
            raise ValueError(
                f"`{name}` is {v.dtype} on {v.device}, but `x` is {x.dtype} on {x.device}; use `{name}.to(x)`"
            )
    try:
        return torch.broadcast_tensors(x, *vectors.values())
    except RuntimeError as error:
        shapes = ", ".join(f"`{name}` {tuple(v.shape)}" for name, v in {"x": x, **vectors}.items())
        raise ValueError(f"batch shapes do not broadcast: {shapes}") from error
