"""Operations that move, copy or add up numbers: the same for each coefficient."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic import outer_products
from riemann._arithmetic.arguments import cast, is_discrete, promoted
from riemann._arithmetic.dispatch import Arithmetic, mapped
from riemann._arithmetic.fresh import UNWRITTEN, unwritten
from riemann._arithmetic.jet import OF_SHAPES, Jet, Refused, aligned, rule, wrapped
from riemann._arithmetic.views import axis_of


@rule("clone", "contiguous")
def _clone(A: Arithmetic, a: Jet, *, memory_format: Any = None) -> Jet:
    if memory_format is torch.contiguous_format:
        return Jet(a.c.clone(memory_format=memory_format), a.jumps)
    return Jet(a.c.clone(), a.jumps)


@rule("_to_copy")
def _to_copy(A: Arithmetic, a: Jet, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    if device is not None and torch.device(device).type == "meta":  # torch asks for shapes
        return torch.empty(a.shape, dtype=dtype or a.dtype, device="meta")
    if device is not None and torch.device(device).type != a.device.type:
        raise Refused("moves values of the point to another device")
    return cast(A, a, dtype) if dtype not in (None, a.dtype) else Jet(a.c.clone(), a.jumps)


def _of_shapes(name: str) -> Callable[[Any], Any]:
    return lambda f: OF_SHAPES.setdefault(name, f)


def _fresh(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def made(A: Arithmetic, a: Jet, *args: Any, dtype: Any = None, device: Any = None, layout: Any = None,
             pin_memory: Any = None, memory_format: Any = None) -> Tensor:  # fmt: skip
        like = torch.empty(a.shape, dtype=dtype or a.dtype, device="meta")
        return f(like, *args, device=a.device)

    return made


for _name in ("zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full"):
    _of = getattr(Tensor, _name, None) or getattr(torch, _name)
    OF_SHAPES[_name] = unwritten(_fresh(_of)) if _name in UNWRITTEN else _fresh(_of)


@_of_shapes("new_empty_strided")
@unwritten
def _new_empty_strided(A: Arithmetic, a: Jet, size: Any, stride: Any, **kwargs: Any) -> Tensor:
    return torch.empty_strided(size, stride, dtype=kwargs.get("dtype") or a.dtype, device=a.device)


@_of_shapes("_new_zeros_with_same_feature_meta")
def _zeros_of(A: Arithmetic, a: Any, like: Any, *, self_num_batch_dims: int = 0) -> Tensor:
    """A tangent that lies in memory as the value does, for each of a batch."""
    batch = a.shape[:self_num_batch_dims]
    span = 1 + sum((size - 1) * step for size, step in zip(like.shape, like.stride(), strict=True))
    steps = [span * math.prod(batch[k + 1 :]) for k in range(len(batch))]
    y = torch.empty_strided((*batch, *like.shape), (*steps, *like.stride()), dtype=like.dtype, device=A.orders.device)
    return y.zero_()


@_of_shapes("_has_same_storage_numel")
def _has_same_storage_numel(A: Arithmetic, a: Any, b: Any) -> bool:
    """What torch asks of a tangent, to share its memory as the value does: jets see to that themselves."""
    return True


@rule("fill")
def _fill(A: Arithmetic, a: Jet, number: Any) -> Jet:
    c = A.coefficients(number, a.dtype)
    return Jet(aligned(c, a.ndim).expand(-1, -1, *a.shape).clone())


def joined(A: Arithmetic, tensors: Any, f: Callable[[list[Tensor]], Tensor]) -> Jet:
    """Jets and tensors of one rank, put together by `f` of their coefficients."""
    tensors, dtype = promoted(A, *tensors)
    if is_discrete(*tensors):
        masks = [t.jumps for t in tensors if isinstance(t, Jet) and t.jumps is not None]
        parts = [A.coefficients(t) for t in tensors]
        if not masks:
            return Jet(f(parts))
        jumps = [
            t.jumps.unsqueeze(0)
            if isinstance(t, Jet) and t.jumps is not None
            else torch.zeros_like(p, dtype=torch.bool)
            for t, p in zip(tensors, parts, strict=True)
        ]
        return Jet(f(parts), f(jumps)[0])
    parts = [A.coefficients(t, dtype) for t in tensors]
    count = max(map(len, parts))
    return Jet(f([A.padded(p, count) for p in parts]))


@rule("cat", "concat", "concatenate")
def _cat(A: Arithmetic, tensors: Any, dim: int = 0) -> Jet:
    some = [t for t in tensors if t.shape != (0,)] or list(tensors)
    ndim = some[0].ndim
    return joined(A, some, lambda parts: torch.cat(parts, wrapped(dim, ndim) + 2))


@rule("stack")
def _stack(A: Arithmetic, tensors: Any, dim: int = 0) -> Jet:
    ndim = tensors[0].ndim
    if (waiting := outer_products.of_stack(A, tensors, wrapped(dim, ndim + 1))) is not None:
        return waiting
    return joined(A, tensors, lambda parts: torch.stack(parts, wrapped(dim, ndim + 1) + 2))


def of_values(A: Arithmetic, f: Callable[..., Tensor], *args: Any, jumps: bool = True) -> Jet:
    """`f`, written for one point, of masks and whole numbers: where one jumps, all of the point's result may."""
    jets = [a for a in args if isinstance(a, Jet)]
    dims = tuple(0 if isinstance(a, Jet) else None for a in args)
    y = torch.func.vmap(f, in_dims=dims)(*(a.c[0] if isinstance(a, Jet) else a for a in args))
    masks = [a.jumps.reshape(A.points, -1).any(1) for a in jets if a.jumps is not None] if jumps else []
    if not masks:
        return mapped(lambda t: Jet(t.unsqueeze(0)), y)
    mask = functools.reduce(torch.logical_or, masks)
    return mapped(lambda t: Jet(t.unsqueeze(0), mask.view(-1, *[1] * (t.ndim - 1)).expand(t.shape)), y)


