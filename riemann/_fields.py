"""The jets of a user's fields, with the shape that a field must have."""

from torch import Tensor

from riemann import _jets
from riemann._types import Field


def scalar_jet(f: Field, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """`(f, df, …)` of a scalar field."""
    jets = _jets.jet(f, x, order)
    if jets[0].shape != x.shape[:-1]:
        raise ValueError(
            f"`f` returned shape {tuple(jets[0].shape[x.ndim - 1 :])} at one point, expected (): a scalar field"
        )
    return jets


def tensor_jet(T: Field, x: Tensor, rank: int, order: int, name: str) -> tuple[Tensor, ...]:
    """`(T, dT, …)` of a tensor field, which messages call `name`."""
    n = x.shape[-1]
    jets = _jets.jet(T, x, order)
    if jets[0].shape != (*x.shape[:-1], *[n] * rank):
        got = tuple(jets[0].shape[x.ndim - 1 :])
        raise ValueError(f"`{name}` returned shape {got} at one point, expected {(n,) * rank}: rank {rank}")
    return jets
