"""The components of a tensor at a point: which are independent, and how the others follow."""

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from riemann._compiling.quantities import VECTORS
from riemann._curvature import QUANTITIES
from riemann._indices import check_positions


class Pattern(NamedTuple):
    """Which entries of a tensor at a point are independent, and how the others follow.

    Attributes:
        shape: of the tensor.
        places: which of the m independent ones stands at each entry of the flat tensor; m itself stands for 0.
        signs: the sign with which it stands there.
    """

    shape: tuple[int, ...]
    places: tuple[int, ...]
    signs: tuple[int, ...]

    @property
    def first(self) -> list[int]:
        """Where each stands first in the flat tensor."""
        count = 1 + max((p for p, s in zip(self.places, self.signs, strict=True) if s), default=-1)
        return [self.places.index(p) for p in range(count)]


class Components(NamedTuple):
    """The components of a tensor that are not 0 and differ by more than a sign, as far as can be seen.

    Attributes:
        values: `(*batch, m)`.
        pattern: how the tensor is made of them.
    """

    values: Tensor
    pattern: Pattern

    @property
    def index(self) -> list[tuple[int, ...]]:
        """Where each of the m stands first in the tensor."""
        entries = list(itertools.product(*map(range, self.pattern.shape)))
        return [entries[k] for k in self.pattern.first]

    def full(self) -> Tensor:
        """The tensor, `(*batch, n, …, n)`."""
        y = torch.cat([self.values, self.values.new_zeros((*self.values.shape[:-1], 1))], -1)
        places = torch.tensor(self.pattern.places, device=y.device)
        signs = torch.tensor(self.pattern.signs, dtype=y.dtype, device=y.device)
        return (y.index_select(-1, places) * signs).reshape((*y.shape[:-1], *self.pattern.shape))


def picked(full: Tensor, pattern: Pattern) -> Tensor:
    """The independent ones of tensors `(z, n, …, n)`: `(z, m)`."""
    first = torch.tensor(pattern.first, dtype=torch.long, device=full.device)
    return full.reshape((full.shape[0], -1)).index_select(-1, first)


def symmetries(quantity: str, options: dict[str, Any], n: int) -> Pattern:
    """The shape of a quantity, and which entries are equal or opposite for every metric."""
    if quantity in VECTORS:
        return Pattern((n,), tuple(range(n)), (1,) * n) if VECTORS[quantity].is_vector else Pattern((), (0,), (1,))
    known = QUANTITIES[quantity]
    indices = options.get("indices", known.indices)
    check_positions(indices, known.rank, f"`{quantity}`")
    if (kind := options.get("kind", 2)) not in (1, 2):
        raise ValueError(f"`kind` is {kind!r}, expected 1 (Gamma_kij) or 2 (Gamma^k_ij)")
    alike = known.alike(n, indices).values()
    seen: dict[tuple[int, ...], int] = {}
    for first, sign in alike:
        if sign:
            seen.setdefault(first, len(seen))
    places = tuple(seen[first] if sign else len(seen) for first, sign in alike)
    return Pattern((n,) * known.rank, places, tuple(sign for _, sign in alike))
