r"""Which derivatives a jet holds, and how those of products and compositions are made of them.

The derivatives of degree k in m variables are those of the multi-indices $i_1 \le \dots \le i_k$: one number for each,
no factorials. Some of them are enough for second derivatives along a vector, say. Leibniz and Faà di Bruno are sums
over the ways to deal the k places out.
"""

import contextlib
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes

Index = tuple[int, ...]


class Orders:
    r"""Tables for derivatives in `variables` variables: all up to degree `order`, or those of some multi-indices.

    Attributes:
        counts: `counts[k]` is the number of derivatives up to degree k.
        place: where the derivative of a multi-index stands among those of its degree, for each degree.
        splits: for each degree k the terms `(p, I, q, J)` of Leibniz with 0 < p, q: derivative I of degree p of one
            factor times derivative J of degree q of the other.
        partitions: for each degree k and number r >= 2 of blocks, the terms of Faà di Bruno: r pairs `(p, I)`.
        is_complete: whether none is missing.
        rows: of all derivatives to degree 2 or more, for each variable i: where $D_i$ stands, where the $D_j$ with
            $j \\ge i$ do, and where the $D_i D_j$ do.
        pairs: where the $D_i$ and the $D_j$ of all of them stand.
    """

    def __init__(self, variables: int, order: int, device: torch.device, chosen: tuple[Index, ...] | None = None):
        self.variables, self.order, self.device = variables, order, device
        indices = [list(itertools.combinations_with_replacement(range(variables), k)) for k in range(order + 1)]
        if chosen is not None:  # and what is inside them: a product needs it
            inside = {part for index in chosen for k in range(order + 1) for part in itertools.combinations(index, k)}
            inside |= {(v,) for v in range(variables)}
            indices = [sorted(index for index in inside if len(index) == k) for k in range(order + 1)]
        self.place = [{index: position for position, index in enumerate(row)} for row in indices]
        self.counts = list(itertools.accumulate(map(len, indices)))
        self.is_complete = chosen is None
        self.rows: list[tuple[int, slice, slice]] = []
        self.pairs: tuple[Tensor, ...] = ()
        if chosen is None and order >= 2:
            ends = list(itertools.accumulate(range(variables, 0, -1), initial=variables + 1))
            self.rows = [(1 + i, slice(1 + i, 1 + variables), slice(*ends[i : i + 2])) for i in range(variables)]
            self.pairs = table([1 + i for i, _ in indices[2]], device), table([1 + j for _, j in indices[2]], device)
        self._places: dict[Any, Tensor] = {}

        def of(k: int, places: tuple[int, ...]) -> Tensor:
            """Where the derivatives in some of the places of those of degree k stand."""
            found = [self.place[len(places)][tuple(index[p] for p in places)] for index in indices[k]]
            return table(found, device)

        self.splits: list[list[tuple[int, Tensor, int, Tensor]]] = []
        self.partitions: list[dict[int, list[list[tuple[int, Tensor]]]]] = []
        for k in range(order + 1):
            terms = []
            for p in range(1, k):
                for first in itertools.combinations(range(k), p):
                    second = tuple(sorted({*range(k)} - {*first}))
                    terms.append((p, of(k, first), k - p, of(k, second)))
            self.splits.append(terms)
            blocks: dict[int, list[list[tuple[int, Tensor]]]] = {}
            for partition in _partitions(list(range(k))):
                if len(partition) >= 2:
                    blocks.setdefault(len(partition), []).append([(len(b), of(k, tuple(b))) for b in partition])
            self.partitions.append(blocks)

    def places(self, *axes: range) -> Tensor:
        """Where the derivatives stand, among those of their degree, whose indices run over given ranges."""
        if axes not in self._places:
            place = self.place[len(axes)]
            found = [place[tuple(sorted(index))] for index in itertools.product(*axes)]
            self._places[axes] = table(found, self.device, *map(len, axes))
        return self._places[axes]

    def first_places(self, k: int) -> Tensor:
        """Where those of degree k stand among all derivatives of that degree, whatever the order of their indices."""
        if (key := ("first", k)) not in self._places:
            found = [sum(i * self.variables**p for p, i in enumerate(reversed(index))) for index in self.place[k]]
            self._places[key] = table(found, self.device)
        return self._places[key]

    def places_among(self, k: int, variables: tuple[int, ...], n: int) -> Tensor:
        """Where the derivatives of degree k in n variables stand, ours being some of those; others stand last."""
        if (key := (k, variables, n)) not in self._places:
            ours, place = {v: own for own, v in enumerate(variables)}, self.place[k]
            indices = (tuple(sorted(ours.get(v, -1) for v in index)) for index in itertools.product(range(n), repeat=k))
            found = [place.get(index, len(place)) for index in indices]
            self._places[key] = table(found, self.device, *[n] * k)
        return self._places[key]

    def inside(self, variables: tuple[int, ...]) -> Tensor:
        """Where the derivatives in some of the variables stand, in the order of tables for as many."""
        if (key := ("inside", variables)) not in self._places:
            found = [0]
            for k in range(1, self.order + 1):
                start, place = self.counts[k - 1], self.place[k]
                found += [start + place[index] for index in itertools.combinations_with_replacement(variables, k)]
            self._places[key] = table(found, self.device)
        return self._places[key]

    def degree(self, count: int) -> int:
        """The highest degree of so many derivatives."""
        return self.counts.index(count)

    def block(self, c: Tensor, k: int) -> Tensor:
        """The derivatives of degree k among `c`, `(count, …)`."""
        return c[0 if k == 0 else self.counts[k - 1] : self.counts[k]]


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """Without the transforms and the modes around the call: what is made here outlives them."""
    with temporarily_clear_interpreter_stack(), _disable_current_modes(), torch.inference_mode(False):
        yield


def table(numbers: list[int], device: torch.device, *shape: int) -> Tensor:
    """Whole numbers that are kept."""
    with outside():
        return torch.tensor(numbers, dtype=torch.long, device=device).view(*(shape or (-1,)))


def generic(variables: int, like: Tensor) -> Tensor:
    """A direction along which every kink shows, `(variables,)`."""
    k = torch.arange(1, variables + 1, dtype=like.dtype, device=like.device)
    return 1 + torch.frac(k * 0.6180339887498949)


def _partitions(items: list[int]) -> list[list[list[int]]]:
    """All partitions of a set into blocks, each in order."""
    if not items:
        return [[]]
    head, found = items[0], []
    for rest in _partitions(items[1:]):
        found.append([[head], *rest])
        found += [[*rest[:i], [head, *rest[i]], *rest[i + 1 :]] for i in range(len(rest))]
    return found


@functools.lru_cache(maxsize=64)
def orders(variables: int, order: int, device: torch.device, chosen: tuple[Index, ...] | None = None) -> Orders:
    """The tables, made once: of all derivatives up to a degree, or of `chosen` ones of that degree and less."""
    return Orders(variables, order, device, chosen)
