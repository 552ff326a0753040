"""The operations of ATen over arrays of any elements: what runs a traced function in exact arithmetic.

Most operations only move elements: torch itself performs those on an array of the elements' positions.
What holds no elements at all (masks, indices, fresh constants) torch computes, too. The rest is in the
tables of `_arithmetic` and `_linear_algebra`.
"""

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sympy.core.relational import Relational
from torch import Tensor
from torch.utils._pytree import tree_map

from riemann.bridge import _complex, _linear_algebra
from riemann.bridge._arithmetic import Elements, each, filled, of_elements, to_torch
from riemann.bridge._functions import Inexpressible, Undecided

OPERATIONS = _linear_algebra.OPERATIONS
MOVES = frozenset(
    "view _unsafe_view reshape expand permute transpose t squeeze unsqueeze select slice diagonal unbind split "
    "split_with_sizes alias clone detach lift_fresh lift_fresh_copy _to_copy contiguous cat stack flip roll repeat "
    "select_scatter slice_scatter diagonal_scatter select_backward slice_backward diagonal_backward index index_select "
    "gather take index_fill copy fill masked_fill masked_scatter scatter tril triu diag_embed block_diag "
    "constant_pad_nd new_zeros new_ones new_empty new_full zeros_like ones_like empty_like full_like unfold "
    "squeeze_ unsqueeze_ transpose_ t_ as_strided_copy view_copy expand_copy permute_copy".split()
)
CHOICES = MOVES - {"_to_copy"} | {"where"}  # what takes entries that say whether something holds
_INDICES, _FILLING = ("index", "indices", "mask"), ("value", "fill_value")  # names of arguments
FLOATS = (torch.float64, torch.float32)
KNOWN = frozenset((*MOVES, *OPERATIONS, *_complex.OWN))  # what torch need not decompose


def perform(E: Elements, target: Any, args: tuple, kwargs: dict, moves: dict[Any, Any], key: Any = None) -> Any:
    """One node of a graph: an operation, by name, on arrays of elements and of integers.

    Where it only moves elements, `moves` keeps under the key how; None, if that depends on more than shapes.
    """
    if target is operator.getitem:
        return args[0][args[1]]
    name = target._schema.name.split("::")[1]
    arrays = list(_arrays((args, tuple(kwargs.values()))))
    if not any(a.dtype == object for a in arrays):
        target = torch.ops.aten.zeros.default if name in ("empty", "_efficientzerotensor") else target
        return elements(E, target(*tree_map(to_torch, args), **tree_map(to_torch, kwargs)))
    if name in _complex.MAKES or any(map(_complex.is_complex, _leaves((args, tuple(kwargs.values()))))):
        return _of_pairs(_pairs(E), target, name, args, kwargs, moves, key)
    dtype = kwargs.get("dtype")
    if name == "_to_copy" and dtype not in (None, *FLOATS) and not any(map(E.varies, args[0].flat)):
        return torch.tensor([E.plain(c) for c in args[0].flat]).reshape(args[0].shape).to(dtype).numpy()
    if name == "_to_copy" and dtype not in (None, *FLOATS) or name not in CHOICES and _undecided(arrays):
        raise Inexpressible("makes numbers of whether something holds, or integers of coordinates; use `torch.where`")
    if name in OPERATIONS:
        return _array(OPERATIONS[name](E, *args, **kwargs))
    if name in MOVES:
        return _moved(E, target, args, kwargs, moves, key)
    raise Inexpressible(f"has no exact form as {E.kind}")


def _pairs(E: Elements) -> _complex.Complexes:
    """The arithmetic of complex numbers."""
    if not getattr(E, "has_pairs", False):
        raise Inexpressible("makes complex numbers")
    return _complex.Complexes(E)


def _of_pairs(
    E: _complex.Complexes, target: Any, name: str, args: tuple, kwargs: dict, moves: dict[Any, Any], key: Any
) -> Any:
    if name in MOVES and name not in _complex.OWN:
        formal = target._schema.arguments
        args = tuple(a if f.name in _INDICES else _complex.lift(E, a) for f, a in zip(formal, args, strict=False))
        return _moved(E, target, args, kwargs, moves, key)
    return _array(_complex.perform(E, name, args, kwargs))


