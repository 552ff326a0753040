"""Strides of indices for torch's compiler, without `sympy.simplify`, in which it spends a quarter of its time.

An index is a polynomial in a variable, but for quotients and remainders; those that are constant along a vector are
symbols, and the stride is found by expanding it.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

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
    from torch.utils._sympy.functions import FloorDiv, ModularIndexing

    if hasattr(general, "general"):  # another thread compiles
        return general

    @functools.lru_cache(4096)
    def stride(index: sp.Expr, var: sp.Symbol, length: int | None = None) -> sp.Expr:
        """What an index grows by with a variable, from a multiple of a length to the next."""
        parts = {part: along(part, var, length) for part in index.atoms(FloorDiv, ModularIndexing) if part.has(var)}
        polynomial = index.xreplace(parts)
        if is_polynomial(polynomial, var):
            return sp.expand(polynomial.xreplace({var: var + 1}) - polynomial)
        return general(index, var, length)

    def along(part: sp.Expr, var: sp.Symbol, length: int | None) -> sp.Expr:
        """A quotient or a remainder between multiples of a length; itself if it is neither constant nor grows there."""
        divisor, modulus = (*part.args[1:], None)[:2]
        if length and part.args[0] == var and divisor.is_Integer:
            if divisor % length == 0:
                return sp.Dummy()
            if divisor == 1 and modulus is not None and modulus.is_Integer and modulus % length == 0:
                return var + sp.Dummy()
        return part

    def is_polynomial(e: sp.Expr, var: sp.Symbol) -> bool:
        return (
            e == var
            or not e.has(var)
            or (isinstance(e, sp.Add | sp.Mul) and all(is_polynomial(a, var) for a in e.args))
        )

    stride.general = general  # type: ignore[attr-defined]
    return stride
