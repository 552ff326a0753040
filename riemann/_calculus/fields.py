"""Fields: the jets of a user's, with the shape that a field must have, and how ours are evaluated."""

import functools
from collections.abc import Callable

from torch import Tensor

from riemann import _jets
from riemann._points.checks import check_points
from riemann._points.chunks import in_chunks
from riemann._precision import full_precision
from riemann._types import Field


def as_field(rank: int, *functions: Field) -> Callable[[Callable[[Tensor], Tensor]], Field]:
    """A function of points `(*batch, n)` as a field: in pieces that keep to the memory budget, in full precision.

    Args:
        rank: the largest arrays hold `n**rank` numbers a point.
        functions: the user's, that it is computed from.
    """

    def decorated(compute: Callable[[Tensor], Tensor]) -> Field:
        @functools.wraps(compute)
        @full_precision()
        def evaluated(x: Tensor) -> Tensor:
            check_points(x)
            return in_chunks(compute, x, rank=rank, light=_jets.weight_of(*functions))

        return evaluated

    return decorated


def _checked(f: Field, name: str) -> Field:
    if not callable(f):
        raise TypeError(f"`{name}` is a {type(f).__name__}, expected a field: a callable of one point of shape (n,)")
    return f


def scalar_jet(f: Field, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """`(f, df, …)` of a scalar field."""
    jets = _jets.jet(_checked(f, "f"), x, order)
    if jets[0].shape != x.shape[:-1]:
        raise ValueError(
            f"`f` returned shape {tuple(jets[0].shape[x.ndim - 1 :])} at one point, expected (): a scalar field"
        )
    return jets


def tensor_jet(T: Field, x: Tensor, rank: int, order: int, name: str) -> tuple[Tensor, ...]:
    """`(T, dT, …)` of a tensor field, which messages call `name`."""
    n = x.shape[-1]
    jets = _jets.jet(_checked(T, name), x, order)
    if jets[0].shape != (*x.shape[:-1], *[n] * rank):
        got = tuple(jets[0].shape[x.ndim - 1 :])
        raise ValueError(f"`{name}` returned shape {got} at one point, expected {(n,) * rank}: rank {rank}")
    return jets
