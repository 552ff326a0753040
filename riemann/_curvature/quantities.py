"""The quantities of a metric at points: one table, and the snapshot, whose methods they are.

Whoever needs to know something of a quantity (its order of derivatives, its symmetries, what it is called with) reads
the table: the free functions, `compile`, `verify`, the docs, the tests.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import register_pytree_node

from riemann import formulas
from riemann._rounding import shaken

__all__ = ["QUANTITIES", "LocalGeometry", "Quantity"]

Symmetry = tuple[tuple[int, ...], int]
"""Axes in another order, and the sign that the tensor takes by it; it holds where the positions of these agree."""

SYMMETRIC: tuple[Symmetry, ...] = (((1, 0), 1),)
OF_RIEMANN: tuple[Symmetry, ...] = (((0, 1, 3, 2), -1), ((1, 0, 2, 3), -1), ((2, 3, 0, 1), 1))


class Quantity(NamedTuple):
    """What is known of a quantity.

    Attributes:
        order: of the highest derivative of g.
        indices: default positions of its indices; empty of a scalar.
        symmetries: those that generate all others.
        option: what it may be called with, beside the jets: `"indices"`, `"kind"` or nothing.
        least: the least dimension in which it is defined.
        most: the largest one, if there is such.
        verified: whether `verify` compares it with exact truth.
    """

    order: int
    indices: str = ""
    symmetries: tuple[Symmetry, ...] = ()
    option: str = ""
    least: int = 1
    most: int | None = None
    verified: bool = False

    @property
    def rank(self) -> int:
        """The number of its indices."""
        return len(self.indices)

    def alike(self, n: int, indices: str | None = None) -> dict[tuple[int, ...], tuple[tuple[int, ...], int]]:
        """Of each entry in n dimensions the first one that it equals for every metric, and the sign; 0 if it is 0."""
        positions = self.indices if indices is None else indices
        group = {(tuple(range(self.rank)), 1)}
        held = [(p, s) for p, s in self.symmetries if all(positions[i] == positions[j] for i, j in enumerate(p))]
        while more := {(tuple(q[i] for i in p), r * s) for q, r in group for p, s in held} - group:
            group |= more

        def first(index: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
            orbit = {(tuple(index[i] for i in p), s) for p, s in group}
            place, sign = min(orbit)
            return place, 0 if (place, -sign) in orbit else sign

        return {index: first(index) for index in itertools.product(range(n), repeat=self.rank)}


QUANTITIES = {
    "inverse_metric": Quantity(0, "uu", SYMMETRIC),
    "volume_element": Quantity(0, verified=True),
    "log_volume_element": Quantity(0),
    "christoffel": Quantity(1, "ull", (((0, 2, 1), 1),), "kind", verified=True),
    "riemann_tensor": Quantity(2, "ulll", OF_RIEMANN, "indices", verified=True),
    "ricci_tensor": Quantity(2, "ll", SYMMETRIC, "indices", verified=True),
    "scalar_curvature": Quantity(2, verified=True),
    "einstein_tensor": Quantity(2, "ll", SYMMETRIC, "indices"),
    "schouten_tensor": Quantity(2, "ll", SYMMETRIC, "indices", least=3),
    "weyl_tensor": Quantity(2, "ulll", OF_RIEMANN, "indices", verified=True),
    "kretschmann_scalar": Quantity(2, verified=True),
    "cotton_tensor": Quantity(3, "lll", (((0, 2, 1), -1),), "indices", least=3),
    "nabla_riemann": Quantity(3, "lllll", tuple(((*p, 4), s) for p, s in OF_RIEMANN)),
    "cotton_york_tensor": Quantity(3, "ll", SYMMETRIC, "indices", least=3, most=3),
    "bach_tensor": Quantity(4, "ll", SYMMETRIC, "indices", least=4, most=4),
}
"""The table: the quantities of a metric at points, by the name of their formula, which is that of their functions."""

VERIFIED = ("metric", *(name for name, quantity in QUANTITIES.items() if quantity.verified))
"""What is compared with exact truth, and has bounds of its rounding."""


@dataclass(frozen=True, eq=False, repr=False)
class LocalGeometry:
    """The jets of a metric at points; every method is algebra on them. Made by `at`; a value that leaves `vmap`.

    Attributes:
        x: points, `(*batch, n)`.
        jets: `(g, dg, ddg)`, with `dddg` for `order=3` and so on; derivative axes last.
        coordinates: their names, where the metric has an attribute of that name, as a space of the catalogue does.
    """

    x: Tensor
    jets: tuple[Tensor, ...]
    coordinates: tuple[str, ...] = ()

    def __new__(cls, *fields: Any, **named: Any) -> "LocalGeometry":
        """Pickles of version 0.1.0, where it was a tuple, give the fields here and nowhere else."""
        self = super().__new__(cls)
        for name, value in zip(("x", "jets", "coordinates"), fields, strict=False):
            object.__setattr__(self, name, value)
        return self

    @property
    def g(self) -> Float[Tensor, "... n n"]:
        """Metric $g_{ij}$, `(*batch, n, n)`."""
        return self.jets[0]

    @property
    def dg(self) -> Float[Tensor, "... n n n"]:
        r"""First derivatives $\partial_k g_{ij}$, `[..., i, j, k]`."""
        return self._upto(1)[1]

    @property
    def ddg(self) -> Float[Tensor, "... n n n n"]:
        r"""Second derivatives $\partial_l \partial_k g_{ij}$, `[..., i, j, k, l]`."""
        return self._upto(2)[2]

    def __repr__(self) -> str:
        *batch, n = self.x.shape
        kind = f"{str(self.x.dtype)[6:]} on {self.x.device}"
        return f"<LocalGeometry at points {tuple(batch)} in {n} dimensions, order {len(self.jets) - 1}, {kind}>"

    def to(self, *args: Any, **kwargs: Any) -> "LocalGeometry":
        """The snapshot on another device or in another dtype, as `Tensor.to`."""
        x, *jets = (y.to(*args, **kwargs) for y in (self.x, *self.jets))
        return LocalGeometry(x, tuple(jets), self.coordinates)

    def nonzero(
        self,
        quantity: str = "christoffel",
        coordinates: str | Sequence[str] = (),
        *,
        indices: str | None = None,
        rtol: float | int | None = None,
    ) -> "Nonzero":
        r"""The components of a quantity that are not 0, by the names of their coordinates; prints as a table.

        Args:
            quantity: a method: `"christoffel"`, `"riemann_tensor"`, …; or `"g"`.
            coordinates: names, `"t r theta phi"`; those of the snapshot by default, else 0 to n - 1.
            indices: positions, where the method takes them.
            rtol: what counts as 0: a component below this part of the largest, at all points. By default, what is not
                told from 0: what rounding of the jets, or of the points, changes as much.

        Returns:
            A mapping from names such as `("t", "t", "r")` to values, `(*batch,)`.

        Raises:
            ValueError: no such quantity, or not n names.

        Example:
            >>> import riemann as rm
            >>> polar = rm.at(lambda x: torch.diag(torch.stack([x[0] ** 0, x[0] ** 2])), torch.tensor([2.0, 0.0]))
            >>> polar.nonzero("christoffel", "r phi")
            christoffel[r, phi, phi]  -2
            christoffel[phi, r, phi]  0.5
            christoffel[phi, phi, r]  0.5
        """
        n = self.x.shape[-1]
        names = coordinates.replace(",", " ").split() if isinstance(coordinates, str) else [*map(str, coordinates)]
        names = names or [*self.coordinates] or [str(i) for i in range(n)]
        if len(names) != n or len(set(names)) != n:
            raise ValueError(f"`coordinates` is {coordinates!r}, expected {n} names")
        options = {} if indices is None else {"indices": indices}
        try:
            value = self._named(quantity, options)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"`quantity` is {quantity!r}, expected a method such as 'ricci_tensor', or 'g'") from error
        batch = self.x.ndim - 1
        if not isinstance(value, Tensor) or value.ndim <= batch or set(value.shape[batch:]) - {n}:
            raise ValueError(f"`quantity` is {quantity!r}, expected one with components")
        size = value.detach().abs()
        if rtol is None:
            of = lambda *jets: LocalGeometry(self.x, jets)._named(quantity, options)
            zero = size <= shaken(of, self.x, self.jets)
        else:
            zero = size <= rtol * torch.cat([size.flatten().nan_to_num(0.0), size.new_zeros(1)]).max()
        flat = value.reshape(math.prod(value.shape[:batch]), math.prod(value.shape[batch:]))
        kept = (~zero).reshape(flat.shape).any(0).nonzero()[:, 0].tolist()
        shape, found = value.shape[batch:], Nonzero(quantity)
        for place in kept:
            index = [int(i) for i in torch.unravel_index(torch.tensor(place), shape)]
            found[tuple(names[i] for i in index)] = flat[:, place].reshape(value.shape[:batch])
        return found

    def _named(self, quantity: str, options: dict[str, Any]) -> Tensor:
        return self.g if quantity == "g" else getattr(self, quantity)(**options)

    def _upto(self, order: int) -> tuple[Tensor, ...]:
        """The jets to `order`; a ValueError that says how to get them if they are not here."""
        if len(self.jets) <= order:
            raise ValueError(
                f"this snapshot holds derivatives to order {len(self.jets) - 1}, and this needs order {order}; "
                f"make it with `at(metric, x, order={order})`"
            )
        return self.jets[: order + 1]

    def _of(self, name: str, **options: Any) -> Tensor:
        """A quantity of the table."""
        return getattr(formulas, name)(*self._upto(QUANTITIES[name].order), **options)

    def inverse_metric(self) -> Float[Tensor, "... n n"]:
        """See `riemann.inverse_metric`."""
        return self._of("inverse_metric")

    def volume_element(self) -> Float[Tensor, "..."]:
        """See `riemann.volume_element`."""
        return self._of("volume_element")

    def log_volume_element(self) -> Float[Tensor, "..."]:
        """See `riemann.log_volume_element`."""
        return self._of("log_volume_element")

    def change_indices(self, T: Tensor, old: str, new: str) -> Tensor:
        """See `riemann.change_indices`."""
        return formulas.change_indices(self.g, T, old, new)

    def christoffel(self, kind: int = 2) -> Float[Tensor, "... n n n"]:
        """See `riemann.christoffel`."""
        return self._of("christoffel", kind=kind)

    def riemann_tensor(self, indices: str = "ulll") -> Float[Tensor, "... n n n n"]:
        """See `riemann.riemann_tensor`."""
        return self._of("riemann_tensor", indices=indices)

    def ricci_tensor(self, indices: str = "ll") -> Float[Tensor, "... n n"]:
        """See `riemann.ricci_tensor`."""
        return self._of("ricci_tensor", indices=indices)

    def scalar_curvature(self) -> Float[Tensor, "..."]:
        """See `riemann.scalar_curvature`."""
        return self._of("scalar_curvature")

    def einstein_tensor(self, indices: str = "ll") -> Float[Tensor, "... n n"]:
        """See `riemann.einstein_tensor`."""
        return self._of("einstein_tensor", indices=indices)

    def schouten_tensor(self, indices: str = "ll") -> Float[Tensor, "... n n"]:
        """See `riemann.schouten_tensor`."""
        return self._of("schouten_tensor", indices=indices)

    def weyl_tensor(self, indices: str = "ulll") -> Float[Tensor, "... n n n n"]:
        """See `riemann.weyl_tensor`."""
        return self._of("weyl_tensor", indices=indices)

    def kretschmann_scalar(self) -> Float[Tensor, "..."]:
        """See `riemann.kretschmann_scalar`."""
        return self._of("kretschmann_scalar")

    def sectional_curvature(self, u: Float[Tensor, "*#batch n"], v: Float[Tensor, "*#batch n"]) -> Float[Tensor, "..."]:
        """See `riemann.sectional_curvature`."""
        return formulas.sectional_curvature(*self._upto(2), u, v)

    def ricci_curvature(self, v: Float[Tensor, "*#batch n"]) -> Float[Tensor, "..."]:
        """See `riemann.ricci_curvature`."""
        return formulas.ricci_curvature(*self._upto(2), v)

    def curvature_endomorphism(
        self, u: Float[Tensor, "*#batch n"], v: Float[Tensor, "*#batch n"], w: Float[Tensor, "*#batch n"]
    ) -> Float[Tensor, "... n"]:
        """See `riemann.curvature_endomorphism`."""
        return formulas.curvature_endomorphism(*self._upto(2), u, v, w)

    def nabla_riemann(self) -> Float[Tensor, "... n n n n n"]:
        """See `riemann.nabla_riemann`; needs `order=3`."""
        return self._of("nabla_riemann")

    def cotton_tensor(self, indices: str = "lll") -> Float[Tensor, "... n n n"]:
        """See `riemann.cotton_tensor`; needs `order=3`."""
        return self._of("cotton_tensor", indices=indices)

    def bach_tensor(self, indices: str = "ll") -> Float[Tensor, "... n n"]:
        """See `riemann.bach_tensor`; needs `order=4`."""
        return self._of("bach_tensor", indices=indices)

    def cotton_york_tensor(self, indices: str = "ll") -> Float[Tensor, "... n n"]:
        """See `riemann.cotton_york_tensor`; needs `order=3`."""
        return self._of("cotton_york_tensor", indices=indices)


class Nonzero(dict[tuple[str, ...], Tensor]):
    """Components by the names of their indices; prints as a table."""

    def __init__(self, quantity: str):
        super().__init__()
        self.quantity = quantity

    def __repr__(self) -> str:
        rows = [(f"{self.quantity}[{', '.join(names)}]", _shown(value)) for names, value in self.items()]
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows) or f"{self.quantity} is 0"


def _shown(value: Tensor) -> str:
    """A number, or the range of many."""
    if value.numel() == 1:
        return f"{value.item():.6g}"
    return f"{value.min().item():.6g} … {value.max().item():.6g}" if value.numel() else "no points"


register_pytree_node(  # so that it leaves `vmap`
    LocalGeometry,
    lambda here: ([here.x, *here.jets], here.coordinates),
    lambda values, names: LocalGeometry(values[0], tuple(values[1:]), tuple(names)),
    serialized_type_name="riemann.LocalGeometry",
)
