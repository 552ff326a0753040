"""Arrays of residues, `(rows, draws, *shape)`: what only moves entries, and what has no rule."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter, tree_map_only

from riemann._structure.residues import digest, hashed, of_numbers

Node = torch.fx.Node
Lead = tuple[int, int]  # how many rows, and draws

MOVES = frozenset(
    "view _unsafe_view reshape expand permute transpose t squeeze unsqueeze select slice diagonal unbind split "
    "split_with_sizes alias clone detach lift_fresh lift_fresh_copy contiguous cat stack flip roll repeat "
    "select_scatter slice_scatter diagonal_scatter select_backward slice_backward diagonal_backward index index_select "
    "gather take fill copy tril triu diag_embed constant_pad_nd scatter masked_fill index_fill unfold "
    "as_strided_copy view_copy expand_copy permute_copy".split()
)
_INDICES = ("index", "indices", "mask")


def varies(value: Any) -> bool:
    """Whether a value is one of residues, and not what torch computed."""
    return isinstance(value, tuple | list) and any(map(varies, value)) or isinstance(value, Residues)


def is_meta(kept: Any) -> bool:
    """Whether a value is one of the shapes that torch looks up, and holds no numbers."""
    return isinstance(kept, Tensor) and kept.is_meta


class Residues:
    """A value that depends on the arguments of the graph: `c`, an array of residues."""

    __slots__ = ("c",)

    def __init__(self, c: Tensor):
        self.c = c


def lifted(a: Any, lead: Lead) -> Tensor:
    """An array of residues of a tensor or number that depends on nothing."""
    if isinstance(a, Residues):
        return a.c
    value = of_numbers(torch.as_tensor(a, dtype=torch.float64) if not isinstance(a, Tensor) else a)
    zeros = [torch.zeros_like(value)] * (lead[0] - 1)
    return torch.stack([value, *zeros]).unsqueeze(1).expand(*lead, *value.shape)


def moved(target: Any, args: tuple, kwargs: dict, lead: Lead) -> Any:
    """An operation that only moves entries: torch performs it on their positions in a pool, whose first is 0."""
    if lead[1] > 1 and all(a.c.stride(1) == 0 for a in tree_iter((args, kwargs)) if isinstance(a, Residues)):
        once = tree_map_only(Residues, lambda a: Residues(a.c[:, :1]), (args, kwargs))
        same = moved(target, *once, (lead[0], 1))
        return tree_map_only(Tensor, lambda y: y.expand(*lead, *y.shape[2:]), same)
    pool = [torch.zeros(*lead, 1, dtype=torch.int64)]
    count = 1

    def deposit(a: Any) -> Any:
        nonlocal count
        if isinstance(a, tuple | list):
            return type(a)(map(deposit, a))
        if not isinstance(a, Tensor | Residues):
            return a
        entries = lifted(a, lead)
        pool.append(entries.reshape(*lead, -1))
        start, count = count, count + math.prod(entries.shape[2:])
        return torch.arange(start, count).reshape(entries.shape[2:])

    def argument(name: str, a: Any) -> Any:
        if name in _INDICES:
            if varies(a):
                raise _Opaque
            return a
        if name in ("value", "fill_value") and not isinstance(a, Tensor):
            return int(deposit(torch.tensor(float(a), dtype=torch.float64)))
        return deposit(a)

    try:
        args = tuple(argument(f.name, a) for f, a in zip(target._schema.arguments, args, strict=False))
        tensors = ("dtype", "device", "layout", "pin_memory", "memory_format")
        kwargs = {k: argument(k, a) for k, a in kwargs.items() if k not in tensors}
    except _Opaque:
        return None
    result = target(*args, **kwargs)
    entries = torch.cat(pool, -1)

    def withdraw(y: Any) -> Any:
        if isinstance(y, tuple | list):
            return type(y)(map(withdraw, y))
        return entries[:, :, y.reshape(-1)].reshape(*lead, *y.shape)

    return withdraw(result)


class _Opaque(Exception):
    """An operation on residues that has no rule."""


def opaque(name: str, node: Node, args: tuple, kwargs: dict, lead: Lead) -> Any:
    """Hashes of the operation and all that it is given, entry by entry."""
    said: list[Any] = [name]
    arrays: list[Tensor] = []

    def look(a: Any) -> None:
        if isinstance(a, tuple | list):
            said.append(len(a))
            for b in a:
                look(b)
        elif isinstance(a, Tensor | Residues):
            said.append("tensor")
            arrays.append(lifted(a, lead).transpose(0, 1))
        else:
            said.append(repr(a))

    look(args)
    look(tuple(sorted(kwargs.items())))
    whole = digest(*(a[:, :1] for a in arrays)), digest(*arrays)

    def entries(kept: Any, part: int) -> Any:
        if isinstance(kept, tuple | list):
            return type(kept)(entries(y, k) for k, y in enumerate(kept))
        if not isinstance(kept, Tensor):
            return kept
        places = torch.arange(kept.numel()).reshape(kept.shape)
        at = lambda k: whole[min(k, 1)].reshape(-1, *[1] * kept.ndim)
        rows = [hashed((*said, part, k), at(k), places).expand(lead[1], *kept.shape) for k in range(lead[0])]
        if not is_float(kept):
            rows[1:] = [torch.zeros_like(rows[0])] * (lead[0] - 1)
        return torch.stack(rows)

    return entries(node.meta["val"], 0)


def is_float(kept: Any) -> bool:
    return isinstance(kept, Tensor) and kept.is_floating_point()