def settled(E: Elements, y: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Elements as those of a dtype: pairs where it is complex, rounded constants where it is single precision."""
    if dtype in _complex.COMPLEX:
        y, E = _complex.lift(_pairs(E), y), _pairs(E)
    elif _complex.is_complex(y):  # fresh numbers beside complex ones
        y = _complex.parts(y)[0]
    return each(E, E.single, y) if dtype in (torch.float32, torch.complex64) else y


def _undecided(arrays: list[np.ndarray]) -> bool:
    return any(isinstance(entry, Relational | Undecided) for a in arrays if a.dtype == object for entry in a.flat)


def elements(E: Elements, y: Any) -> Any:
    """What torch computed: floats become elements."""
    if isinstance(y, tuple | list):
        return type(y)(elements(E, part) for part in y)
    if not isinstance(y, Tensor):
        return y
    a = y.detach().resolve_conj().resolve_neg().cpu()
    if a.is_complex():
        pairs = _pairs(E)
        return filled(tuple(a.shape), [pairs.number(c) for c in a.numpy().flat])
    if not a.is_floating_point():
        return a.numpy()
    a = (a if a.dtype == torch.float32 else a.double()).numpy()
    return np.array([*map(E.number, a.flat), None], dtype=object)[:-1].reshape(a.shape)


# ------------------------------------------------------------------------------------------------------ moving elements


def _moved(E: Elements, target: Any, args: tuple, kwargs: dict, moves: dict[Any, Any], key: Any) -> Any:
    """The operation on positions in a pool of elements, whose first are 0 and 1; positions under a key are kept."""
    named = [(formal.name, a) for formal, a in zip(target._schema.arguments, args, strict=False)]
    of_tensors = ("dtype", "device", "layout", "pin_memory", "memory_format")
    options = {name: a for name, a in kwargs.items() if name not in of_tensors}
    pool: list[Any] = [E.number(0), E.number(1)]
    for name, a in (*named, *options.items()):
        if name in _FILLING and not isinstance(a, np.ndarray):
            pool.append(E.number(a))
        elif name not in _INDICES:
            for array in _arrays(a):
                pool.extend(of_elements(E, array).flat)
    positions = moves.get(key)
    if positions is None:
        positions = _positions(target, named, options)
        if key is not None:
            moves[key] = positions
    source = np.array([*pool, None], dtype=object)

    def withdraw(y: Any) -> Any:
        if isinstance(y, tuple | list):
            return type(y)(map(withdraw, y))
        return (source[y] if y.ndim else filled((), [pool[int(y)]])) if isinstance(y, np.ndarray) else y

    return withdraw(positions)


def _positions(target: Any, named: list[tuple[str, Any]], options: dict[str, Any]) -> Any:
    """Where in the pool each entry of the result comes from."""
    used = 2

    def deposit(a: Any) -> Any:
        nonlocal used
        if not isinstance(a, np.ndarray):
            return a
        used += a.size
        return torch.arange(used - a.size, used).reshape(a.shape)

    def argument(name: str, a: Any) -> Any:
        nonlocal used
        if name in _INDICES:
            return tree_map(to_torch, a)
        if name in _FILLING and not isinstance(a, np.ndarray):
            used += 1
            return used - 1
        return tree_map(deposit, a)

    moved = target(*(argument(*pair) for pair in named), **{name: argument(name, a) for name, a in options.items()})
    if target._schema.name.endswith(("empty", "empty_like")):
        moved = torch.zeros_like(moved)
    return tree_map(lambda y: y.numpy() if isinstance(y, Tensor) else y, moved)


def _arrays(tree: Any) -> Iterator[np.ndarray]:
    if isinstance(tree, tuple | list):
        for branch in tree:
            yield from _arrays(branch)
    elif isinstance(tree, np.ndarray):
        yield tree


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, tuple | list):
        for branch in tree:
            yield from _leaves(branch)
    else:
        yield tree


def _array(y: Any) -> Any:
    """Numpy makes scalars of what has no axes; masks that are known are masks."""
    if isinstance(y, tuple):
        return tuple(map(_array, y))
    y = y if isinstance(y, np.ndarray) else filled((), [y])
    return y.astype(bool) if y.dtype == object and y.size and all(isinstance(c, bool) for c in y.flat) else y
