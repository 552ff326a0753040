"""Strides of indices for torch's compiler, without `sympy.simplify`, in which it spends a quarter of its time.

Where sizes are free, an index is a polynomial, and its stride is found by expanding it.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sympy as sp


@contextlib.contextmanager
def quick_strides() -> Iterator[None]:
    """Inductor generates code for processors with this; as it is where it has no such function."""
    from torch._inductor.codegen import cpp

    name = "stride_at_vec_range"
    general = getattr(cpp, name, None)
    if general is None:
        yield
        return
    setattr(cpp, name, _quick(general))
    try:
        yield
    finally:
        setattr(cpp, name, getattr(general, "general", general))


@functools.cache
def _quick(general: "Callable[..., sp.Expr]") -> "Callable[..., sp.Expr]":
    import sympy as sp

    if hasattr(general, "general"):  # another thread compiles
        return general

    @functools.lru_cache(4096)
    def stride(index: sp.Expr, var: sp.Symbol, *others: Any) -> sp.Expr:
        """What an index grows by with a variable."""
        if all(isinstance(part, sp.Add | sp.Mul | sp.Symbol | sp.Integer) for part in sp.preorder_traversal(index)):
            return sp.expand(index.subs(var, var + 1) - index)
        return general(index, var, *others)

    stride.general = general  # type: ignore[attr-defined]
    return stride
