"""Sums over indices: `einsum`, or a loop over the index where points lie side by side in memory.

Small tensors at many points are fastest with the points last: every sum is then one pass over contiguous numbers, and
no transpose costs anything. Which of the two it is tells the layout of the arguments, and results keep it.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch._C import _functorch

MANY = 32  # points from which on the layout matters
SMALL = 6  # the most dimensions: in more, products of matrices are faster
TERMS = SMALL**2  # of a sum that is looped over


def is_worth_points_last(points: int, sizes: Iterable[int]) -> bool:
    """Whether so many points of a tensor of such a shape had better lie side by side in memory."""
    return points >= MANY and all(1 < size <= SMALL for size in sizes)


def points_last(T: Tensor, rank: int) -> Tensor:
    """`T`, `(*batch, *s)` with `rank` axes s, with the same shape and the points side by side in memory."""
    batch = range(T.ndim - rank)
    there = T.permute(*range(len(batch), T.ndim), *batch).contiguous()
    return there.permute(*range(rank, T.ndim), *range(rank))


def has_points_last(T: Tensor, rank: int) -> bool:
    """Whether the points of a tensor with `rank` axes lie side by side in memory, outside transforms and gradients.

    Torch's compiler, which lays out as it likes and for all numbers of points, is told no.
    """
    axis = T.ndim - rank - 1
    if is_recorded() or T.requires_grad or _functorch.is_functorch_wrapped_tensor(T):
        return False
    here = axis >= 0 and T.stride(axis) == 1
    return here and is_worth_points_last(T.shape[axis], T.shape[axis + 1 :])


def may_write(*tensors: Tensor) -> bool:
    """Whether the points of tensors of 2, 3, … axes lie side by side, and what is done with them is not recorded."""
    return not is_recorded() and all(has_points_last(T, rank) for rank, T in enumerate(tensors, start=2))


def is_recorded() -> bool:
    """Whether operations are recorded: none may be in place."""
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def like(T: Tensor, other: Tensor) -> Tensor:
    """A matrix `(*batch, n, n)` with the layout of another."""
    return points_last(T, 2) if has_points_last(other, 2) else T


def taken(T: Tensor, rank: int, places: Tensor) -> Tensor:
    """Those at some places along the first of the `rank` last axes, one by one in memory; the points stay last."""
    batch = T.ndim - rank
    ahead = rank if batch and T.stride(batch - 1) == 1 else 1  # axes that come before the points
    picked = T.movedim(tuple(range(batch, batch + ahead)), tuple(range(ahead))).index_select(0, places)
    return picked.movedim(tuple(range(ahead)), tuple(range(batch, batch + ahead)))


def contract(formula: str, *tensors: Tensor) -> Tensor:
    """`torch.einsum(formula, *tensors)`, where every term of the formula begins with `...`."""
    terms, result = formula.replace("...", "").split("->")
    names = terms.split(",")
    ranks = [len(name) for name in names]
    batches = {T.ndim - rank for T, rank in zip(tensors, ranks, strict=True)}
    if len(names) == 1 or len(batches) > 1 or not all(map(has_points_last, tensors, ranks)):
        return torch.einsum(formula, *tensors)
    total, name = tensors[0], names[0]
    for k in range(1, len(names)):
        later = set("".join([result, *names[k + 1 :]]))
        kept = result if k == len(names) - 1 else "".join(sorted({*name, *names[k]} & later))
        total, name = _contract_two(total, name, tensors[k], names[k], kept), kept
    return total


def _contract_two(a: Tensor, of_a: str, b: Tensor, of_b: str, result: str) -> Tensor:
    summed = "".join(sorted({*of_a, *of_b} - {*result}))
    a, b = _aligned(a, of_a, summed, result), _aligned(b, of_b, summed, result)
    sizes = [*map(max, a.shape[: len(summed)], b.shape[: len(summed)])]
    if math.prod(sizes) > TERMS:
        return (a * b).sum(tuple(range(len(summed))))
    total = None
    recorded = is_recorded()  # where torch takes no `addcmul` of some shapes
    for p, q in zip(_parts(a, sizes), _parts(b, sizes), strict=True):
        total = p * q if total is None else total + p * q if recorded else total.addcmul_(p, q)
    assert total is not None
    return total


def _parts(T: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Those at all positions on the first axes, which are of these sizes, or of length 1."""
    parts, recorded = [T], is_recorded()
    for size in sizes:
        if len(parts[0]) < size:
            parts = [whole[0] for whole in parts for _ in range(size)]
        elif recorded:  # in a graph, by operations of one result
            parts = [whole[k] for whole in parts for k in range(size)]
        else:
            parts = [part for whole in parts for part in whole.unbind()]
    return parts


def _aligned(T: Tensor, name: str, summed: str, result: str) -> Tensor:
    """The axes in the order: those summed, the batch, those of the result; of length 1 what the tensor has not."""
    batch = T.ndim - len(name)
    place = {letter: batch + k for k, letter in enumerate(name)}
    inside = [place[letter] for letter in summed if letter in place]
    T = T.permute(*inside, *range(batch), *(place[letter] for letter in result if letter in place))
    front = tuple(slice(None) if letter in place else None for letter in summed)
    return T[(*front, *[slice(None)] * batch, *(slice(None) if letter in place else None for letter in result))]