LINEAR = (
    "flip roll repeat constant_pad_nd select_backward slice_backward diagonal_backward "
    "unfold_backward index_select gather take index im2col col2im pixel_shuffle pixel_unshuffle cumsum trace "
    "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d "
    "avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d "
    "upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa channel_shuffle rot90 "
    "select_scatter slice_scatter diagonal_scatter block_diag _fft_r2c _fft_c2c _fft_c2r view_copy "
    "expand_copy permute_copy squeeze_copy unsqueeze_copy transpose_copy t_copy alias_copy diagonal_copy select_copy "
    "slice_copy unfold_copy detach_copy _unsafe_index _unsafe_masked_index "
    "index_add index_copy scatter scatter_add index_fill masked_scatter "
    "reflection_pad1d_backward reflection_pad2d_backward cumsum_backward complex polar_ renorm_ reshape_copy "
    "max_unpool2d max_unpool3d diff _index_put_impl _safe_softmax_ "
).split()


"""Linear in the tensors that are no indices and no masks."""


_INDICES = frozenset(("index", "indices", "mask", "indices_or_sections"))


def _linear(A: Arithmetic, name: str, *args: Any, **kwargs: Any) -> Any:
    if any(isinstance(a, Jet) and a.dtype == torch.bool for a in _leaves(args)) and "index" in name:
        raise Refused("has as many results as the point decides; use `torch.where`, or a fixed index")
    operation = getattr(torch.ops.aten, name)
    schema = _schema(operation, args, kwargs)
    named = dict(zip((formal.name for formal in schema.arguments), args, strict=False)) | kwargs
    leaves: list[Any] = []
    moved = {key: a for key, a in named.items() if key not in _INDICES and key != "mask"}
    floating = [a for a in _leaves(moved) if isinstance(a, Tensor) and not is_discrete(a)]
    dtype = functools.reduce(torch.promote_types, (a.dtype for a in floating)) if floating else None

    def slot(key: str, a: Any) -> Any:
        if isinstance(a, tuple | list) and any(isinstance(t, Tensor) for t in a):
            return type(a)(slot(key, t) for t in a)
        if isinstance(a, Tensor):
            if key not in _INDICES and dtype is not None and a.dtype != dtype and name not in ("_fft_c2r", "_fft_r2c"):
                a = cast(A, a, dtype)
            leaves.append(a)
            return _Slot(len(leaves) - 1)
        return a

    slots = {key: slot(key, a) for key, a in named.items()}
    discrete = [a for a in leaves if isinstance(a, Jet) and is_discrete(a)]

    def call(*tensors: Tensor) -> Any:
        filled = {key: _put(a, tensors) for key, a in slots.items()}
        ordered = [
            filled.pop(formal.name) for formal in schema.arguments if formal.name in filled and not formal.kwarg_only
        ]
        return operation(*ordered, **filled)

    if dtype is None or not any(isinstance(a, Jet) and not is_discrete(a) for a in leaves) and not floating:
        return of_values(A, call, *leaves)
    count = max((len(a.c) for a in leaves if isinstance(a, Jet) and not is_discrete(a)), default=1)
    keys = _keys(slots)
    flat, dims = [], []
    for k, a in enumerate(leaves):
        if isinstance(a, Jet) and not is_discrete(a):
            flat.append(A.padded(a.c, count).flatten(0, 1))
            dims.append(0)
        elif isinstance(a, Jet):
            flat.append(a.c.expand(count, *a.c.shape[1:]).flatten(0, 1))
            dims.append(0)
        elif keys[k] in _INDICES or is_discrete(a):
            flat.append(a)
            dims.append(None)
        else:  # a constant: 0 in the derivatives
            flat.append(A.padded(A.coefficients(a), count).flatten(0, 1))
            dims.append(0)
    numbers = [key for key, a in named.items() if key in ("value", "fill_value", "fill") and not isinstance(a, Tensor)]
    if numbers and count > 1:  # a number that is put in is a constant, too
        y0 = torch.func.vmap(call, in_dims=tuple(dims))(
            *(f if d is None else f[: A.points] for f, d in zip(flat, dims, strict=True))
        )
        for key in numbers:
            slots[key] = 0
        y1 = torch.func.vmap(call, in_dims=tuple(dims))(
            *(f if d is None else f[A.points :] for f, d in zip(flat, dims, strict=True))
        )
        y = torch.cat([y0, y1])
    else:
        y = torch.func.vmap(call, in_dims=tuple(dims))(*flat)
    result = mapped(lambda t: Jet(t.unflatten(0, (count, A.points))), y)
    masks = [a.jumps.reshape(A.points, -1).any(1) for a in discrete if a.jumps is not None]
    if masks:
        mask = functools.reduce(torch.logical_or, masks)
        result = mapped(lambda j: jumping(A, j, mask), result)
    return result


