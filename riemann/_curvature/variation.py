r"""The acceleration of geodesics, $a(x, v) = -\Gamma(v, v)$: how it changes with the point and with the velocity.

And what a type of metric has for it while one solver runs.
"""

import functools
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from riemann import formulas
from riemann._metric import jets_of
from riemann._modules import unwrapped
from riemann._open import dispatched
from riemann._types import Metric


def acceleration_derivatives(metric: Metric, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""$\partial a^k / \partial x^i$ and $\partial a^k / \partial v^i$ at points `(b, n)`, `[..., k, i]`."""
    inner = unwrapped(metric)
    return dispatched(of_type, inner)(inner, x, v)


@functools.singledispatch
def of_type(metric: Metric, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """`acceleration_derivatives`; types of metrics may bring their own."""
    unit = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
    X = torch.cat((unit, torch.zeros_like(unit)), -1)
    A = formulas.varied_acceleration(*jets_of(metric, x, 2), v, X, X.roll(x.shape[-1], -1))[1]
    return A[..., : x.shape[-1]], A[..., x.shape[-1] :]


@runtime_checkable
class Accelerations(Protocol):
    """What takes the place of g in one run of a solver."""

    def __call__(self, x: Tensor, v: Tensor, /) -> Tensor:
        r"""$-\Gamma(v, v)$ at points and velocities `(points, n)`."""
        ...

    def squared_speed(self, x: Tensor, v: Tensor, /) -> tuple[Tensor, Tensor]:
        """`g(v, v)`, and the size of its terms, at points and velocities `(*batch, n)`; constants."""
        ...


def accelerations(metric: Metric, x: Tensor) -> Accelerations | None:
    """What a type of metric has for one run of a solver that starts at points x; None where that is nothing."""
    inner = unwrapped(metric)
    return dispatched(solver, inner)(inner, x)


@functools.singledispatch
def solver(metric: Metric, x: Tensor) -> Accelerations | None:
    """`accelerations`; types of metrics may bring their own."""
    return None
