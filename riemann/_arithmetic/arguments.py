"""What rules are given: jets, tensors and numbers of several dtypes and shapes, masks and whole numbers."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet, Refused, aligned
from riemann._arithmetic.leibniz import moves


def promoted(A: Arithmetic, *args: Any) -> tuple[list[Any], torch.dtype]:
    """Jets, tensors and numbers with the dtype that torch gives their result."""
    dtype, is_one, is_complex = None, True, False
    for a in args:
        if isinstance(a, Tensor):
            is_one, dtype = is_one and dtype in (None, a.dtype), a.dtype
        elif isinstance(a, complex):
            is_complex = True
    if dtype is not None and is_one and (dtype.is_complex or (dtype.is_floating_point and not is_complex)):
        return list(args), dtype
    from torch._prims_common import ELEMENTWISE_TYPE_PROMOTION_KIND, elementwise_dtypes

    _, dtype = elementwise_dtypes(*args, type_promotion_kind=ELEMENTWISE_TYPE_PROMOTION_KIND.DEFAULT)
    return [cast(A, a, dtype) for a in args], dtype


def cast(A: Arithmetic, a: Any, dtype: torch.dtype) -> Any:
    """A jet or tensor in another dtype; a mask or a whole number becomes a constant, NaN where it jumps."""
    if not isinstance(a, Tensor) or a.dtype == dtype:
        return a
    if not isinstance(a, Jet):
        return a.to(dtype)
    if a.c.is_complex() and not dtype.is_complex:
        raise Refused("drops an imaginary part; use `.real`")
    if dtype.is_floating_point or dtype.is_complex:
        return Jet(A.coefficients(a, dtype))
    if a.dtype.is_floating_point:
        v = a.c[0]
        jumps = (v == torch.round(v)) & (v != 0) if dtype != torch.bool else v == 0
        return Jet(v.to(dtype).unsqueeze(0), moves(A, a.c, jumps))
    jumps = a.jumps
    return Jet(a.c.to(dtype), jumps)


def shaped(A: Arithmetic, a: Any, ndim: int) -> Any:
    """Coefficients of a jet whose shape broadcasts to `ndim` axes; tensors and numbers as they are."""
    return aligned(a.c, ndim) if isinstance(a, Jet) else a


def ndim_of(*args: Any) -> int:
    return max([a.ndim for a in args if isinstance(a, Tensor)])


def is_discrete(*args: Any) -> bool:
    """Whether no tensor among them is a floating-point number."""
    for a in args:
        if isinstance(a, Tensor) and (a.dtype.is_floating_point or a.dtype.is_complex):
            return False
    return True


def value(a: Any) -> Any:
    return a.c[0] if isinstance(a, Jet) else a


def values(*args: Any) -> list[Any]:
    """Values at the points, whose shapes broadcast."""
    ndim = ndim_of(*args)
    return [aligned(a.c, ndim)[0] if isinstance(a, Jet) else a for a in args]


def any_jumps(*args: Any) -> Tensor | None:
    """Where one of them jumps."""
    ndim = ndim_of(*args)
    masks = [aligned(a.jumps.unsqueeze(0), ndim)[0] for a in args if isinstance(a, Jet) and a.jumps is not None]
    return functools.reduce(torch.logical_or, masks) if masks else None


def discrete(A: Arithmetic, f: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Jet:
    """A function, entry by entry, of masks and whole numbers."""
    y = f(*values(*args), **kwargs)
    jumps = any_jumps(*args)
    return Jet(y.unsqueeze(0), None if jumps is None else jumps.expand(y.shape))


def any_jet(*args: Any) -> bool:
    return any(isinstance(a, Jet) for a in args)