def jumping(A: Arithmetic, a: Jet, points: Tensor) -> Jet:
    """A jet whose derivatives are not known at some points."""
    return Jet(A.unknown_from(a.c, points.view(-1, *[1] * a.ndim)))


class _Slot(int):
    """The place of a tensor among the tensors of a call."""


def _put(a: Any, tensors: Any) -> Any:
    if isinstance(a, _Slot):
        return tensors[a]
    return type(a)(_put(t, tensors) for t in a) if isinstance(a, tuple | list) else a


def _keys(slots: dict[str, Any]) -> dict[int, str]:
    found: dict[int, str] = {}

    def walk(key: str, a: Any) -> None:
        if isinstance(a, _Slot):
            found[int(a)] = key
        elif isinstance(a, tuple | list):
            for t in a:
                walk(key, t)

    for key, a in slots.items():
        walk(key, a)
    return found


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, tuple | list):
        return [leaf for branch in tree for leaf in _leaves(branch)]
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in _leaves(branch)]
    return [tree]


def _schema(operation: Any, args: tuple, kwargs: dict) -> Any:
    """The schema of the overload that takes these arguments: its names."""
    overloads = [getattr(operation, name) for name in operation.overloads()]
    overloads = [o for o in overloads if not any(a.is_out for a in o._schema.arguments)]
    for o in overloads:
        formals = o._schema.arguments
        positional = [a for a in formals if not a.kwarg_only]
        if len(args) > len(positional) or not kwargs.keys() <= {a.name for a in formals}:
            continue
        if all(_fits(a, f) for a, f in zip(args, positional, strict=False)):
            return o._schema
    return overloads[0]._schema


def _fits(a: Any, formal: Any) -> bool:
    kind = str(formal.type)
    if isinstance(a, Tensor):
        return "Tensor" in kind
    if isinstance(a, tuple | list):
        return "List" in kind
    return kind != "Tensor" or a is None


LINEAR += [
    f"{name}_backward"
    for name in LINEAR
    if name.startswith(("upsample", "_upsample", "avg_pool", "_adaptive_avg", "reflection_pad", "replication_pad"))
]


for _name in dict.fromkeys(LINEAR):
    if hasattr(torch.ops.aten, _name):
        rule(_name)(functools.partial(lambda A, *args, name, **kwargs: _linear(A, name, *args, **kwargs), name=_name))


