"""Views of memory: the same of each coefficient, and what is written into them is seen."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Jet, Refused, aligned, rule, wrapped


def axis_of(a: Jet, dim: int, extra: int = 0) -> int:
    """The axis of the coefficients that is axis `dim` of the jet, which may have `extra` more."""
    return wrapped(dim, a.ndim + extra) + 2


def _view(*names: str) -> Callable[[Callable[..., Callable[[Tensor], Tensor]]], Any]:
    """Registers a function of the jet and arguments to what takes the view of coefficients."""

    def register(f: Callable[..., Callable[[Tensor], Tensor]]) -> Any:
        rule(*names)(lambda A, a, *args, **kwargs: a.view_by(f(a, *args, **kwargs)))
        return f

    return register


@_view("alias", "detach", "lift_fresh")
def _alias(a: Jet) -> Callable[[Tensor], Tensor]:
    return lambda c: c.view(c.shape)


rule("_neg_view")(lambda A, a: Jet(-a.c))


rule("_conj", "conj", "conj_physical", "resolve_conj")(lambda A, a: Jet(a.c.conj().resolve_conj(), a.jumps))


rule("resolve_neg")(lambda A, a: a)


@_view("view", "_unsafe_view", "reshape", "_reshape_alias")
def _reshape(a: Jet, size: Any, *_: Any) -> Callable[[Tensor], Tensor]:
    if isinstance(size, torch.dtype):
        raise Refused("reads the bits of numbers")
    return lambda c: c.reshape(c.shape[0], c.shape[1], *_filled(size, a.numel()))


def _filled(size: Any, numel: int) -> list[int]:
    """A shape with -1 replaced."""
    size = list(size)
    if size.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if -1 in size:
        known = math.prod(s for s in size if s != -1)
        size[size.index(-1)] = numel // known if known else 0
    return size


@_view("expand")
def _expand(a: Jet, size: Any, implicit: bool = False) -> Callable[[Tensor], Tensor]:
    return lambda c: aligned(c, len(size)).expand(-1, -1, *size)


@_view("permute")
def _permute(a: Jet, dims: Any) -> Callable[[Tensor], Tensor]:
    return lambda c: c.permute(0, 1, *(axis_of(a, d) for d in dims))


@_view("transpose")
def _transpose(a: Jet, p: int, q: int) -> Callable[[Tensor], Tensor]:
    return lambda c: c.transpose(axis_of(a, p), axis_of(a, q)) if a.ndim else c.view(c.shape)


@_view("t")
def _t(a: Jet) -> Callable[[Tensor], Tensor]:
    return lambda c: c.transpose(2, 3) if a.ndim == 2 else c.view(c.shape)


@_view("unsqueeze")
def _unsqueeze(a: Jet, dim: int) -> Callable[[Tensor], Tensor]:
    return lambda c: c.unsqueeze(axis_of(a, dim, 1))


@_view("squeeze")
def _squeeze(a: Jet, dim: Any = None) -> Callable[[Tensor], Tensor]:
    dims = range(a.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = [axis_of(a, d) for d in dims if a.ndim and a.shape[d] == 1]
    return lambda c: c.squeeze(axes) if axes else c.view(c.shape)


@_view("select")
def _select(a: Jet, dim: int, index: int) -> Callable[[Tensor], Tensor]:
    return lambda c: c.select(axis_of(a, dim), index)


@_view("slice")
def _slice(a: Jet, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Callable[[Tensor], Tensor]:
    return lambda c: torch.ops.aten.slice(c, axis_of(a, dim), start, end, step)


@_view("narrow")
def _narrow(a: Jet, dim: int, start: int, length: int) -> Callable[[Tensor], Tensor]:
    return lambda c: c.narrow(axis_of(a, dim), start, length)


@_view("diagonal")
def _diagonal(a: Jet, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Callable[[Tensor], Tensor]:
    return lambda c: c.diagonal(offset, axis_of(a, dim1), axis_of(a, dim2))


@_view("unfold")
def _unfold(a: Jet, dim: int, size: int, step: int) -> Callable[[Tensor], Tensor]:
    return lambda c: c.unfold(axis_of(a, dim), size, step) if a.ndim else c.unsqueeze(-1)


@_view("view_as_real")
def _view_as_real(a: Jet) -> Callable[[Tensor], Tensor]:
    return torch.view_as_real


@_view("view_as_complex")
def _view_as_complex(a: Jet) -> Callable[[Tensor], Tensor]:
    def take(c: Tensor) -> Tensor:
        if c.stride(-1) != 1:
            raise Refused("reads memory that is laid out otherwise here; use `torch.complex(a[..., 0], a[..., 1])`")
        return torch.view_as_complex(c)

    return take


@_view("real")
def _real(a: Jet) -> Callable[[Tensor], Tensor]:
    return lambda c: c.real


@_view("imag")
def _imag(a: Jet) -> Callable[[Tensor], Tensor]:
    return lambda c: c.imag


def _parts(a: Jet, sizes: list[int], dim: int) -> list[Jet]:
    found, start = [], 0
    for size in sizes:
        found.append(a.view_by(_narrow(a, dim, start, size)))
        start += size
    return found


@rule("split")
def _split(A: Arithmetic, a: Jet, size: Any, dim: int = 0) -> list[Jet]:
    if not isinstance(size, int):
        return _parts(a, list(size), dim)
    length = a.shape[dim]
    return _parts(a, [min(size, length - k) for k in range(0, length, size)] if length else [0], dim)


@rule("split_with_sizes")
def _split_with_sizes(A: Arithmetic, a: Jet, sizes: Any, dim: int = 0) -> list[Jet]:
    return _parts(a, list(sizes), dim)


@rule("unbind")
def _unbind(A: Arithmetic, a: Jet, dim: int = 0) -> list[Jet]:
    return [a.view_by(_select(a, dim, k)) for k in range(a.shape[dim])]


@rule("unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk")
def _unsafe_split(A: Arithmetic, a: Jet, sizes: Any, dim: int = 0) -> list[Jet]:
    return [Jet(part.c.clone()) for part in _split(A, a, sizes, dim)]


@rule("as_strided")
def _as_strided(A: Arithmetic, a: Jet, size: Any, stride: Any, offset: int | None = None) -> Jet:
    """A view of the memory, if it lies as that of a plain tensor would."""
    return a.view_of_memory(size, stride, a.storage_offset() if offset is None else offset, A.anew)
