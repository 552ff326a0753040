"""Inductor's code at arguments like those of a call before: its kernels one after the other, in memory that is kept.

The Python around the kernels takes memory and looks at it in other shapes; at few points that is most of a call.
"""

import functools
import math
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace as _Names
from typing import Any

import torch
from torch import Tensor

PRODUCTS = "mm", "addmm", "bmm", "baddbmm"  # that write
OPERATIONS = "linalg_cholesky_ex", "linalg_inv_ex", "linalg_solve_triangular"  # whose results are new
DTYPES = "float64", "float32", "int64", "int32", "bool"
PLACES = "torch", "ops", "aten", "default", "extern_kernels"  # where those are found
KNOWN = {"empty_strided_cpu", "reinterpret_tensor", "clear", *PRODUCTS, *OPERATIONS, *DTYPES, *PLACES}


class Replay:
    """What a call of the code called, to be called again. Arguments are read where they lay.

    Args:
        code: a function of a list that it clears, as inductor writes them.
        given: what it was called with.
        written: the places in it of tensors that are written before each call.
        most: bytes of memory that it may keep.

    Raises:
        AttributeError: it calls an operation of torch that is not known here.
        MemoryError: more would be kept than may be.
    """

    def __init__(self, code: types.MethodType, given: Sequence[Any], written: Sequence[int], most: int):
        self.calls: list[Callable[[], Any]] = []
        self.bytes, self.most, self.lock = 0, most, threading.Lock()
        own = list(given)
        for k in written:
            own[k] = self._memory(given[k].shape, given[k].stride(), given[k].dtype).copy_(given[k])
        self.written = [own[k] for k in written]
        function = code.__func__
        self.results = types.FunctionType(function.__code__, self._names(function))(code.__self__, own)

    def _names(self, function: types.FunctionType) -> dict[str, Any]:
        """What the code finds under its names: what it takes and calls is seen."""
        its = function.__globals__
        kernels = {name: self._seen(its[name]) for name in function.__code__.co_names if name not in KNOWN}
        products = {name: self._seen(getattr(its["extern_kernels"], name)) for name in PRODUCTS}
        operations = {name: _Names(default=self._made(getattr(torch.ops.aten, name).default)) for name in OPERATIONS}
        of_torch = {name: getattr(torch, name) for name in DTYPES}
        return {
            **its,
            **kernels,
            "empty_strided_cpu": self._memory,
            "extern_kernels": _Names(**products),
            "torch": _Names(ops=_Names(aten=_Names(**operations)), **of_torch),
        }

    def _memory(self, shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> Tensor:
        self._count(math.prod(shape) * dtype.itemsize)
        return torch.empty_strided(shape, strides, dtype=dtype)

    def _count(self, more: int) -> None:
        self.bytes += more
        if self.bytes > self.most:
            raise MemoryError

    def _seen(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """A kernel whose calls are remembered."""

        def called(*arguments: Any, **named: Any) -> Any:
            self.calls.append(functools.partial(kernel, *arguments, **named))
            return self.calls[-1]()

        return called

    def _made(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        """An operation whose calls are remembered; its results are copied to where the first ones lie."""

        def called(*arguments: Any, **named: Any) -> Any:
            first = operation(*arguments, **named)
            own = first if isinstance(first, tuple) else (first,)
            self._count(sum(a.nbytes for a in own))

            def again() -> None:
                y = operation(*arguments, **named)
                for a, b in zip(own, y if isinstance(y, tuple) else (y,), strict=True):
                    a.copy_(b)

            self.calls.append(again)
            return first

        return called

    def run(self) -> tuple[Tensor, ...]:
        """The results, until the next call."""
        for call in self.calls:
            call()
        return self.results

    def __call__(self, *written: Tensor) -> tuple[Tensor, ...] | None:
        """The results at other tensors that are written; None while another thread is here."""
        if not self.lock.acquire(blocking=False):
            return None
        try:
            for own, a in zip(self.written, written, strict=True):
                own.copy_(a)
            return tuple([a.clone() for a in self.run()])
        finally:
            self.lock.release()


def code_of(made: Any) -> types.MethodType | None:
    """The code that a function of inductor's stands on; None if it does more than take memory and call kernels."""
    codes = [code for code in _methods(made) if _only_calls_kernels(code)]
    return codes[0] if len(codes) == 1 else None


def replay_of(
    code: types.MethodType | None, given: Sequence[Any], written: Sequence[int], results: Sequence[Tensor], most: int
) -> Replay | None:
    """The replay of code that gave the results just now, to the last bit; None if there is none that keeps no more."""
    if code is None:
        return None
    try:
        replay = Replay(code, given, written, most)
    except (AttributeError, MemoryError):
        return None
    again = replay(*(given[k] for k in written)) or ()
    return replay if len(again) == len(results) and all(map(_are_same, again, results)) else None


def _are_same(a: Tensor, b: Tensor) -> bool:
    alike = (a.dtype, a.shape, a.stride(), a.device) == (b.dtype, b.shape, b.stride(), b.device)
    return alike and bool(((a == b) | ((a != a) & (b != b))).all())


def _only_calls_kernels(code: types.MethodType) -> bool:
    """Whether code does nothing but take memory on a CPU, look at it in other shapes, and call kernels."""
    from torch._inductor.select_algorithm import extern_kernels

    function = code.__func__
    if not isinstance(function, types.FunctionType) or function.__globals__.get("extern_kernels") is not extern_kernels:
        return False
    kernels = [function.__globals__.get(name) for name in function.__code__.co_names if name not in KNOWN]
    inner = any(isinstance(a, types.CodeType) for a in function.__code__.co_consts) or function.__closure__
    return not inner and all(isinstance(f, types.BuiltinFunctionType) and f.__name__ == "kernel" for f in kernels)


def _methods(made: Any) -> Iterator[types.MethodType]:
    """The methods that a function stands on: those that it, what it encloses and their attributes hold."""
    waiting, seen = [made], set[int]()
    while waiting:
        f = waiting.pop()
        if id(f) in seen or isinstance(f, (type, types.ModuleType)) or not callable(f):
            continue
        seen.add(id(f))
        if isinstance(f, types.MethodType):
            yield f
            continue
        cells = f.__closure__ or () if isinstance(f, types.FunctionType) else ()
        waiting += [c.cell_contents for c in cells if c != types.CellType()]
        waiting += getattr(f, "__dict__", {}).values()