def _triangle(A: Arithmetic, a: Jet, k: int = 0, *, name: str) -> Jet:
    if a.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    kept = getattr(torch, name)(torch.ones(a.shape[-2:], dtype=torch.bool, device=a.device), k)

    def part(c: Tensor) -> Tensor:  # torch's own is slow for many small matrices
        return torch.where(kept, c, c.new_zeros(()))

    return Jet(part(a.c), None if a.jumps is None else part(a.jumps))


for _name in ("tril", "triu"):
    rule(_name)(functools.partial(_triangle, name=_name))


@rule("diag_embed")
def _diag_embed(A: Arithmetic, a: Jet, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Jet:
    axes = axis_of(a, dim1, 1), axis_of(a, dim2, 1)
    jumps = None if a.jumps is None else torch.diag_embed(a.jumps.unsqueeze(0), offset, *axes)[0]
    y = Jet(torch.diag_embed(a.c, offset, *axes), jumps)
    return y.as_diagonal() if offset == 0 and {*axes} == {y.ndim, y.ndim + 1} else y


@rule("index_put", "_unsafe_index_put")
def _index_put(A: Arithmetic, a: Any, indices: Any, values: Any, accumulate: bool = False) -> Jet:
    """Numbers of one jet put into another, where places are fixed and lie side by side; else the general way."""
    given = [k for k, index in enumerate(indices) if index is not None]
    plain = given == list(range(given[0], given[-1] + 1)) and not any(
        isinstance(index, Jet) or index.dtype == torch.bool for index in indices if index is not None
    )
    if not plain or is_discrete(a) or is_discrete(values):
        return _linear(A, "index_put", a, indices, values, accumulate)
    (a, values), dtype = promoted(A, a, values)
    c, v = A.coefficients(a, dtype), A.coefficients(values, dtype)
    count = max(len(c), len(v))
    v = aligned(A.padded(v, count), a.ndim - len(given) + max(indices[k].ndim for k in given))
    if A.anew or len(given) < a.ndim:
        return Jet(torch.ops.aten.index_put(A.padded(c, count), [None, None, *indices], v, accumulate))
    places = torch.arange(a.numel(), device=c.device).view(a.shape)[tuple(indices)]  # a number each: copied at once
    v = v.expand(count, c.shape[1], *places.shape).reshape(count, c.shape[1], places.numel())
    y = c.new_zeros((count, c.shape[1], a.numel()))
    y[: len(c)] = c.reshape(*c.shape[:2], a.numel())
    put = y.scatter_add_ if accumulate else y.scatter_
    return Jet(put(2, places.reshape(-1).expand_as(v), v).unflatten(2, a.shape))


@rule("embedding")
def _embedding(A: Arithmetic, weight: Any, indices: Any, *_: Any) -> Any:
    if isinstance(indices, Jet):
        return _linear(A, "index", weight, [indices])
    return Jet(weight.c[:, :, indices])


def _axes(a: Jet, dim: Any) -> list[int]:
    dims = range(a.ndim) if dim is None or dim == [] or dim == () else [dim] if isinstance(dim, int) else dim
    return [axis_of(a, d) for d in dims] if a.ndim else []


@rule("sum")
def _sum(A: Arithmetic, a: Jet, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Jet:
    a = cast(A, a, dtype) if dtype is not None else a
    if is_discrete(a):
        return of_values(A, lambda t: torch.sum(t) if dim is None else torch.sum(t, dim, keepdim), a)
    axes = _axes(a, dim)
    if not keepdim and (waiting := outer_products.of_axes(A, a, axes)) is not None:
        return waiting
    return Jet(a.c.sum(axes, keepdim=keepdim) if axes else a.c)


@rule("mean")
def _mean(A: Arithmetic, a: Jet, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Jet:
    a = cast(A, a, dtype) if dtype is not None else a
    axes = _axes(a, dim)
    return Jet(a.c.mean(axes, keepdim=keepdim) if axes else a.c)


for _name in ("any", "all", "count_nonzero"):

    def _reduce(A: Arithmetic, a: Jet, *args: Any, name: str = _name, **kwargs: Any) -> Jet:
        mask = cast(A, a, torch.bool)
        return of_values(A, lambda t: getattr(torch, name)(t, *args, **kwargs), mask)

    rule(_name)(_reduce)
