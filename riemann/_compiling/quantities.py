"""What can be compiled: quantities of a metric, by the derivatives of it that they are made of."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._curvature import QUANTITIES, LocalGeometry
from riemann._metric import ASYMMETRY
from riemann._rank import ROUNDING
from riemann._rounding import certain_digits
from riemann._types import Metric


class OfVectors(NamedTuple):
    """A function of points and vectors: the order of derivatives that it takes, its vectors, and whether it is one."""

    order: int
    vectors: tuple[str, ...]
    is_vector: bool = False


VECTORS = {
    "christoffel_vector": OfVectors(1, ("u", "v"), is_vector=True),
    "geodesic_acceleration": OfVectors(1, ("v",), is_vector=True),
    "sectional_curvature": OfVectors(2, ("u", "v")),
    "ricci_curvature": OfVectors(2, ("v",)),
}
"""The table of these, beside that of tensors."""

OF_VECTORS = {
    "christoffel_vector": formulas.christoffel_vector, "geodesic_acceleration": formulas.geodesic_acceleration,
}  # fmt: skip


def order_of(quantity: str) -> int:
    """Of the highest derivative of g that a quantity takes."""
    return VECTORS[quantity].order if quantity in VECTORS else QUANTITIES[quantity].order


def vectors_of(quantity: str) -> tuple[str, ...]:
    """The names of the vectors that a quantity takes."""
    return VECTORS[quantity].vectors if quantity in VECTORS else ()


def check(quantity: str, options: dict[str, Any], components: str) -> None:
    """Raises unless there is a quantity of that name with these options."""
    if quantity not in QUANTITIES and quantity not in VECTORS:
        raise ValueError(f"`quantity` is {quantity!r}, expected one of {', '.join((*QUANTITIES, *VECTORS, 'jet'))}")
    if components not in ("all", "independent"):
        raise ValueError(f"`components` is {components!r}, expected 'all' or 'independent'")
    option = "" if quantity in VECTORS else QUANTITIES[quantity].option
    for name in options:
        if name != option:
            has = f"has the option `{option}`" if option else "has no options"
            raise TypeError(f"`{name}` is not an option of `{quantity}`, which {has}")


def of_each(
    quantity: str, x: Tensor, jets: tuple[Tensor, ...], each: Tensor, vectors: tuple[Tensor, ...], options: dict
) -> Tensor:
    """The quantity from the derivatives of a metric, where each of them is there once, too: see `_jets.each_at`."""
    if quantity == "scalar_curvature":
        (g, dg, ddg), pairs = _jets.pairs_of_each(each, x.shape[-1])
        return formulas.scalar_curvature_of_pairs(g, dg, ddg, *pairs)
    return of_jets(quantity, x, jets, vectors, options)


def of_jets(
    quantity: str, x: Tensor, jets: tuple[Tensor, ...], vectors: tuple[Tensor, ...], options: dict[str, Any]
) -> Tensor:
    """The quantity from the derivatives of a metric."""
    if quantity in OF_VECTORS:
        return OF_VECTORS[quantity](jets[0], jets[1], *vectors)
    return getattr(LocalGeometry(x, jets), quantity)(*vectors, **options)


def eagerly(quantity: str, metric: Metric, x: Tensor, vectors: tuple[Tensor, ...], options: dict[str, Any]) -> Tensor:
    """The function of the same name."""
    if quantity == "geodesic_acceleration":
        return -_curvature.christoffel_vector(metric, x, *vectors, *vectors)
    return getattr(_curvature, quantity)(metric, x, *vectors, **options)


def rounding(x: Tensor, jets: tuple[Tensor, ...]) -> Tensor:
    r"""What rounding of g and of the coordinates does to $\log \det g$, `(points,)`; NaN where there is no number."""
    g = jets[0]
    size = ROUNDING * g.abs()
    if len(jets) > 1:
        size = size + (jets[1].abs() * x.abs()[:, None, None]).sum(-1)
    return torch.finfo(x.dtype).eps * (formulas.inverse_metric(g).abs() * size).sum((-2, -1))


def suspected(each: Tensor, order: int) -> Tensor:
    """NaN where the derivatives are those of no metric, or may leave few digits of the curvature; else 0.

    Args:
        each: the metric and each of its derivatives up to an order once, `(count, points, n, n)`.
        order: that order.
    """
    g = each[0]
    apart = (each - each.mT).abs().amax((-2, -1)).amax(0)
    sure = apart <= ASYMMETRY.get(g.dtype, 1e-3) * g.abs().amax(-1).amin(-1)  # of the smallest row
    if order > 1:
        sure = sure & certain_digits(each)
    return torch.where(sure, torch.zeros_like(apart), torch.nan)
